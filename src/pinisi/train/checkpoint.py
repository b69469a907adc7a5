"""Checkpoints: safetensors and JSON, under Hugging Face names, atomic, loadable at any number of ranks.

    checkpoints/step-00000100/
        index.json              step, sampler state, fingerprints, and for each tensor its shape and the rows of each part
        rank-00000.safetensors  master weights (`name`) and moments (`exp_avg/name`, `exp_avg_sq/name`) of one rank

Every rank writes into a temporary folder; rank 0 renames it when all have synced theirs to disk, so that a folder that has
its name is whole. Vocabulary matrices are stored by rows with their offsets, which is what makes p free at load time
(torch's distributed checkpoint wants the rows of torch.chunk, and reads its metadata with pickle).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pinisi.base import digests, json_text
from pinisi.base.errors import CheckpointError
from pinisi.engine.optimizer import Optimizer, Slot
from pinisi.parallel.agree import gather_json

FORMAT = 1
KINDS = ("weight", "exp_avg", "exp_avg_sq")
# What an index must hold, and what it may: checkpoints of before there were digests have no "files".
_NEEDED: dict[str, type] = {"step": int, "updates": int, "tensors": dict}
_OPTIONAL: dict[str, type] = {"files": dict, "sampler": dict}
_NAME = re.compile(r"step-(\d{8,})$")


def _key(kind: str, name: str) -> str:
    return name if kind == "weight" else f"{kind}/{name}"


def steps(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run, oldest first. Each was whole when it got its name; a file of it may have gone since."""
    found = []
    for path in folder.glob("step-*"):
        match = _NAME.match(path.name)
        if match and path.is_dir():
            found.append((int(match.group(1)), path))
    return sorted(found)


def latest(folder: Path) -> Path | None:
    found = steps(folder)
    return found[-1][1] if found else None


class Found(NamedTuple):
    """The newest whole checkpoint (None if there is none at all), and what was wrong with newer ones."""

    reader: Reader | None
    passed_over: list[str]


def newest_whole(folder: Path, *, read: bool = True, group: dist.ProcessGroup | None = None) -> Found:
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
            return Found(reader, passed_over)
        passed_over.append(said[0])
    if passed_over:
        raise CheckpointError(
            f"no checkpoint in {folder} is whole: {'; '.join(passed_over)}. Bring back a copy, or remove them to start anew"
        )
    return Found(None, [])


def save(
    folder: Path,
    step: int,
    optimizer: Optimizer,
    state: dict,
    *,
    rank: int,
    group: dist.ProcessGroup | None,
    keep: int,
) -> Path:
    """Writes one checkpoint (a collective call of the ranks of one pipeline) and drops all but the newest `keep`.

    `state` is stored as it is in index.json (sampler, fingerprints, configuration). On any rank's failure every rank
    raises and the older checkpoints stay.
    """
    final = folder / f"step-{step:08d}"
    temporary = folder / f".step-{step:08d}.partial"
    problem = None
    parts: dict = {}
    digest: dict[str, str] = {}
    if rank == 0:
        for left in folder.glob(".step-*"):  # by a run that was killed as it saved or dropped one
            _remove(left)
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            problem = f"rank 0 could not make {temporary}: {error}"
    problem = gather_json(problem, group)[0]
    try:
        if not problem:
            parts, digest = _write_rank(temporary, optimizer, rank)
    except (OSError, SafetensorError) as error:
        problem = f"rank {rank} could not write to {temporary}: {error}"
    everyone = gather_json((problem, parts, digest), group)
    problems = [p for p, _, _ in everyone if p]
    if problems:
        if rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"checkpoint of step {step} was not saved, older ones are whole: {problems[0]}; free space or mend the folder, "
            "then run again to resume"
        )
    failed = None
    if rank == 0:
        try:
            files = {name: digest for _, _, of in everyone for name, digest in of.items()}
            _commit(temporary, final, step, [p for _, p, _ in everyone], files, state)
            # Newer ones are damaged and were passed over: they don't count as kept.
            for old in [path for at, path in steps(folder) if at <= step][:-keep] if keep else []:
                with suppress(OSError):
                    _drop(old)
        except OSError as error:
            failed = str(error)
    failed = gather_json(failed, group)[0]
    if failed:
        raise CheckpointError(f"checkpoint of step {step} was not saved, older ones are whole: {failed}")
    return final


def _write_rank(folder: Path, optimizer: Optimizer, rank: int) -> tuple[dict, dict]:
    """This rank's tensors into one file, synced; returns name -> part for the index, and the file's digest by its name."""
    file = folder / f"rank-{rank:05d}.safetensors"
    tensors, parts = {}, {}
    for slot, kept in zip(optimizer.slots, optimizer.state(), strict=True):
        if not slot.counted:
            continue
        parts[slot.name] = {
            "file": file.name,
            "start": slot.start,
            "rows": slot.parameter.shape[0] if slot.shape else 1,
            "shape": list(slot.shape),
        }
        for kind, tensor in kept.items():
            tensors[_key(kind, slot.name)] = tensor.contiguous()
    save_file(tensors, file)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    return parts, {file.name: digests.of_file(file)}


def _commit(
    temporary: Path, final: Path, step: int, parts: Sequence[dict], files: dict[str, str], state: dict
) -> None:
    tensors: dict[str, dict] = {}
    for rank_parts in parts:
        for name, part in rank_parts.items():
            entry = tensors.setdefault(name, {"shape": part["shape"], "parts": []})
            entry["parts"].append({k: part[k] for k in ("file", "start", "rows")})
    index = {"format": FORMAT, "step": step, "tensors": tensors, "files": files, **state}
    index["digest"] = digests.of_index(index)
    with (temporary / "index.json").open("w") as file:
        json.dump(index, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    _sync(temporary)
    _drop(final)
    temporary.rename(final)
    _sync(final.parent)


def _drop(folder: Path) -> None:
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


def _sync(folder: Path) -> None:
    """The folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Reader:
    """A checkpoint on disk: reads any rows of any tensor, whatever number of ranks wrote it."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            if not (folder / "index.json").is_file():  # of a pipe nothing might ever come
                raise CheckpointError(f"{folder / 'index.json'} can't be read: there is no such file")
            self.index = json_text.parse((folder / "index.json").read_text("utf-8"))
        except OSError as error:
            raise CheckpointError(f"{folder / 'index.json'} can't be read: {error.strerror}") from error
        except ValueError as error:
            raise CheckpointError(
                f"{folder / 'index.json'} is damaged ({error}); remove this folder to use an older one"
            ) from error
        if not isinstance(self.index, dict):
            raise CheckpointError(f"{folder / 'index.json'} is damaged (no JSON object)")
        # Checkpoints of before there were digests have neither of the two keys.
        if self.index.keys() & {"digest", "files"} and self.index.get("digest") != digests.of_index(
            self.index
        ):
            raise CheckpointError(
                f"{folder / 'index.json'} is damaged: its digest is another one than it was written with"
            )
        if self.index.get("format") != FORMAT:
            raise CheckpointError(
                f"{folder} has format {self.index.get('format')}, this version reads {FORMAT}"
            )
        for key, kind in (_NEEDED | _OPTIONAL).items():
            if (key in self.index or key in _NEEDED) and not isinstance(self.index.get(key), kind):
                raise CheckpointError(
                    f"{folder / 'index.json'} is damaged: its {key} is missing or no {kind.__name__}"
                )
        name = _NAME.match(folder.name)
        if name and int(name.group(1)) != self.step:
            raise CheckpointError(f"{folder} is damaged: what it holds is step {self.step}")

    @property
    def step(self) -> int:
        return self.index["step"]

    def damage(self, share: int = 0, shares: int = 1) -> str | None:
        """Reads this share of the files whole; returns what is wrong with the first that is not as it was written.

        Checkpoints of before there were digests have none, and pass.
        """
        return digests.damage(self.folder, self.index.get("files", {}), share, shares)

    def names(self) -> list[str]:
        return list(self.index["tensors"])

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._entry(name)["shape"])

    def _entry(self, name: str) -> dict:
        if name not in self.index["tensors"]:
            raise CheckpointError(f"{self.folder} has no tensor {name}: it belongs to another model")
        return self.index["tensors"][name]

    def get(self, name: str, rows: range | None = None, kind: str = "weight") -> torch.Tensor:
        """A tensor, or rows of it, of `kind` weight, exp_avg or exp_avg_sq; only these rows are read."""
        entry = self._entry(name)
        if rows is None:
            rows = range(entry["shape"][0] if entry["shape"] else 1)
        pieces = []
        for part in sorted(entry["parts"], key=lambda p: p["start"]):
            start = max(rows.start, part["start"])
            stop = min(rows.stop, part["start"] + part["rows"])
            if start < stop:
                pieces.append(self._read(part, _key(kind, name), start - part["start"], stop - part["start"]))
        if not pieces:
            return torch.empty((0, *entry["shape"][1:]))
        result = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        if entry["shape"] and result.shape[0] != len(rows):
            raise CheckpointError(
                f"{self.folder}: {name} has {result.shape[0]} of the rows {rows.start}..{rows.stop - 1}"
            )
        return result

    def _read(self, part: dict, key: str, start: int, stop: int) -> torch.Tensor:
        path = self.folder / part["file"]
        try:
            with safe_open(path, framework="pt") as file:
                piece = file.get_slice(key)
                return piece[start:stop] if piece.get_shape() else file.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is damaged or missing ({error}); remove {self.folder} to resume from an older checkpoint"
            ) from error

    def check(self, **expected: object) -> None:
        """Compares what the checkpoint says of itself (model, data) with what this run has."""
        for key, value in expected.items():
            if self.index.get(key) != value:
                raise CheckpointError(
                    f"{self.folder} was made with another {key} ({self.index.get(key)}) than this run's ({value}): "
                    f"use another run.folder, or the {key} that it was made with"
                )


def restore(reader: Reader, optimizer: Optimizer) -> None:
    """Puts a checkpoint's weights and moments into the slots of this rank. Raises CheckpointError for a frozen engine's
    optimizer, which has none."""
    if not optimizer.slots:
        raise CheckpointError(
            f"{reader.folder}: a frozen engine takes no checkpoint; build it with the checkpoint's weights (`checkpoint.weights`)"
        )
    state = []
    kinds = KINDS if reader.index["updates"] else KINDS[:1]
    for slot in optimizer.slots:
        if reader.shape(slot.name) != tuple(slot.shape):
            raise CheckpointError(
                f"{reader.folder}: {slot.name} has shape {list(reader.shape(slot.name))}, this model needs {list(slot.shape)}"
            )
        state.append({kind: reader.get(slot.name, _rows(slot), kind) for kind in kinds})
    optimizer.restore(state, reader.index["updates"])


def _rows(slot: Slot) -> range | None:
    return range(slot.start, slot.start + slot.parameter.shape[0]) if slot.sharded else None


def weights(
    reader: Reader, dtype: torch.dtype, names: Sequence[str] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of a checkpoint (all if no names are given) in turn, whole: one tensor in memory at a time."""
    for name in reader.names() if names is None else names:
        yield name, reader.get(name).to(dtype)
