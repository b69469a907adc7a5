"""Finds personal data of all kinds in a text, and puts placeholders in its place."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pinisi.curate.personal.accounts import accounts
from pinisi.curate.personal.addresses import emails, ips
from pinisi.curate.personal.folded import folded
from pinisi.curate.personal.identities import COUNTRIES, identities
from pinisi.curate.personal.phones import PHONE, phones

# In this order: of two that overlap the first stays.
KINDS = {
    "email": "e-mail address",
    "ip": "IP address",
    "account": "account or card number",
    "identity": "identity number",
    "phone": "phone number",
}


class PersonalMatch(NamedTuple):
    """Characters start to end of a text, and what is put there."""

    start: int
    end: int
    kind: str
    mask: str


def find(
    text: str, language: str = "", kinds: Iterable[str] = tuple(KINDS), countries: Iterable[str] = COUNTRIES
) -> list[PersonalMatch]:
    """Returns what is found, in the order of the text, none overlapping another. language: decides which countries' phone numbers
    are known without their +code. countries: whose identity numbers are looked for."""
    plain, wanted = folded(text), set(kinds)
    taken: list[PersonalMatch] = []
    for kind in KINDS:
        if kind in wanted:
            taken += [
                PersonalMatch(start, end, kind, mask)
                for start, end, mask in _of_kind(kind, text, plain, language, countries)
            ]
    taken.sort(
        key=lambda one: one.start
    )  # stable: of two that begin together the one of the earlier kind comes first
    rank = {kind: number for number, kind in enumerate(KINDS)}
    result: list[PersonalMatch] = []
    for one in taken:
        if result and one.start < result[-1].end:
            last = result[-1]
            if (rank[one.kind], -one.end) < (rank[last.kind], -last.end):
                result[-1] = one
            continue
        result.append(one)
    return result


def masked(text: str, found: Iterable[PersonalMatch]) -> str:
    """Returns the text with placeholders for what was found; the rest is as it was."""
    pieces, end = [], 0
    for one in found:
        pieces += [text[end : one.start], one.mask]
        end = one.end
    return "".join([*pieces, text[end:]])


def _of_kind(
    kind: str, text: str, plain: str, language: str, countries: Iterable[str]
) -> Iterator[tuple[int, int, str]]:
    if kind == "email":
        yield from emails(plain)
    elif kind == "ip":
        yield from ips(plain)
    elif kind == "phone":
        yield from ((start, end, PHONE) for start, end in phones(plain, language))
    else:
        spans = accounts(plain) if kind == "account" else identities(plain, language, countries)
        yield from ((start, end, _zeros(text[start:end])) for start, end in spans)


def _zeros(number: str) -> str:
    """Returns the number with a zero of its own script for each digit: no one's, and just as long."""
    return "".join(chr(ord(sign) - int(sign)) if sign.isdecimal() else sign for sign in number)
