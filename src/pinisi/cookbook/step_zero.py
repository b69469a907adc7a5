"""Compares a model with a changed vocabulary to the one that it came from, before any training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pinisi.base.errors import ModelError


@dataclass(frozen=True)
class StepZero:
    """difference: the largest one of a logit that both models have. share: of the new rows in the softmax, mean over places."""

    difference: float
    share: float


def step_zero(
    old: str | Path,
    new: str | Path,
    ids: Sequence[int],
    rows: dict[int, int],
    dtype: torch.dtype = torch.float32,
) -> StepZero:
    """Runs both models on the same tokens, with transformers.

    ids: old ids, each of which has a new one. rows: {old row: new row} of the rows that both have.
    Raises ModelError for a token that the new model hasn't.
    """
    from transformers import AutoModelForCausalLM

    if missing := [id for id in ids if id not in rows]:
        raise ModelError(
            f"token {missing[0]} has no row in {new}; give text in tokens that both models have."
        )
    logits = []
    with torch.inference_mode():
        for folder, tokens in ((old, list(ids)), (new, [rows[id] for id in ids])):
            model = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=dtype, local_files_only=True
            ).eval()
            logits.append(model(input_ids=torch.tensor([tokens])).logits[0].double())
    before, after = logits
    common = torch.tensor(sorted(rows.items()))
    difference = (before[:, common[:, 0]] - after[:, common[:, 1]]).abs().max().item()
    new_rows = torch.ones(after.shape[1], dtype=torch.bool)
    new_rows[common[:, 1]] = False
    return StepZero(difference, after.softmax(-1)[:, new_rows].sum(-1).mean().item())
