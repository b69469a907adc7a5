"""Checks whether a document's text comes back from its tokens, and if not, names the change that the tokenizer made."""

import unicodedata
from typing import Any

SHOWN = 24  # characters of text kept from where a document differs
FORMS = ("NFC", "NFKC", "NFD", "NFKD")  # Unicode normalisation forms, Unicode Standard Annex 15


class Altered:
    """Counts documents that do not decode back to their text, by reason; keeps the first of each."""

    def __init__(self) -> None:
        self.reasons: dict[str, dict[str, Any]] = {}

    def add(self, id: str, text: str, decoded: str) -> None:
        """text: what was encoded; decoded: what its tokens decode to."""
        if text == decoded:
            return
        reason = why(text, decoded)
        if reason not in self.reasons:
            at = differs_at(text, decoded)
            self.reasons[reason] = {
                "documents": 0,
                "first": id,
                "character": at,
                "text": text[at : at + SHOWN],
                "decoded": decoded[at : at + SHOWN],
            }
        self.reasons[reason]["documents"] += 1


def why(text: str, decoded: str) -> str:
    """The least change of the text that explains what came back: a normal form, white space, or 'other'."""
    for form in FORMS:
        if unicodedata.normalize(form, text) == decoded:  # type: ignore[arg-type]
            return form
    if "".join(text.split()) == "".join(decoded.split()):
        return "white space"
    if "".join(unicodedata.normalize("NFKC", text).split()) == "".join(decoded.split()):
        return "NFKC and white space"
    return "other"


def differs_at(text: str, decoded: str) -> int:
    """The first character in which they differ."""
    pairs = enumerate(zip(text, decoded, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(text), len(decoded)))


def describe(altered: dict[str, dict[str, Any]]) -> str:
    """One line: 'NFC 3 (first: document 7 from character 12: 'e' became 'é')'."""
    return "; ".join(
        f"{reason} {found['documents']} (first: document {found['first']} from character {found['character']}: "
        f"{found['text']!r} became {found['decoded']!r})"
        for reason, found in altered.items()
    )
