"""Trains with a loss of one's own: a focal loss, which learns less from tokens that the model is sure of already.

python examples/own_loss.py CONFIG.toml
"""

import sys

import torch

from pinisi import Pretrain, run
from pinisi.losses import LossValue

GAMMA = 2.0


def focal(lp: torch.Tensor, lse: torch.Tensor, weights: torch.Tensor) -> LossValue:
    """-Σ w·(1 - p)^γ·lp (Lin et al., arXiv 1708.02002) and its derivative by lp = log p of each token [T]."""
    p, w = lp.exp(), weights.to(lp.dtype)
    rest = 1 - p
    value = -(w * rest**GAMMA * lp).sum()
    return LossValue(value, by_log_prob=w * rest ** (GAMMA - 1) * (GAMMA * p * lp - rest))


class Focal(Pretrain):
    """Pre-training with that loss."""

    def loss(self, spec):
        return focal


def main(config: str) -> None:
    print(run(config, Focal).metrics()[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
