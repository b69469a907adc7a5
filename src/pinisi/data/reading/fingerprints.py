"""Tells whether input has changed, by its content: a file that is edited in place, and given its old time again, is another.

Reading a terabyte once, four files at a time, takes minutes to an hour, where curating it takes days. So that it is read once,
each digest is kept beside the file's size, times, and inode: the time of the last change of anything (ctime) can't be set back. A
file that was only copied, moved or touched is read again, and what was made of it stays.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pinisi.base.digests import of_file
from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.data.reading.find import find
from pinisi.data.reading.source import Part
from pinisi.data.storage import checksum, is_url

TOGETHER = 4  # files read at once: the digest leaves the interpreter to others
FRESH = 2.0  # seconds; a file system's clock is coarse, so what was changed so lately may change unnoticed


def fingerprint(parts: Sequence[Part], known: str | Path | None = None) -> str:
    """Changes when the content of a file does, or its name, or how it is cut.

    known: a file that keeps digests from one run to the next; without it all files are read each time. Files behind a URL are not
    read: their store's checksum or version counts. Raises DataError for a file that can't be read.
    """
    files = {path: _files(part) for path, part in {part.path: part for part in parts}.items()}
    paths = list(dict.fromkeys(path for of in files.values() for path in of))
    contents = {path: checksum(path) for path in paths if is_url(path)}
    contents |= _digests([path for path in paths if path not in contents], known)
    digest = hashlib.sha256()
    for part in parts:
        of = [part.name, part.format, part.source, part.first, part.stop]
        of += [contents[path] for path in files[part.path]]
        digest.update(json.dumps(of).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _files(part: Part) -> list[str]:
    """The files that a part is of: of a data set all in its folder, or none, as its name has the commit."""
    if part.format != "dataset":
        return [part.path]
    return [file.path for file in find(part.path, lambda name: True)] if os.path.isdir(part.path) else []


def _digests(paths: Sequence[str], known: str | Path | None) -> dict[str, Any]:
    """{path: digest}; those in the file `known` are taken from there and new ones put there."""
    stored = _stored(known)
    states = {path: _state(path) for path in paths}
    unread = [path for path in paths if stored.get(os.path.abspath(path), [None])[0] != states[path]]
    start = time.time()
    with ThreadPoolExecutor(TOGETHER) as pool:
        new = dict(zip(unread, pool.map(_digest, unread), strict=True))
    found = {path: new.get(path) or stored[os.path.abspath(path)][1] for path in paths}
    if known is not None and unread:
        settled = [
            path for path in paths if states[path] == _state(path) and _changed(states[path]) < start - FRESH
        ]
        kept = {os.path.abspath(path): [states[path], found[path]] for path in settled}
        write_whole(known, json.dumps(stored | kept))
    return found


def _stored(known: str | Path | None) -> dict[str, Any]:
    try:
        stored = json.loads(Path(known).read_text("utf-8")) if known is not None else {}
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _state(path: str) -> list[int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; see to the input and run again") from None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _changed(state: Sequence[int]) -> float:
    return state[2] / 1e9


def _digest(path: str) -> str:
    try:
        return of_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; see to the input and run again") from None
