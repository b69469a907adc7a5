"""Downloads files by HTTP: goes on where it stopped, and takes only bytes of the right digest."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base import digests
from pinisi.base.files import free_bytes

TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 3  # that go on with what is there
BLOCK = 2**20
LARGEST = 2**30  # bytes of one file
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NotFetched(Exception):
    """A file can't be had; the message says why in one line. unreachable: nobody answered at all."""

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


class Fetched(NamedTuple):
    """Says what was downloaded. told: the digest that the server itself names, if any."""

    sha256: str
    size: int
    told: str | None


def download(url: str, path: Path, sha256: str | None = None) -> Fetched:
    """Downloads a file, which is there when it is whole; until then its bytes stay beside it, for another call to go on with.

    sha256: what the bytes must have; else what the server names, where it does. Raises NotFetched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    for attempt in range(ATTEMPTS):
        try:
            told = _continue(url, partial)
        except NotFetched as error:
            if error.unreachable or attempt == ATTEMPTS - 1:
                raise
            continue
        found, wanted = digests.of_file(partial), sha256 or told
        if wanted is None or found == wanted:
            size = partial.stat().st_size
            partial.replace(path)
            return Fetched(found, size, told)
        partial.unlink()  # its beginning may be of another version
    raise NotFetched(
        f"{url} has the SHA-256 {found}, needed {wanted}: the file has changed, or somebody changes it on the way"
    )


def _continue(url: str, partial: Path) -> str | None:
    """Fetches what is missing; returns the digest that the server names."""
    start = partial.stat().st_size if partial.is_file() else 0
    headers = {"User-Agent": "pinisi", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    opener = urllib.request.build_opener(_Remembering())
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            told = _told(response)
            if start and not _goes_on(response, start):
                start = 0
            size = _length(response)
            if start + (size or 0) > min(LARGEST, free_bytes(partial)):
                raise NotFetched(f"{url} has {start + (size or 0):,} bytes, for which there is no room")
            with partial.open("ab" if start else "wb") as out:
                done = _copy(response, out, LARGEST - start)
            if size is not None and done < size:
                raise NotFetched(f"{url} broke off after {start + done:,} of {start + size:,} bytes")
            return told
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # all of it is there, or another version
            whole = re.search(r"/(\d+)$", error.headers.get("Content-Range") or "")
            if whole and int(whole[1]) == start:
                return _told(error)
            partial.unlink()
            raise NotFetched(f"{url} has changed since it was begun") from None
        raise NotFetched(f"{url} says {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        unreachable = isinstance(error, urllib.error.URLError)
        raise NotFetched(
            f"{url} can't be reached ({reason or type(error).__name__})", unreachable=unreachable
        ) from None


def _copy(response: Any, out: Any, room: int) -> int:
    done = 0
    while block := response.read(BLOCK):
        done += len(block)
        if done > room:
            raise NotFetched(f"{response.url} has more than {LARGEST:,} bytes")
        out.write(block)
    return done


def _goes_on(response: Any, start: int) -> bool:
    told = response.headers.get("Content-Range") or ""
    return response.status == 206 and told.startswith(f"bytes {start}-")


def _length(response: Any) -> int | None:
    told = response.headers.get("Content-Length") or ""
    return int(told) if told.isdigit() else None


class _Remembering(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to http, and carries along the digest that the first server names."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.HTTPError(req.full_url, code, "sends on to what isn't encrypted", headers, fp)
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None:
            told = getattr(req, "told", None) or headers.get("X-Linked-Etag")
            vars(found)["told"] = told
        return found

    def https_response(self, request: Any, response: Any) -> Any:
        response.told = getattr(request, "told", None)
        return response

    http_response = https_response


def _told(response: Any) -> str | None:
    """The SHA-256 that a server names: the Hugging Face hub does so, of larger files."""
    for value in (getattr(response, "told", None), response.headers.get("X-Linked-Etag")):
        if value and (found := _SHA256.fullmatch(value.strip('"'))):
            return found[0]
    return None
