"""Keeps a run's folder of checkpoints: which there are, which is the newest whole one, and which go."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch.distributed as dist

from pinisi.base.errors import CheckpointError
from pinisi.parallel.agree import gather_json
from pinisi.train.checkpoint.index import NAME
from pinisi.train.checkpoint.reader import Reader


class NewestWhole(NamedTuple):
    """Holds the newest whole checkpoint (None if there is none at all), and what was wrong with newer ones."""

    reader: Reader | None
    passed_over: list[str]


def folder_of(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of a step stands."""
    return folder / f"step-{step:08d}"


def steps(folder: Path) -> list[tuple[int, Path]]:
    """Returns the checkpoints of a run, oldest first. Each was whole when it got its name; a file of it may have gone since."""
    found = []
    for path in folder.glob("step-*"):
        match = NAME.match(path.name)
        if match and path.is_dir():
            found.append((int(match.group(1)), path))
    return sorted(found)


def latest(folder: Path) -> Path | None:
    """Returns the newest checkpoint, whole or not."""
    found = steps(folder)
    return found[-1][1] if found else None


def newest_whole(folder: Path, *, read: bool = True, group: dist.ProcessGroup | None = None) -> NewestWhole:
    """Finds the newest checkpoint that is as it was written. read: all files are read and their digests compared, shared out over
    the ranks of `group` (then a collective call); else only its index is.

    Raises CheckpointError where there are checkpoints and none is whole.
    """
    passed_over: list[str] = []
    share, shares = (dist.get_rank(group), dist.get_world_size(group)) if dist.is_initialized() else (0, 1)
    names = [path.name for _, path in reversed(steps(folder))]
    if read:  # one rank's list, since the first to find none may save one before the others have looked
        names = gather_json(names, group)[0]
    for path in (folder / name for name in names):
        try:
            reader = Reader(path)
            wrong = reader.damage(share, shares) if read else None
        except CheckpointError as error:
            wrong = str(error)
        said = [each for each in (gather_json(wrong, group) if read else [wrong]) if each]
        if not said:
            return NewestWhole(reader, passed_over)
        passed_over.append(said[0])
    if passed_over:
        raise CheckpointError(
            f"no checkpoint in {folder} is whole: {'; '.join(passed_over)}. Bring back a copy, or remove them to start anew"
        )
    return NewestWhole(None, [])


def remove_unfinished(folder: Path) -> None:
    """Removes what a run left that was killed as it saved or dropped a checkpoint."""
    for path in folder.glob(".step-*"):
        _remove(path)


def drop_older(folder: Path, step: int, keep: int, spare: int | None = None) -> None:
    """Removes all but the newest `keep` checkpoints (0: none goes) up to `step`, and that of the step `spare`.

    Newer ones are damaged and were passed over: they don't count as kept.
    """
    for old in [path for at, path in steps(folder) if at <= step][:-keep] if keep else []:
        if spare is None or old != folder_of(folder, spare):
            with suppress(OSError):
                drop(old)


def drop(folder: Path) -> None:
    """Removes a checkpoint. It loses its name first: a kill in between leaves none that is there in part."""
    aside = folder.with_name(f".{folder.name}.old")
    with suppress(FileNotFoundError):
        folder.rename(aside)
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()
