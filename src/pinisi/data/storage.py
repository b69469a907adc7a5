"""Reads and writes files on this machine and, by fsspec, in stores that have a URL: s3://, gs://, hf://, https://, memory://.

Keys, endpoints, retries and time-outs are fsspec's: environment variables and ~/.config/fsspec, as each store's package says.
"""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pinisi.base.errors import DataError, PinisiError
from pinisi.base.files import new_file
from pinisi.base.libraries import library
from pinisi.base.paths import is_url

BUFFER, COPY = 2**16, 2**22  # bytes read at once
# Under one of these a store tells what it knows of a file's content: checksums, versions.
CHECKSUMS = (
    "ETag",
    "etag",
    "md5Hash",
    "md5",
    "crc32c",
    "sha256",
    "blob_id",
    "content_settings",
    "version_id",
)


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it. Raises DataError where a package is missing."""
    core = library("fsspec.core")
    with reaching(url):
        return core.url_to_fs(url)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turns what a store raises into one line that names the URL: DataError."""
    try:
        yield
    except PinisiError:
        raise
    except ImportError as error:
        raise DataError(f"{url}: {error}; install the package that reads {url.split(':')[0]}://") from None
    except Exception as error:  # each store has errors of its own
        said = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{url} can't be reached ({type(error).__name__}: {said}); see to address, rights and network, then run again"
        ) from None


@contextmanager
def open_bytes(path: str | Path) -> Iterator[IO[bytes]]:
    """A file's bytes as they lie there. What goes wrong while a URL is read raises DataError that names it: it may go well the
    next time, so it is no damage of the file."""
    if not is_url(path):
        with Path(path).open("rb") as file:
            yield file
        return
    url = str(path)
    files, inside = filesystem(url)
    with reaching(url):
        remote = files.open(inside, "rb")
    try:
        yield io.BufferedReader(_Remote(remote, url), BUFFER)
    finally:
        remote.close()


class _Remote(io.RawIOBase):
    """An open file of fsspec whose errors name its URL."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: Any) -> int:
        with reaching(self._url):
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def seek(self, offset: int, whence: int = 0) -> int:
        with reaching(self._url):
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def checksum(url: str) -> list[Any]:
    """What changes with the content of a file in a store: its checksum or version and size, without reading it. A store that has
    none of them (a plain web server) is asked for whatever else it says of the file."""
    files, inside = filesystem(url)
    with reaching(url):
        info = files.info(inside)
        known = {key: str(info[key]) for key in CHECKSUMS if info.get(key)}
        return [info.get("size"), known or files.ukey(inside)]


def under(folder: str, name: str) -> str:
    """The path or URL of `name` in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder, name))


def put(local: Path, target: str) -> None:
    """Copies a file to a path or a URL, where it appears whole. Raises DataError."""
    if is_url(target):
        files, inside = filesystem(target)
        with reaching(target):
            if "file" in files.protocol:  # which alone doesn't make the folders of a name
                files.makedirs(inside.rpartition("/")[0], exist_ok=True)
            files.put_file(str(local), inside)
        return
    try:
        with local.open("rb") as source, new_file(Path(target)) as out:
            shutil.copyfileobj(source, out, COPY)
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}; free some space or fix the rights"
        ) from error


def exists(path: str) -> bool:
    """Whether there is a file at a path or a URL. Raises DataError for a store that can't be reached."""
    if not is_url(path):
        return Path(path).is_file()
    files, inside = filesystem(path)
    with reaching(path):
        return files.isfile(inside)


def remove(path: str) -> None:
    """Deletes a file at a path or a URL, if it is there. Raises DataError."""
    if not is_url(path):
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"cannot delete {path}: {error.strerror or error}; fix the rights") from error
    elif exists(path):
        files, inside = filesystem(path)
        with reaching(path):
            files.rm_file(inside)
