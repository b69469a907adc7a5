"""Turns a checkpoint of a run into a Hugging Face folder, one tensor in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from pinisi.base.errors import CheckpointError
from pinisi.models import ModelSpec, is_extra_head, write_folder
from pinisi.models.adapter_folder import write_adapter
from pinisi.train import checkpoint
from pinisi.train.adapters import BASE, merged_weights
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
    average: int | str | None = None,
    adapter: bool = False,
    report: Callable[[str], None] = print,
) -> Path:
    """Writes the checkpoint of `step` (the newest whole one if None) of the run in `run` to `out`; returns `out`.

    Adapters are added to the model that they stand on; adapter: they alone, as a folder of peft's.

    average: a number, the mean of so many checkpoints up to that step; "ema", the moving average that the run keeps
    (optimizer.average). The weights are the master weights, rounded to `dtype` (the run's own if None). The model is the plain
    decoder; extra heads stand in a file of their own beside it. tokenizer: its folder; the one that the run keeps if None.
    """
    reader = _reader_of(run, step, report)
    spec, kept_tokenizer = spec_to_export(reader, run)
    chosen = DTYPES[dtype or reader.index["dtype"]]
    beside = Path(tokenizer) if tokenizer else kept_tokenizer
    source = _weights_of(run, reader, average, chosen)
    if adapter:
        return _adapter(reader, spec, source, out, beside)
    if spec.adapters is not None:
        numbers = dict(source(reader.names()))
        merged = merged_weights(reader, spec, chosen, numbers.__getitem__)
        return write_folder(spec, ((name, merged.get(name)) for name in merged.names()), out, beside)
    extra = [name for name in reader.names() if is_extra_head(name)]
    own = [name for name in reader.names() if name not in extra]
    return write_folder(spec, source(own), out, beside, extra_heads=source(extra))


def _adapter(
    reader: checkpoint.Reader,
    spec: ModelSpec,
    source: Callable[[list[str]], Iterator[tuple[str, torch.Tensor]]],
    out: Path,
    tokenizer: Path | None,
) -> Path:
    """Writes adapters alone. Raises CheckpointError where there are none."""
    if spec.adapters is None:
        raise CheckpointError(
            f"{reader.folder} holds a whole model and no adapters: leave --adapter out, or train with lora.rank"
        )
    base = (reader.index.get(BASE) or {}).get("source")
    return write_adapter(spec, source(reader.names()), out, base, tokenizer)


def _reader_of(run: Path, step: int | None, report: Callable[[str], None]) -> checkpoint.Reader:
    """Opens the checkpoint of a step, or the newest whole one. Raises CheckpointError."""
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
        reader = _whole(found)
    if reader is None:
        there = ", ".join(str(n) for n, _ in checkpoint.steps(folder)) or "none"
        wanted = "a checkpoint" if step is None else f"step {step}"
        raise CheckpointError(f"{folder} does not hold {wanted}; whole checkpoints there: {there}")
    return reader


def _weights_of(
    run: Path, reader: checkpoint.Reader, average: int | str | None, dtype: torch.dtype
) -> Callable[[list[str]], Iterator[tuple[str, torch.Tensor]]]:
    """Returns what yields the weights of some names: a checkpoint's own, their moving average, or a mean of checkpoints."""
    if average is None:
        return lambda names: checkpoint.weights(reader, dtype, names)
    if average == "ema":
        if not reader.index.get("average"):
            raise CheckpointError(
                f"{reader.folder} holds no moving average: set optimizer.average for the run, or average checkpoints by number"
            )
        return lambda names: checkpoint.weights(reader, dtype, names, checkpoint.AVERAGE)
    there = [path for step, path in checkpoint.steps(run / "checkpoints") if step <= reader.step]
    count = int(average)
    if not 1 <= count <= len(there):
        raise CheckpointError(
            f"{run / 'checkpoints'} has {len(there)} checkpoints up to step {reader.step}, and {average} were to be averaged: keep "
            "more of them (checkpoint.keep, checkpoint.every), or average fewer"
        )
    readers = [_whole(path) for path in there[-count:]]
    for other in readers:
        if {n: other.shape(n) for n in other.names()} != {n: reader.shape(n) for n in reader.names()}:
            raise CheckpointError(f"{other.folder} holds another model than {reader.folder}")
    return lambda names: checkpoint.mean_weights(readers, dtype, names)


def _whole(folder: Path) -> checkpoint.Reader:
    """Opens a checkpoint that is as it was written. Raises CheckpointError for another."""
    reader = checkpoint.Reader(folder)
    if damage := reader.damage():
        raise CheckpointError(f"{damage}; export another step")
    return reader
