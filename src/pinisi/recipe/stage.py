"""Names each stage's folder by all that its result depends on, and clears up what other runs left."""

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DIGITS = 12  # of the digest in a folder's name
PLAIN = (type(None), bool, int, float, str, bytes, Path)  # their repr is the same in every process


@dataclasses.dataclass(frozen=True)
class RecipeStage:
    """Names a stage and what its result depends on besides the stages before it.

    depends: plain values, lists, tuples, dicts and dataclasses of them; a file counts by a digest of its content.
    beside: names of folders that depend on the same, for work that is done in this stage's place or within it.
    """

    name: str
    depends: Sequence[Any]
    beside: tuple[str, ...] = ()


def stage_folders(work: Path, stages: Iterable[RecipeStage]) -> dict[str, Path]:
    """Returns each name's folder, `work/NAME-DIGEST`. The digest changes with what any stage up to this one depends on.

    So what is there can be used, and a change of a late stage leaves the early ones done. Raises TypeError for a value that could
    read differently in another process.
    """
    folders: dict[str, Path] = {}
    digest = ""
    for stage in stages:
        _check(stage.depends, stage.name)
        digest = hashlib.sha256((digest + repr(stage.depends)).encode()).hexdigest()
        folders |= {name: work / f"{name}-{digest[:DIGITS]}" for name in (stage.name, *stage.beside)}
    return folders


def _check(value: Any, stage: str) -> None:
    if isinstance(value, PLAIN):
        return
    if isinstance(value, dict):
        inside: Iterable[Any] = [*value.keys(), *value.values()]
    elif dataclasses.is_dataclass(value):
        inside = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, list | tuple):
        inside = value
    else:
        raise TypeError(
            f"the stage '{stage}' depends on a {type(value).__name__}, which may read differently in each process: give plain "
            "values, or lists, tuples, dicts and dataclasses of them"
        )
    for each in inside:
        _check(each, stage)


def begin(
    folders: Mapping[str, Path],
    report: Callable[[str], None],
    depends: str = "the configuration or the input",
) -> None:
    """Removes what a killed run had begun to write, and says what can't be used again. depends: what may have changed, in words."""
    for folder in folders.values():
        for begun in folder.glob(".*.partial"):
            shutil.rmtree(begun)
    for name, folder in folders.items():
        if not folder.exists() and any(folder.parent.glob(f"{name}-*")):
            report(f"{name} and what follows is done anew: {depends} changed")
            return


def remove_others(folders: Mapping[str, Path]) -> None:
    """Deletes the stages' folders that an earlier configuration left: those with a name such as `stage_folders` gives."""
    for name, folder in folders.items():
        for path in folder.parent.glob(f"{name}-*"):
            if path != folder and path.is_dir() and re.fullmatch(f"{name}-[0-9a-f]{{{DIGITS}}}", path.name):
                shutil.rmtree(path)
