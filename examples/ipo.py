"""Trains with a preference loss of one's own: IPO, whose margin has an aim instead of growing without end.

python examples/ipo.py MODEL PAIRS OUT    # PAIRS: JSON lines with prompt, chosen, rejected
"""

import sys

from torch import Tensor

from pinisi import configure, run
from pinisi.losses import AnswerPairs, preference_loss
from pinisi.train.tasks.prefer import Prefer


@preference_loss("ipo")
def ipo(pairs: AnswerPairs, beta: float = 0.1) -> Tensor:
    """(Δ_chosen - Δ_rejected - 1 / 2β)²: Azar et al., arXiv 2310.12036, equation 17; Δ: log-ratio to the reference."""
    return (pairs.chosen_gain - pairs.rejected_gain - 1 / (2 * beta)) ** 2


class PreferWithIpo(Prefer):
    """Names this file to the run's ranks, so that they know the loss, too."""


def main(model: str, pairs: str, out: str) -> None:
    config = configure(
        run={"folder": f"{out}/run", "steps": 20},
        model={"source": model},
        data={"sequence": 128, "microbatch_size": 2},  # two pairs a microbatch
        pipeline={"ranks": 2, "microbatches": 4},
        optimizer={"learning_rate": 5e-4, "weight_decay": 0.0},
        task={"name": "prefer", "pairs": pairs, "held_out": pairs, "loss": "ipo", "settings": {"beta": 0.05}},
    )
    for language, judged in run(config, PreferWithIpo).evaluation.items():
        print(f"{language}: {judged['accuracy']:.0%} of {judged['tokens']} pairs prefer the chosen answer")


if __name__ == "__main__":
    main(*sys.argv[1:])
