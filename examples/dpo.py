"""Makes a model prefer the chosen of two answers (DPO), on two ranks, and writes it as a Hugging Face folder.

python examples/dpo.py MODEL PAIRS OUT    # PAIRS: JSON lines with prompt, chosen, rejected
"""

import sys

from pinisi import configure, run


def main(model: str, pairs: str, out: str) -> None:
    config = configure(
        run={"folder": f"{out}/run", "steps": 20},
        model={"source": model},
        data={"sequence": 64, "microbatch_size": 2},  # two pairs a microbatch
        pipeline={"ranks": 2, "microbatches": 4},
        optimizer={"learning_rate": 5e-4, "weight_decay": 0.0},
        task={"name": "dpo", "pairs": pairs, "held_out": pairs, "beta": 0.1},
        checkpoint={"every": 10},
    )
    result = run(config)
    for language, judged in result.evaluation.items():
        print(f"{language}: {judged['accuracy']:.0%} of {judged['tokens']} pairs prefer the chosen answer")
    print(result.export(f"{out}/model"))


if __name__ == "__main__":
    main(*sys.argv[1:])
