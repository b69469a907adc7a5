"""Puts a checkpoint's tensors where they are wanted: into a rank's slots, or one whole tensor after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pinisi.base.errors import CheckpointError
from pinisi.engine.optimizer import Optimizer
from pinisi.train.checkpoint.index import AVERAGE, KINDS
from pinisi.train.checkpoint.reader import Reader


def restore(reader: Reader, optimizer: Optimizer) -> None:
    """Puts a checkpoint's weights and moments into the slots of this rank, to go on where it was saved.

    Raises CheckpointError where a slot's tensor isn't there or has another shape, or for a frozen engine's optimizer, which has
    no slots.
    """
    updates, since = reader.index["updates"], reader.index.get("moments_since", 0)
    kinds: tuple[str, ...] = KINDS if updates > since else KINDS[:1]
    if optimizer.averages and reader.index.get("average"):
        kinds = (*kinds, AVERAGE)
    optimizer.restore(_state(reader, optimizer, kinds), updates, since)


def start_from(reader: Reader, optimizer: Optimizer) -> None:
    """Puts a checkpoint's weights alone into the slots of this rank, for a run of its own: other data, other rates.

    Moments start at zero, and no update counts as made. Raises CheckpointError as `restore` does.
    """
    optimizer.restore(_state(reader, optimizer, KINDS[:1]), 0)


def weights(
    reader: Reader, dtype: torch.dtype, names: Sequence[str] | None = None, kind: str = "weight"
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the weights of a checkpoint (all if no names are given) in turn, whole: one tensor in memory at a time. kind: average
    instead of weight gives the moving average of them."""
    for name in reader.names() if names is None else names:
        yield name, reader.get(name, kind=kind).to(dtype)


def mean_weights(
    readers: Sequence[Reader], dtype: torch.dtype, names: Sequence[str] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the mean of several checkpoints' weights, tensor by tensor; two tensors are in memory at a time. Summed in fp64."""
    for name in readers[0].names() if names is None else names:
        total = readers[0].get(name).double()
        for reader in readers[1:]:
            total += reader.get(name).double()
        yield name, (total / len(readers)).to(dtype)


def _state(reader: Reader, optimizer: Optimizer, kinds: Sequence[str]) -> list[dict[str, torch.Tensor]]:
    """Reads what each slot of this rank holds."""
    if optimizer.frozen:
        raise CheckpointError(
            f"{reader.folder}: a frozen engine takes no checkpoint; build it with the checkpoint as its weights, "
            "`Engine(spec, Reader(folder), ...)`"
        )
    state = []
    for slot in optimizer.slots:
        if reader.shape(slot.name) != slot.shape:
            raise CheckpointError(
                f"{reader.folder}: {slot.name} has shape {list(reader.shape(slot.name))}, this model needs {list(slot.shape)}"
            )
        state.append({kind: reader.read(slot.name, slot.box, kind) for kind in kinds})
    return state
