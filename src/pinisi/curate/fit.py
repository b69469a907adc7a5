"""Finds which limits of the rules a language needs wider than others, from its own clean text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pinisi.curate.measures import Text
from pinisi.curate.packs import Pack, build_pack
from pinisi.curate.repair import repaired
from pinisi.curate.rules import loosened
from pinisi.data.documents import Document

MOST = 2000  # documents that limits are fitted to; more change nothing


def with_limits(language: str, documents: Sequence[Document], **more: Any) -> Pack:
    """Makes a pack whose limits the documents keep. `more`: as of `build_pack`."""
    mended = [Document(**{**vars(document), "text": repaired(document.text)[0]}) for document in documents]
    mended = [document for document in mended if document.text]
    pack = build_pack(language, mended, **more)
    step = max(1, -(-len(mended) // MOST))
    limits = loosened([Text(document.text, pack, 1.0) for document in mended[::step]])
    return replace(pack, limits=limits)
