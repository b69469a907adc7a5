"""Writes a checkpoint: each rank its own file, then one rank the index and the name, so that what has its name is whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import save_file

from pinisi.base import digests
from pinisi.base.errors import CheckpointError
from pinisi.engine.optimizer import Optimizer
from pinisi.parallel.agree import gather_json
from pinisi.parallel.boxes import Box
from pinisi.train.checkpoint.index import FORMAT, StoredPiece, StoredTensor, key_of, to_index
from pinisi.train.checkpoint.retention import drop, drop_older, folder_of, remove_unfinished


class RankFile(NamedTuple):
    """Says what one rank has written: its file, the file's digest, and (tensor's name, shape, key, offset, size) of each piece."""

    name: str
    digest: str
    pieces: list[tuple[str, list[int], str, list[int], list[int]]]


def save(
    folder: Path,
    step: int,
    optimizer: Optimizer,
    state: dict,
    *,
    rank: int,
    group: dist.ProcessGroup | None,
    keep: int,
    spare: int | None = None,
) -> Path:
    """Writes one checkpoint (a collective call of the ranks of one pipeline) and drops all but the newest `keep`
    and that of the step `spare`.

    `state` is stored as it is in index.json (sampler, identity, configuration). On any rank's failure every rank raises
    CheckpointError and the older checkpoints stay.
    """
    final = folder_of(folder, step)
    temporary = folder / f".{final.name}.partial"
    problem = gather_json(_begin(folder, temporary) if rank == 0 else None, group)[0]
    mine = None
    if not problem:
        try:
            mine = _write_rank(temporary, optimizer, rank)
        except (OSError, SafetensorError) as error:
            problem = f"rank {rank} could not write to {temporary}: {error}"
    everyone = gather_json((problem, mine), group)
    if problems := [wrong for wrong, _ in everyone if wrong]:
        if rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"{_unsaved(step)}: {problems[0]}; free space or mend the folder, then run again to resume"
        )
    failed = None
    if rank == 0:
        try:
            _commit(temporary, final, step, [RankFile(*written) for _, written in everyone], state)
            drop_older(folder, step, keep, spare)
        except (OSError, CheckpointError) as error:
            failed = str(error)
            shutil.rmtree(temporary, ignore_errors=True)
    if failed := gather_json(failed, group)[0]:
        raise CheckpointError(f"{_unsaved(step)}: {failed}")
    return final


def _unsaved(step: int) -> str:
    return f"checkpoint of step {step} was not saved, older ones are whole"


def _begin(folder: Path, temporary: Path) -> str | None:
    """Makes the folder that all ranks write into; returns what went wrong."""
    remove_unfinished(folder)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        return f"rank 0 could not make {temporary}: {error}"
    return None


def _write_rank(folder: Path, optimizer: Optimizer, rank: int) -> RankFile:
    """Writes this rank's tensors into one file and syncs it."""
    file = folder / f"rank-{rank:05d}.safetensors"
    tensors: dict[str, torch.Tensor] = {}
    pieces = []
    for slot, kept in zip(optimizer.slots, optimizer.state(), strict=True):
        if not slot.counted:
            continue
        # Of a tensor of which this rank holds several boxes each has a key of its own.
        key, count = slot.name, 1
        while key in tensors:
            key, count = f"{slot.name}#{count}", count + 1
        pieces.append((slot.name, list(slot.shape), key, list(slot.box.offset), list(slot.box.size)))
        tensors |= {key_of(kind, key): tensor.contiguous() for kind, tensor in kept.items()}
    save_file(tensors, file)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    return RankFile(file.name, digests.of_file(file), pieces)


def _commit(temporary: Path, final: Path, step: int, written: Sequence[RankFile], state: dict) -> None:
    """Writes the index and gives the checkpoint its name. Raises CheckpointError where a tensor is not there once and whole."""
    tensors = _tensors(written)
    files = {file.name: file.digest for file in written}
    index = {"format": FORMAT, "step": step, "tensors": to_index(tensors), "files": files, **state}
    index["digest"] = digests.of_index(index)
    with (temporary / "index.json").open("w") as out:
        json.dump(index, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    _sync(temporary)
    drop(final)
    temporary.rename(final)
    _sync(final.parent)


def _tensors(written: Sequence[RankFile]) -> dict[str, StoredTensor]:
    """Gathers the pieces of all ranks by tensor. Raises CheckpointError for one that is missing in part or there twice."""
    tensors: dict[str, StoredTensor] = {}
    for file in written:
        for name, shape, key, offset, size in file.pieces:
            piece = StoredPiece(file.name, key, Box(tuple(offset), tuple(size)))
            known = tensors.get(name, StoredTensor(tuple(shape), ()))
            if known.shape != tuple(shape):
                raise CheckpointError(
                    f"{name} has shape {list(known.shape)} on one rank and {shape} on another"
                )
            tensors[name] = StoredTensor(known.shape, (*known.pieces, piece))
    for name, tensor in tensors.items():
        if wrong := tensor.fault():
            raise CheckpointError(f"of {name}, {wrong} in what the ranks hold")
    return tensors


def _sync(folder: Path) -> None:
    """Writes the folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
