"""Reads a part of the input: mend, identify, judge; signatures of what is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.curate import records
from pinisi.curate.config import MAKE_UP
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates import near, urls
from pinisi.curate.repair import repaired
from pinisi.curate.rules import excerpt
from pinisi.curate.stages.files import DROPS, ERRORS, READ, save, write_stats
from pinisi.curate.tools import Tools
from pinisi.data.documents import Document
from pinisi.data.reading import Part, Skipped, Unreadable, documents_of


def read_part(tools: Tools, part: Part, out: Path) -> None:
    """Read, mend, identify, judge; signatures of what is kept."""
    config, counts = tools.config, Counts(tools.config.run.seed)
    source = config.sources[part.source]
    kept: dict[str, list[tuple]] = {}
    with new_folder(out) as folder, records.Writers(folder) as writers:

        def trouble(error: Unreadable) -> None:
            if isinstance(error, Skipped):
                if config.run.on_error == "skip":  # a run that stops at errors goes by their count
                    counts.unreadable(error.group)
            elif config.run.on_error == "stop":
                raise DataError(f"{error}; run.on_error = 'skip' goes on with the rest")
            else:
                counts.unreadable(str(error))
            writers.write(ERRORS, {"error": str(error)})

        for document in documents_of(part, source, trouble):
            document, drop = _read_document(tools, document, counts)
            if drop is not None:
                counts.dropped(document, READ, drop[0], drop[1])
                writers.write(DROPS, records.drop(document, READ, *drop))
                continue
            writers.write(document.language, vars(document))
            kept.setdefault(document.language, []).append(_row(tools, document))
        for language, rows in kept.items():
            save(folder / f"{language}.npz", rows)
        write_stats(folder, counts)


def _read_document(tools: Tools, document: Document, counts: Counts) -> tuple[Document, tuple | None]:
    """The mended document and, if it is dropped, (rule, value, limit)."""
    config = tools.config
    if len(document.text) > config.repair.longest:
        if document.language == MAKE_UP:
            document = replace(document, language="unknown")
        counts.taken(document, ())
        return document, ("length", len(document.text), config.repair.longest)
    text, mended = repaired(document.text, markup=config.repair.markup)
    if mended:
        lineage = [*document.metadata.get("lineage", []), "mended: " + ", ".join(mended)]
        document = replace(document, text=text, metadata={**document.metadata, "lineage": lineage})
    found = tools.packs.identify(excerpt(text))
    probabilities, best = dict(found), found[0][0] if found else "none"
    declared = document.language
    if declared == MAKE_UP:
        document = replace(document, language=best if found else "unknown")
    elif declared not in tools.packs:
        raise DataError(
            f"{document.metadata['input']}: language '{declared}' has no pack; make one with `pinisi langpack {declared} --from "
            f"TEXT` and name its folder under packs, or give the source another language"
        )
    counts.taken(document, mended)
    counts.found(document.language, best)
    if not text:
        return document, ("empty", 0, 1)
    if document.language == "unknown":
        return document, ("language", 0.0, None)
    if document.language not in tools.wanted:
        return document, ("not wanted", best, None)
    return document, tools.judged(document, probabilities)


def _row(tools: Tools, document: Document) -> tuple:
    config = tools.config
    if config.near.on:
        grams = near.shingles(document.text, spaces=tools.spaces(document.language))
        signature = near.signature(grams, permutations=config.near.permutations, seed=config.run.seed)
    else:
        signature = np.zeros(0, dtype=np.uint32)
    size = len(document.text.encode("utf-8", "surrogatepass"))
    # Only the web has one page behind one address; a package's file ("apt:...") is cut into many documents.
    web = document.url.lower().startswith(("http://", "https://"))
    url = urls.url_hash(document.url) if web else urls.NO_URL
    return text_key(document.text), text_key(document.id), url, len(document.text), size, signature
