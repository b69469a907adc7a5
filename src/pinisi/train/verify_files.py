"""Reads every file of shards or checkpoints and compares its digest: `pinisi inspect FOLDER --verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pinisi.base.errors import CheckpointError, DataError, PinisiError
from pinisi.data import TokenShards
from pinisi.train import checkpoint

NO_DIGESTS = "has no digests: an older version wrote it, and nothing can be compared"


def verify_files(folder: Path) -> int:
    """Prints a line for each folder of shards or checkpoint in `folder`; returns 1 if one is damaged, else 0.

    folder: token shards, a checkpoint, or a run. Raises DataError where it is none of these.
    """
    damaged = 0
    for path, wrong in _looked_at(folder):
        print(wrong if wrong else f"{path} is as it was written", flush=True)
        damaged += wrong is not None and NO_DIGESTS not in wrong
    return 1 if damaged else 0


def _looked_at(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Each folder with what is wrong with it."""
    checkpoints = [path for _, path in checkpoint.steps(folder / "checkpoints")]
    if checkpoints:
        yield from ((path, _damage(path)) for path in checkpoints)
    elif (folder / "index.json").is_file():
        yield folder, _damage(folder)
    else:
        raise DataError(f"{folder} is no folder of token shards, no checkpoint and no run with checkpoints")


def _damage(path: Path) -> str | None:
    found: checkpoint.Reader | TokenShards
    try:
        found = checkpoint.Reader(path) if path.name.startswith("step-") else TokenShards(path)
    except (CheckpointError, DataError) as error:
        return str(error)
    if "files" not in found.index:
        return f"{path} {NO_DIGESTS}"
    try:
        return found.damage()
    except PinisiError as error:
        return str(error)
