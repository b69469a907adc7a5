"""Tokenizes one part of the text into a folder of its own: the task that `tokenize` runs many of."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.data.documents import Document
from pinisi.data.inputs import documents_in
from pinisi.data.roundtrip import describe
from pinisi.data.shard_writer import Encoder, ShardWriters
from pinisi.data.text_parts import TextPart
from pinisi.data.tokenizer import load_tokenizer

COUNTS = "counts.json"  # in a part's folder: what it holds


class HeldOut(NamedTuple):
    """Parts documents in two by a hash of their text, so that equal texts are on one side.

    share: of those held out. wanted: whether they or the others are tokenized.
    """

    share: float
    wanted: bool

    def takes(self, document: Document) -> bool:
        return (digests.of_text(document.text) < self.share * 2**64) == self.wanted


class TokenizeSettings(NamedTuple):
    """Says what each part is tokenized with."""

    tokenizer: str
    end: int
    rows: int | None
    bos: int | None
    strict: bool
    held_out: HeldOut | None


class TokenizeTools:
    """Holds a process' tokenizer."""

    def __init__(self, settings: TokenizeSettings) -> None:
        self.settings = settings
        self.encoder = Encoder(load_tokenizer(settings.tokenizer), settings.end, settings.rows, settings.bos)


def tokenize_part(tools: TokenizeTools, part: TextPart, folder: Path) -> None:
    """Writes a part's documents, a file of each kind for each language, and counts.json with what they hold and their digests.

    Raises DataError for text that can't be read, and, where that is asked for, for a document that does not decode back.
    """
    with new_folder(folder) as partial:
        writers = ShardWriters(partial, tools.encoder)
        texts: Counter[str] = Counter()  # documents with text by file, also those of the other side
        held_out = tools.settings.held_out
        for each in part.inputs:
            texts[each.path] += 0
            for document in documents_in(each):
                texts[each.path] += bool(document.text.strip())
                if held_out is None or held_out.takes(document):
                    writers.add(document)
            writers.flush()
            if tools.settings.strict:
                tell_altered(writers.counts(), strict=True)
        counts = {"languages": writers.close(), "dropped": dict(writers.dropped), "texts": dict(texts)}
        counts["files"] = {path.name: digests.of_file(path) for path in sorted(partial.iterdir())}
        (partial / COUNTS).write_text(json.dumps(counts), "utf-8")


def tell_altered(languages: dict[str, dict[str, Any]], strict: bool) -> list[str]:
    """Returns a line for each language with documents that do not decode back. Raises DataError if that must not be."""
    lines = []
    for language, counts in languages.items():
        if altered := counts["altered"]:
            number = sum(found["documents"] for found in altered.values())
            line = (
                f"{language}: {number} of {counts['documents']} documents do not decode back to their text: "
            )
            if strict:
                raise DataError(line + describe(altered) + "; clean the text first, or leave strict out")
            lines.append(line + describe(altered))
    return lines
