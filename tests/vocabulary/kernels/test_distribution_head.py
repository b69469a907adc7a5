"""Entropy and distillation with each implementation, Triton's run by its interpreter."""

import pytest
import torch

from pinisi.losses import RegularizedCrossEntropy, WithDistillation, WithEntropy
from pinisi.vocabulary.kernels import IMPLEMENTATIONS, use

from ..test_distribution import compare, drawn_teacher
from ..test_head import draw
from .test_whole_head import name  # noqa: F401, what an implementation needs


@pytest.mark.parametrize("name", IMPLEMENTATIONS, indirect=True)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_drawn_cases(name, seed, barriers):  # noqa: F811
    case, shards = draw(seed)
    case, teacher = (of.to(torch.float32) for of in (case, drawn_teacher(case, seed)))
    loss = WithDistillation(WithEntropy(RegularizedCrossEntropy(len(case.weight), 0.0, 0.01), 0.3), 0.4)
    with use(name):
        compare(case, shards, barriers, loss, teacher, 5e-5, bonus=0.3, share=0.4, z_loss=0.01)
