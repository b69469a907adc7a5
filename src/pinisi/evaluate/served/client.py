"""Sends requests to an OpenAI-compatible address: with time-outs, repeated where that can help, several at once.

Nothing but the standard library is used. The key comes from an environment variable and is sent to the address alone: redirects
are not followed, and no message or file of ours holds it.
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit

from pinisi.base.errors import ConfigError, PinisiError
from pinisi.base.json_text import parse

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}  # HTTP states that may pass
OF_ONE_REQUEST = {400, 413, 422}  # states that say nothing of the next request
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before a request is sent again, doubled each time
LARGEST = 2**25  # bytes of an answer
SHOWN = 200  # characters of a server's own words in a message
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class ServerError(PinisiError):
    """A server gave no usable answer: says what it gave, how often it was asked, and what to do."""


class RequestRefused(ServerError):
    """A server refuses one request for what stands in it; others may be answered."""


@dataclass(frozen=True)
class ServedModel:
    """Names a model behind an address, and says how patiently it is asked.

    address: up to and with the version, such as http://localhost:8000/v1. key_variable: the environment variable that holds the
    key; none is sent where it is empty. parallel: requests at once. timeout: seconds for one request, from its sending to the
    answer's last byte. attempts: how often a request is sent at most.
    """

    address: str
    name: str
    key_variable: str = "OPENAI_API_KEY"
    parallel: int = 8
    timeout: float = 120.0
    attempts: int = 5

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.address)
            _ = parts.port
        except ValueError as error:
            raise ConfigError(f"the address {self.address!r} can't be read: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"the address {self.address!r} is none of a server: needed one such as http://localhost:8000/v1"
            )
        if parts.username or parts.query or parts.fragment:
            raise ConfigError(
                f"the address of {parts.hostname} holds a user, a query or a fragment: leave these out; a key comes from the "
                f"environment variable {self.key_variable}"
            )
        if not self.name:
            raise ConfigError("no name of a model is given: name the one that the server has")
        if self.parallel < 1 or self.attempts < 1 or not 0 < self.timeout < float("inf"):
            raise ConfigError(
                f"got {self.parallel} requests at once, {self.attempts} attempts of {self.timeout:g} s: each must be above 0"
            )


class Waiting(Protocol):
    """Waits for so many seconds."""

    def __call__(self, seconds: float, /) -> object: ...


class ServerClient:
    """Sends requests to one served model. wait: what is done between attempts, for tests."""

    def __init__(self, served: ServedModel, wait: Waiting = time.sleep) -> None:
        self.served, self._wait = served, wait
        self._key = os.environ.get(served.key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise ConfigError(
                f"{served.key_variable} holds no key: there is a character in it that no header may have"
            )
        handlers: list[Any] = [_NoRedirects()]
        if urlsplit(served.address).hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)
        self._random = random.Random(0)
        self.repeated = 0  # requests that were sent again

    def ask(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Any]) -> Any:
        """Posts a body to address/path and returns what `read` makes of the JSON that comes.

        read raises ValueError for an answer that is none, which is asked for again. Raises ServerError when all attempts are
        spent or none can help, RequestRefused where it is this request's fault.
        """
        last = ""
        for attempt in range(1, self.served.attempts + 1):
            told = None
            try:
                return read(self._post(path, body))
            except urllib.error.HTTPError as error:
                last = self._refusal(error, path)
                told = _seconds(error.headers.get("Retry-After"))
            except TimeoutError:
                last = f"gave no whole answer within {self.served.timeout:g} s"
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                if isinstance(reason, TimeoutError):
                    last = f"gave no answer within {self.served.timeout:g} s"
                else:
                    last = f"can't be reached ({_short(str(reason) or type(reason).__name__)})"
            except ValueError as error:
                last = f"gave an answer that is none ({_short(str(error))})"
            if attempt < self.served.attempts:
                self.repeated += 1
                self._wait(self._pause(attempt, told))
        raise ServerError(
            f"{self.served.address} {last}; asked {self.served.attempts} times for {self.served.name}: see whether the server is "
            "well, or give another address, more time or more attempts"
        )

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "pinisi"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self.served.address.rstrip('/')}/{path}"
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        request = urllib.request.Request(url, data=content, headers=headers, method="POST")
        end = time.monotonic() + self.served.timeout
        with self._opener.open(request, timeout=self.served.timeout) as response:
            text = _all_of(response, end).decode("utf-8", "replace")
        try:
            return parse(text)
        except ValueError:
            raise ValueError(f"no JSON: {text[: 2 * SHOWN]!r}") from None

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> str:
        """What to say of a state that may pass; raises for one that won't."""
        state, words = error.code, _words(error, self._key)
        said = f"says {state}" + (f" ({words})" if words else "")
        where = f"{self.served.address} {said}"
        if state in AGAIN and "insufficient_quota" not in words:
            return said
        if state in OF_ONE_REQUEST:
            raise RequestRefused(f"{where} to a request: it may be too long for {self.served.name}") from None
        if state in (401, 403):
            need = "another key" if self._key else "a key"
            raise ServerError(f"{where}: put {need} into {self.served.key_variable}") from None
        if state == 404:
            raise ServerError(
                f"{where}: it has no /{path} or no model {self.served.name!r}; an address mostly ends in /v1"
            ) from None
        if 300 <= state < 400:
            there = urlsplit(error.headers.get("Location") or "").hostname
            raise ServerError(
                f"{where} and sends on to {there}: redirects aren't followed, give its own address"
            ) from None
        raise ServerError(f"{where}: the request can't be answered there") from None

    def _pause(self, attempt: int, told: float | None) -> float:
        """Doubled each time, with chance in it, so that many requests don't come back at once; as long as the server says."""
        wait = FIRST_WAIT * 2 ** (attempt - 1) * (0.75 + 0.5 * self._random.random())
        return min(LONGEST_WAIT, max(wait, told or 0.0))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: the key would go to whom the answer names."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _all_of(response: Any, end: float) -> bytes:
    """All bytes of an answer. Raises TimeoutError when `end` comes first, ValueError if there are too many."""
    parts, size = [], 0
    while part := response.read1(2**16):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise ValueError(f"more than {LARGEST // 2**20} MiB")
        if time.monotonic() > end:
            raise TimeoutError
    return b"".join(parts)


def _words(error: urllib.error.HTTPError, key: str) -> str:
    """A server's own words of an error, short, on one line, without the key."""
    try:
        text = error.read(2**14).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return ""
    try:
        value = parse(text)
    except ValueError:
        value = None
    inner = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(inner, dict):
        text = " ".join(str(inner[name]) for name in ("code", "message") if inner.get(name))
    return _short(text.replace(key, "***") if key else text)


def _short(text: str) -> str:
    """One printable line of at most SHOWN characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."


def _seconds(value: str | None) -> float | None:
    """What Retry-After says: seconds, or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
