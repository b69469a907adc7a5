"""Limits of the rules for a language, from its own clean text."""

from collections.abc import Sequence
from typing import Any

from pinisi.curate.packs import Pack, build_pack
from pinisi.curate.packs.build import LEAST
from pinisi.curate.repair import repaired
from pinisi.curate.rules import Text, fitted
from pinisi.data.documents import Document

MOST = 2000  # documents that limits are fitted to; more change nothing
FEWEST = 4  # documents to learn a model from and to judge with it


def with_limits(language: str, documents: Sequence[Document], **more: Any) -> Pack:
    """A pack whose limits the documents keep. Each half is judged by the language model of the other half: a model finds what
    it has learned from less surprising than anything else in the language. `more`: as of `build_pack`."""
    mended = [Document(**{**vars(document), "text": repaired(document.text)[0]}) for document in documents]
    mended = [document for document in mended if document.text]
    halves = mended[::2], mended[1::2]
    texts: list[Text] = []
    for own, other in (halves, halves[::-1]):
        if len(other) >= FEWEST and sum(len(document.text) for document in other) >= LEAST:
            pack = build_pack(language, other)
            step = max(1, -(-2 * len(own) // MOST))
            texts += [Text(document.text, pack, 1.0) for document in own[::step]]
    return build_pack(language, mended, limits=fitted(texts), **more)
