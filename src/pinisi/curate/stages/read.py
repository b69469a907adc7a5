"""Reads a part of the input: mend, identify, mask personal data, judge; signatures of what is kept."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.base.files import new_folder
from pinisi.curate import records
from pinisi.curate.alarm import NO_LANGUAGE
from pinisi.curate.config import MAKE_UP, CurateConfig
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates import near, urls
from pinisi.curate.measures import excerpt
from pinisi.curate.packs import zawgyi
from pinisi.curate.personal.documents import shown_safely, without_personal_data
from pinisi.curate.repair import repaired
from pinisi.curate.scores import Bits
from pinisi.curate.stages.files import DROPS, ERRORS, READ, ComparedRow, save, write_stats
from pinisi.curate.stages.score import write_bits
from pinisi.curate.tools import Tools
from pinisi.data.documents import Document
from pinisi.data.reading import Part, Unreadable, documents_of


def read_part(tools: Tools, part: Part, out: Path) -> None:
    """Read, mend, identify, mask personal data, judge; signatures of what is kept."""
    config, counts = tools.config, Counts(tools.config.run.seed)
    source = config.sources[part.source]
    kept: dict[str, list[ComparedRow]] = {}
    bits: dict[str, Bits] = defaultdict(Bits)
    with new_folder(out) as folder, records.Writers(folder) as writers:

        def trouble(error: Unreadable) -> None:
            counts.trouble(error, config.run.on_error)
            writers.write(ERRORS, {"error": str(error)})

        for document in documents_of(part, source, trouble):
            document, drop = _read_document(tools, document, counts)
            if drop is not None:
                counts.dropped(document, READ, drop[0], drop[1])
                writers.write(DROPS, records.drop(document, READ, *drop))
                continue
            bits[document.language].add(document.source, document.metadata["bits"])
            writers.write(document.language, vars(document))
            kept.setdefault(document.language, []).append(_row(tools, document))
        for language, rows in kept.items():
            save(folder, language, rows)
            write_bits(folder, language, bits[language])
        write_stats(folder, counts)


def tried(tools: Tools, part: Part) -> Iterator[tuple[Document, bool]]:
    """The documents of a part, each as it would be kept, and whether it would be; nothing is written. For estimates."""
    counts = Counts(tools.config.run.seed)
    for document in documents_of(part, tools.config.sources[part.source], lambda error: None):
        document, drop = _read_document(tools, document, counts)
        if drop is None:
            _row(tools, document)
        yield document, drop is None


def _read_document(tools: Tools, document: Document, counts: Counts) -> tuple[Document, tuple | None]:
    """The mended document, its bits noted, and, if it is dropped, (rule, value, limit)."""
    config = tools.config
    if len(document.text) > config.repair.longest:
        document = replace(document, language=_known(tools, document.language))
        document = replace(document, text=shown_safely(document.text, document.language, config.personal))
        counts.taken(document, ())
        return document, ("length", len(document.text), config.repair.longest)
    document, mended = _mended(config, document)
    evidence = tools.packs.weigh(excerpt(document.text))
    found, declared = evidence.identify(), document.language
    best = found[0][0] if found else NO_LANGUAGE
    document = replace(document, language=best if declared == MAKE_UP else _known(tools, declared))
    counts.taken(document, mended)
    counts.found(document.language, best)
    document, numbers, unwanted = without_personal_data(document, config.personal)
    if not document.text:
        return document, ("empty", 0, 1)
    if document.language == NO_LANGUAGE:
        return document, ("language", 0.0, None) if declared == MAKE_UP else ("no pack", declared, None)
    if document.language not in tools.wanted:
        return document, ("not wanted", best, None)
    for kind, number in numbers.items():
        counts.personal(document, kind, number)
    if unwanted:
        return document, ("personal data", unwanted, None)
    if zawgyi.is_zawgyi(document.text):
        return document, ("zawgyi", zawgyi.share(document.text), zawgyi.LIMIT)
    text = tools.text(document, tools.fits(document.text, document.language, evidence))
    if text.flagged:
        counts.flagged(document, text.flagged_words, len(text.words))
    drop = tools.judged(text)
    if drop is None:
        document = replace(document, metadata={**document.metadata, "bits": round(text.bits, 3)})
    return document, drop


def _known(tools: Tools, language: str) -> str:
    """The language, if there is a pack for it: any other name may be anything at all, and is kept with the drop alone."""
    return language if language in tools.packs else NO_LANGUAGE


def _mended(config: CurateConfig, document: Document) -> tuple[Document, list[str]]:
    text, mended = repaired(document.text, config.repair.steps)
    if mended:
        lineage = [*document.metadata.get("lineage", []), "mended: " + ", ".join(mended)]
        document = replace(document, text=text, metadata={**document.metadata, "lineage": lineage})
    return document, mended


def _row(tools: Tools, document: Document) -> ComparedRow:
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
    key, id = text_key(document.text), text_key(document.id)
    return ComparedRow(key, id, url, len(document.text), size, document.id, signature)
