"""Finishes a stretch of a language: cuts repeated passages and frequent lines, and judges again what has changed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.base.files import new_folder
from pinisi.base.settings import byte_count
from pinisi.curate import records
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates import exact, lines
from pinisi.curate.duplicates.spans import cut
from pinisi.curate.scores import Cuts
from pinisi.curate.stages.files import DROPS, FINISH, documents_of_parts, write_stats
from pinisi.curate.stages.score import read_cuts
from pinisi.curate.tools import Tools
from pinisi.data.documents import Document

EXACT_SHARE = 28  # bytes of memory that comparing a byte of text takes, all in all
STUMP = 0.2  # of a text: less is what stood around copies,
STUMP_CHARACTERS = 500  # unless it is a text of its own


def buckets(tools: Tools, compared: Path) -> list[tuple[int, int]]:
    """First and last + 1 document of the stretches whose text can be compared within the budget."""
    sizes = np.load(compared / "sizes.npy")
    most = max(1, byte_count(tools.config.run.budget) // EXACT_SHARE)
    bounds, held = [0], 0
    for at, size in enumerate(sizes.tolist()):
        if held and held + size > most:
            bounds.append(at)
            held = 0
        held += size
    return list(zip(bounds, [*bounds[1:], len(sizes)], strict=True))


def finish_bucket(
    tools: Tools,
    parts: Sequence[Path],
    language: str,
    scored: Path,
    compared: Path,
    bucket: tuple[int, int],
    out: Path,
) -> None:
    """Drops outliers, cuts what is repeated, takes out frequent lines, judges again what has changed."""
    counts = Counts(tools.config.run.seed)
    keep = np.load(compared / "keep.npy")
    documents = [
        document
        for at, document in enumerate(documents_of_parts(parts, language, *bucket), bucket[0])
        if keep[at]
    ]
    with new_folder(out) as folder, records.Writers(folder) as writers:
        documents = list(_without_outliers(read_cuts(scored), documents, counts, writers))
        texts = [document.text for document in documents]
        texts, notes = _without_repeats(tools, documents, texts, counts)
        texts = _without_frequent_lines(tools, documents, texts, notes, counts)
        for document, text, said in zip(documents, texts, notes, strict=True):
            if said:
                stump = _stump(text, len(document.text))
                lineage = [*document.metadata.get("lineage", []), *said]
                document = replace(document, text=text, metadata={**document.metadata, "lineage": lineage})
                found = stump or tools.judged(tools.text(document))
                if found is not None:
                    counts.dropped(document, FINISH, found[0], found[1])
                    writers.write(DROPS, records.drop(document, FINISH, *found))
                    continue
            counts.kept(document)
            writers.write("documents", vars(document))
        write_stats(folder, counts)


def _stump(text: str, before: int) -> tuple[str, float, float] | None:
    """Returns (rule, value, limit) if so little is left of a text of `before` characters that it is no document any more."""
    if not text:
        return "empty", 0, 1
    share = len(text) / before
    return ("stump", round(share, 4), STUMP) if share < STUMP and len(text) < STUMP_CHARACTERS else None


def _without_outliers(
    cuts: Cuts, documents: Sequence[Document], counts: Counts, writers: records.Writers
) -> Iterator[Document]:
    """The documents that are no outliers in their source, each with its bucket."""
    for document in documents:
        bits, limit = document.metadata["bits"], cuts.limit(document.source)
        if limit is not None and bits > limit:
            counts.dropped(document, FINISH, "outlier", bits)
            writers.write(DROPS, records.drop(document, FINISH, "outlier", bits, limit))
            continue
        yield replace(document, metadata={**document.metadata, "bucket": cuts.bucket(bits)})


def _without_repeats(
    tools: Tools, documents: Sequence[Document], texts: list[str], counts: Counts
) -> tuple[list[str], list[list[str]]]:
    config, notes = tools.config, [[] for _ in texts]  # type: ignore[var-annotated]
    if not config.exact.on or not texts:
        return texts, notes
    keys = np.array([text_key(text) for text in texts], dtype=np.uint64)
    found = exact.repeated(
        texts, keys, least=config.exact.characters, budget_bytes=byte_count(config.run.budget)
    )
    result = []
    for document, text, spans, said in zip(documents, texts, found, notes, strict=True):
        if spans:
            size = sum(stop - start for start, stop in spans)
            counts.removed(document, "repeated passages", size, text[slice(*spans[0])])
            said.append(f"cut: {len(spans)} repeated passages, {size} characters")
            text = cut(text, spans)
        result.append(text)
    return result, notes


def _without_frequent_lines(
    tools: Tools, documents: Sequence[Document], texts: list[str], notes: list[list[str]], counts: Counts
) -> list[str]:
    if not tools.config.lines.on or not texts:
        return texts
    config = tools.config.lines
    seen = lines.merge(lines.count(lines.passages(text, config.letters).hashes) for text in texts)
    frequent = lines.frequent(seen, lines.most_documents(len(texts), config.most, config.share))
    result = []
    for document, text, said in zip(documents, texts, notes, strict=True):
        text, gone = lines.without(text, frequent, config.letters)
        if gone:
            size = sum(map(len, gone))
            counts.removed(document, "frequent lines", size, gone[0])
            said.append(f"cut: {len(gone)} frequent lines, {size} characters")
        result.append(text)
    return result
