"""Turns a checkpoint of a run into a Hugging Face folder, one tensor in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from pinisi.base.errors import CheckpointError
from pinisi.models import is_extra_head, write_folder
from pinisi.train import checkpoint
from pinisi.train.model_files import spec_to_export

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def export(
    run: Path,
    out: Path,
    *,
    step: int | None = None,
    dtype: str | None = None,
    tokenizer: str | None = None,
    report: Callable[[str], None] = print,
) -> Path:
    """Writes the checkpoint of `step` (the newest whole one if None) of the run in `run` to `out`; returns `out`.

    The weights are the master weights, rounded to `dtype` (the run's own if None). The model is the plain decoder; extra heads
    stand in a file of their own beside it. tokenizer: its folder; the one that the run keeps if None.
    """
    folder = run / "checkpoints"
    if not folder.is_dir():
        raise CheckpointError(
            f"{run.absolute()} is no run: it has no checkpoints; give the run's folder (run.folder)"
        )
    reader: checkpoint.Reader | None = None
    if step is None:
        reader, passed_over = checkpoint.newest_whole(folder)
        for wrong in passed_over:
            report(f"passed over: {wrong}")
    elif (found := dict(checkpoint.steps(folder)).get(step)) is not None:
        reader = checkpoint.Reader(found)
        if damage := reader.damage():
            raise CheckpointError(f"{damage}; export another step")
    if reader is None:
        there = ", ".join(str(n) for n, _ in checkpoint.steps(folder)) or "none"
        wanted = "a checkpoint" if step is None else f"step {step}"
        raise CheckpointError(f"{folder} does not hold {wanted}; whole checkpoints there: {there}")
    spec, kept_tokenizer = spec_to_export(reader, run)
    chosen = DTYPES[dtype or reader.index["dtype"]]
    extra = [name for name in reader.names() if is_extra_head(name)]
    return write_folder(
        spec,
        checkpoint.weights(reader, chosen, [name for name in reader.names() if name not in extra]),
        out,
        tokenizer or kept_tokenizer,
        extra_heads=checkpoint.weights(reader, chosen, extra),
    )
