"""Finds e-mail addresses and IP addresses.

Left alone are names and addresses that are reserved for examples (RFC 2606, 5737, 3849), so placeholders are never found again,
and IP addresses that are not public.
"""

import ipaddress
import re
from collections.abc import Iterator

from pinisi.curate.personal.folded import labelled, labels

EMAIL = "email@example.com"  # RFC 2606 reserves example.com
IPV4, IPV6 = "192.0.2.1", "2001:db8::1"  # RFC 5737 and RFC 3849 reserve these for documents
LOCAL, DOMAIN = 64, 255  # characters at most (RFC 5321, 4.5.3.1)
SECTION = 20  # numbers all below are a version's or a section's ("4.2.1.3"), unless "IP" stands before

_LOCAL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_+'-]|\.(?=[A-Za-z0-9_+'-]))*$")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}(?:xn--[a-z0-9-]{2,59}|[A-Za-z]{2,24})(?![A-Za-z0-9@]|-[A-Za-z0-9])"
)
_RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$", re.I)
# Files and not domains: image@2x.png
_FILES = frozenset(
    ("png", "jpg", "jpeg", "gif", "webp", "svg", "css", "js", "json", "html", "htm", "pdf", "mp3", "mp4")
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![A-Za-z0-9_]|\.\d)", re.A)
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?![\w:])", re.A)
_MONEY_BEFORE = re.compile(r"(?:\b(?:rp|idr|vnd|usd|php|thb|rm)|[$€£¥₫฿₱៛₭])\.? ?$", re.I)
_MONEY_BEHIND = re.compile(r" ?(?:rupiah|idr|vnd|đồng|đ\b|[€₫฿₱៛₭])", re.I)
_IP = labels("ip", "ip address", "alamat ip", "ipv4", "ที่อยู่ ip", "địa chỉ ip", "地址")
_VERSION = labels(
    "v", "ver", "version", "versi", "bersyon", "release", "rilis", "build", "section", "chapter", "bab", "pasal", "phiên bản",
    "mục", "chương", "เวอร์ชัน", "รุ่น", "ข้อ", "版本", "ជំនាន់", "ລຸ້ນ", "ဗားရှင်း",
)  # fmt: skip


def emails(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, placeholder) of each e-mail address of a folded text."""
    at, after = text.find("@"), 0
    while at >= 0:
        first = max(after, at - LOCAL)
        local = text[first:at]
        cut = re.search(r"[A-Za-z0-9_.+'-]*$", local)
        begin = _LOCAL.search(local, cut.start() if cut else len(local))
        domain = _DOMAIN.match(text, at + 1, at + 1 + DOMAIN)
        if begin and domain and not _is_reserved(domain[0]):
            yield first + begin.start(), domain.end(), EMAIL
            after = domain.end()
        at = text.find("@", max(at + 1, after))


def _is_reserved(domain: str) -> bool:
    return domain.rpartition(".")[2].lower() in _FILES or _RESERVED.search(domain) is not None


def ips(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, placeholder) of each public IP address of a folded text."""
    for found in _IPV4.finditer(text):
        if _is_public(found[0]) and _is_address(text, found):
            yield found.start(), found.end(), IPV4
    for found in _IPV6.finditer(text):
        address = found[0].rstrip(":")
        if _is_public(address):
            yield found.start(), found.start() + len(address), IPV6


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _is_address(text: str, found: re.Match[str]) -> bool:
    """Tells an address of a computer from a network's, from an amount of money, and from a number of a version or a section."""
    if found[0].endswith((".0", ".255")):
        return False
    if labelled(text, found.start(), _IP):
        return True
    if _MONEY_BEFORE.search(text, max(0, found.start() - 6), found.start()) or _MONEY_BEHIND.match(
        text, found.end()
    ):
        return False
    small = all(int(number) < SECTION for number in found[0].split("."))
    return not small and not labelled(text, found.start(), _VERSION)
