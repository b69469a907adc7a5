"""Finds the files that a path, a pattern or a URL means.

A path that is there as it is written is taken so, though it holds *, ? or [. Files and folders whose names begin with a dot are
left out: what a Mac puts beside files, caches, what another program is still writing. Links to folders are followed, each folder
is read once.
"""

import glob
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pinisi.base.errors import DataError
from pinisi.data.storage import filesystem, is_url, reaching


class Found(NamedTuple):
    path: str  # here, or a URL
    name: str  # from the folder on that was asked for
    size: int | None  # bytes; None where they can't be told or no part of the file can be asked for


def find(given: str, known: Callable[[str], object]) -> list[Found]:
    """The files that `given` means, by name; of a folder those whose name is `known`. Raises DataError for what can't be looked
    into."""
    if is_url(given):
        found = list(_behind(given, known))
    else:
        try:
            found = list(_here(given, known))
        except OSError as error:
            raise DataError(
                f"cannot look for {given}: {error.filename}: {error.strerror}; see to the rights"
            ) from None
    return sorted(found, key=lambda each: each.path)


def split(given: str) -> tuple[Path, tuple[str, ...]]:
    """What of a path is there as it is written, and the rest: a pattern, or () if all of it is there."""
    there = Path(given)
    rest: tuple[str, ...] = ()
    while not there.exists() and there != there.parent:
        there, rest = there.parent, (there.name, *rest)
    return there, rest


def matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a path's names are those of a pattern, in which ** is any number of folders."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(matches(names[first:], patterns[1:]) for first in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and matches(names[1:], patterns[1:])


def _here(given: str, known: Callable[[str], object]) -> Iterator[Found]:
    base, pattern = split(given)
    if not pattern and not base.is_dir():
        paths, base = [base], base.parent
    elif not pattern:
        paths = [path for path in _walk(base) if known(path.name)]
    elif "**" in pattern:
        paths = [path for path in _walk(base) if matches(path.relative_to(base).parts, pattern)]
    else:
        paths = [Path(path) for path in glob.glob(os.path.join(glob.escape(str(base)), *pattern))]
    for path in paths:
        if path.is_file():
            name = PurePosixPath(base.resolve().name, path.relative_to(base).as_posix())
            yield Found(str(path), str(name), path.stat().st_size)


def _walk(base: Path) -> Iterator[Path]:
    """Files beneath a folder, of each folder once: under its own name, not under that of a link, if both lie here."""
    seen: set[tuple[int, int]] = set()
    waiting = deque([base])
    while waiting:
        for at, folders, names in os.walk(
            waiting.popleft(), onerror=_raise
        ):  # links to folders are among `folders`
            status = os.stat(at)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = [Path(at, name) for name in folders]
            waiting.extend(path for path in paths if stat.S_ISLNK(path.lstat().st_mode))
            yield from (Path(at, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _behind(url: str, known: Callable[[str], object]) -> Iterator[Found]:
    """As `_here`, through fsspec."""
    files, path = filesystem(url)
    with reaching(url):
        if files.isfile(path):
            infos, base = {path: files.info(path)}, PurePosixPath(path).parent
        elif files.isdir(path):
            infos, base = files.find(path, detail=True), PurePosixPath(path)
            infos = {each: info for each, info in infos.items() if known(PurePosixPath(each).name)}
        elif not glob.has_magic(path):
            return
        else:
            infos = files.glob(path, detail=True)
            base = next(each for each in PurePosixPath(path).parents if not glob.has_magic(str(each)))
        for each, info in infos.items():
            inside = PurePosixPath(each).relative_to(base)
            hidden = len(infos) > 1 and any(part.startswith(".") for part in inside.parts)
            if info.get("type") != "file" or hidden:
                continue
            whole = url.startswith("http") and not info.get(
                "partial"
            )  # a server that gives no part of a file
            yield Found(
                files.unstrip_protocol(each),
                str(PurePosixPath(base.name, inside)),
                None if whole else info.get("size"),
            )


def reads(given: str, path: str) -> bool:
    """Whether `given` means a file at `path`, were it there."""
    if is_url(given) != is_url(path):
        return False
    if is_url(given):
        whole = given.rstrip("/").split("/")
        first = next((at for at, each in enumerate(whole) if glob.has_magic(each)), len(whole))
        names, pattern = path.split("/"), tuple(whole[first:])
        base, names = whole[:first] == names[:first], names[first:]
    else:
        there, pattern = split(given)
        file = Path(path).resolve()
        base = file.is_relative_to(there.resolve())
        names = list(file.relative_to(there.resolve()).parts) if base else []
    hidden = any(name.startswith(".") for name in names)
    return base and not hidden and (matches(names, pattern) if pattern else True)
