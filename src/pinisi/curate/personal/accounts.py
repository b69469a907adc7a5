"""Finds numbers of bank accounts (IBAN) and payment cards, in one piece or in groups."""

import re
from collections.abc import Iterator

from pinisi.curate.personal.checks import IBAN_LENGTHS, card, iban

_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.A
)
_CARD = re.compile(
    r"(?<![\w.,+-])(?:\d{14,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})(?![\w-]|[.,]\d)",
    re.A,
)


def accounts(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each IBAN and card number of a folded text."""
    for found in _IBAN.finditer(text):
        # Groups of letters behind it may have been taken in.
        places = [place for place, sign in enumerate(found[0]) if sign != " "]
        length = IBAN_LENGTHS.get(found[0][:2], 0)
        if 0 < length <= len(places) and iban("".join(found[0][place] for place in places[:length])):
            yield found.start(), found.start() + places[length - 1] + 1
    for found in _CARD.finditer(text):
        if card(re.sub("[ -]", "", found[0])):
            yield found.start(), found.end()
