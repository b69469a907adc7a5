"""Does with a document's personal data what the configuration says."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pinisi.curate.personal.find import KINDS, PersonalMatch, find, masked
from pinisi.curate.personal.identities import COUNTRIES
from pinisi.curate.records import EXCERPT
from pinisi.data.documents import Document

if TYPE_CHECKING:
    from pinisi.curate.config import Personal


def without_personal_data(document: Document, do: "Personal") -> tuple[Document, dict[str, int], str]:
    """(the document, {kind: how many were found}, the kinds for which it must be dropped or "").

    Its lineage says what was masked and what was cut. What a document is dropped for is masked too, since what is dropped is
    written down. Raises DataError if phone numbers are looked for and phonenumberslite is not installed.
    """
    found = _find(document.text, document.language, do)
    if not found:
        return document, {}, ""
    counts = Counter(one.kind for one in found)
    numbers = {_names(kind): counts[kind] for kind in KINDS if kind in counts}
    drop = ", ".join(_names(kind) for kind in counts if getattr(do, kind) == "drop")
    notes = [
        f"{said}: " + ", ".join(_said(kind, counts[kind]) for kind in kinds)
        for said, choice in (("masked", "mask"), ("cut", "cut"))
        if (kinds := [kind for kind in KINDS if kind in counts and getattr(do, kind) == choice])
    ]
    lineage = [*document.metadata.get("lineage", []), *notes]
    metadata = {**document.metadata, "lineage": lineage} if notes else document.metadata
    return replace(document, text=masked(document.text, found), metadata=metadata), numbers, drop


def shown_safely(text: str, language: str, do: "Personal") -> str:
    """Returns a text that is too long to be read, with what is shown of it masked: as long as it was, or nearly."""
    return masked(text[:EXCERPT], _find(text[:EXCERPT], language, do)) + text[EXCERPT:]


def _find(text: str, language: str, do: "Personal") -> list[PersonalMatch]:
    kinds = [kind for kind in KINDS if getattr(do, kind) != "keep"]
    found = find(text, language, kinds, do.countries or COUNTRIES)
    return [one._replace(mask="") if getattr(do, one.kind) == "cut" else one for one in found]


def _names(kind: str) -> str:
    return KINDS[kind] + ("es" if KINDS[kind].endswith("s") else "s")


def _said(kind: str, number: int) -> str:
    return f"{number} {KINDS[kind] if number == 1 else _names(kind)}"
