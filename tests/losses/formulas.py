"""Losses of a pair as the papers have them, one at a time: what the package's are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

SETTINGS: dict[str, dict[str, float]] = {
    "dpo": {},
    "lr_dpo": {"alpha": 0.03},
    "ln_dpo": {},
    "simpo": {"gamma": 0.7},
}


def plain_loss(
    name: str, chosen: Any, rejected: Any, reference: Sequence[float], sizes: Sequence[int], beta: float
) -> torch.Tensor:
    """-log σ of the margin. reference, sizes: the reference's sum and the number of tokens of the chosen and the rejected answer;
    further settings as in SETTINGS."""
    if name in ("ln_dpo", "simpo"):
        chosen, rejected = chosen / max(1, sizes[0]), rejected / max(1, sizes[1])
        reference = [r / max(1, n) for r, n in zip(reference, sizes, strict=True)]
    if name == "simpo":
        return -F.logsigmoid(beta * chosen - beta * rejected - SETTINGS[name]["gamma"])
    margin = beta * (chosen - reference[0]) - beta * (rejected - reference[1])
    length = SETTINGS["lr_dpo"]["alpha"] * (sizes[0] - sizes[1]) if name == "lr_dpo" else 0.0
    return -F.logsigmoid(margin + length)
