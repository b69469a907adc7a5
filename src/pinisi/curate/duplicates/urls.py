"""Keeps one document for each URL: pages may be fetched several times, under addresses that differ in parts that don't matter."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.curate.duplicates.near import keep

NO_URL = 0  # the hash of no URL; documents with it are all kept
PORTS = {"http": "80", "https": "443", "ftp": "21"}
# What sites add to count visits, as their makers document it: Google Analytics, Ads and Marketing Platform, Meta, Microsoft,
# X, TikTok, LinkedIn, Yandex, Mailchimp, HubSpot, Matomo, Marketo, Instagram; and session numbers of PHP, Java and ASP.
TRACKING = re.compile(
    r"utm_\w+|ga_\w+|_gac?|_gl|gclid|gclsrc|gbraid|wbraid|dclid|srsltid|fbclid|fb_(action_ids|action_types|ref|source)|msclkid|"
    r"twclid|ttclid|li_fat_id|yclid|_openstat|mc_(cid|eid)|_?hs(enc|mi)|__hs(sc|tc|fp)|hsctatracking|"
    r"(mtm|matomo|pk|piwik)_\w+|mkt_tok|igshid|igsh|phpsessid|jsessionid|aspsessionid\w*|sessionid",
    re.IGNORECASE,
)
_ESCAPED = re.compile("%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def canonical_url(url: str) -> str:
    """The address without what doesn't tell pages apart; the same for all spellings of one (RFC 3986, section 6.2.2 and 6.2.3).

    https stands for http too. Goes: user and password, www., a default port, the fragment (not #!, which names a page), tracking
    parameters and session numbers, a trailing or double slash, an index page's name; `.` and `..` are followed, parameters sorted,
    percent signs used where they are needed. What is no address (no host, an impossible port) comes back as it is, stripped.
    """
    return _address(url) or url.strip()


def _address(url: str) -> str | None:
    stripped = url.strip()
    try:
        parts = urlsplit(stripped if "://" in stripped else "//" + stripped.removeprefix("//"))
        port = str(parts.port) if parts.port is not None else ""
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    if not host or ("://" not in stripped and "." not in host) or " " in host:
        return None
    scheme = parts.scheme.lower() or "http"
    place = _host(host) + (f":{port}" if port and port != PORTS.get(scheme) else "")
    scheme = "https" if scheme == "http" else scheme
    return f"{scheme}://{place}{_path(parts.path)}{_query(parts)}{_fragment(parts)}"


def _host(host: str) -> str:
    with suppress(UnicodeError):
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    host = host.lower().removeprefix("www.")
    return f"[{host}]" if ":" in host else host


def _path(path: str) -> str:
    path = re.sub(r";(jsessionid|phpsessid)=[^/]*", "", path, flags=re.IGNORECASE)
    kept: list[str] = []
    for name in _spelled(path).split("/"):
        if name == "..":
            del kept[-1:]
        elif name not in ("", "."):
            kept.append(name)
    if kept and re.fullmatch(r"(index|default)\.(html?|php|aspx?|jsp)", kept[-1], re.IGNORECASE):
        kept.pop()
    return "".join("/" + name for name in kept)


def _query(parts: SplitResult) -> str:
    wanted = [
        _spelled(parameter)
        for parameter in parts.query.replace("&amp;", "&").split("&")
        if parameter and not TRACKING.fullmatch(parameter.partition("=")[0])
    ]
    return "?" + "&".join(sorted(wanted)) if wanted else ""


def _fragment(parts: SplitResult) -> str:
    return "#" + _spelled(parts.fragment) if parts.fragment.startswith("!") else ""


def _spelled(text: str) -> str:
    """Percent signs only where they are needed: %7E is ~, %c3 is %C3, a letter beyond ASCII is its UTF-8."""

    def one(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    escaped = "".join(
        c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass")) for c in text
    )
    return _ESCAPED.sub(one, escaped.replace(" ", "%20"))


def url_hash(url: str) -> int:
    """The 64-bit hash of the canonical address; NO_URL for what is none, such as the name of a file that held many documents."""
    address = _address(url)
    return text_key(address) if address else NO_URL


def keep_longest(
    url_hashes: np.ndarray, lengths: np.ndarray, keys: np.ndarray, ties: np.ndarray | None = None
) -> np.ndarray:
    """[N] bool: of the documents of each URL the longest, then that of the smallest key, then of the smallest of `ties`.

    Documents without URL (NO_URL) all stay.
    """
    hashes = np.asarray(url_hashes, np.uint64)
    mask = hashes == NO_URL
    named = np.flatnonzero(~mask)
    mask[named] = keep(
        hashes[named],
        np.asarray(lengths)[named],
        np.asarray(keys)[named],
        None if ties is None else np.asarray(ties)[named],
    )
    return mask
