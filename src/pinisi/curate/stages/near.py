"""Compares a language's documents: near duplicates, and pages with one URL."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pinisi.base.files import new_folder
from pinisi.base.settings import byte_count
from pinisi.curate import records
from pinisi.curate.config import CurateConfig
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates import urls
from pinisi.curate.duplicates.settle import LIKE, SAME_URL, STAYS, Settled, Texts
from pinisi.curate.duplicates.together import find
from pinisi.curate.stages.files import (
    DROPS,
    NEAR,
    Arrays,
    arrays_of,
    documents_of_parts,
    names_of,
    signatures_of,
    write_stats,
)
from pinisi.curate.tools import Tools


class Dropped(NamedTuple):
    """Documents that go, in the order of their numbers; beside the numbers what `Settled` says of them."""

    rows: np.ndarray
    stays: np.ndarray
    reason: np.ndarray
    equal: np.ndarray


def compare(tools: Tools, parts: Sequence[Path], language: str, out: Path) -> None:
    """Of a language's documents, all at once: which stay, and whose duplicates the others are."""
    config, counts = tools.config, Counts(tools.config.run.seed)
    with new_folder(out) as folder, records.Writers(folder) as writers:
        arrays = arrays_of(parts, language)
        settled = _settled(config, parts, language, arrays)
        keep = settled.reason == STAYS
        np.save(folder / "keep.npy", keep)
        np.save(folder / "sizes.npy", np.where(keep, arrays.sizes, 0))
        gone = np.flatnonzero(~keep)
        dropped = Dropped(gone, *(each[gone] for each in settled))
        write_duplicates(writers, counts, parts, language, dropped, config.near.permutations)
        write_stats(folder, counts)


def texts_of(arrays: Arrays, urls: bool) -> Texts:
    """What decides of documents; without their URLs unless `urls`."""
    links = arrays.urls if urls else np.zeros_like(arrays.urls)
    return Texts(arrays.keys, arrays.lengths, arrays.ids, links)


def _settled(config: CurateConfig, parts: Sequence[Path], language: str, arrays: Arrays) -> Settled:
    if not config.near.on:
        return _by_url(arrays, config.urls)
    half = byte_count(config.run.budget) // 2
    signatures = signatures_of(parts, language, half)
    threshold = config.near.similarity
    return find(signatures, texts_of(arrays, config.urls), threshold=threshold, budget_bytes=half)


def _by_url(arrays: Arrays, on: bool) -> Settled:
    """Only one document of a URL stays."""
    stays = np.arange(len(arrays.keys))
    reason = np.zeros(len(stays), np.uint8)
    if on:
        longest = urls.keep_longest(arrays.urls, arrays.lengths, arrays.keys, arrays.ids)
        reason[~longest] = SAME_URL
        named = np.flatnonzero(longest & (arrays.urls != urls.NO_URL))
        order = named[np.argsort(arrays.urls[named])]
        where = np.searchsorted(arrays.urls[order], arrays.urls[~longest])
        stays[~longest] = order[where]
    return Settled(stays, reason, np.zeros(len(stays), np.uint16))


def write_duplicates(
    writers: records.Writers,
    counts: Counts,
    parts: Sequence[Path],
    language: str,
    dropped: Dropped,
    permutations: int,
) -> None:
    """A drop for each duplicate, with the document that stays and, of near ones, how much of the signatures is equal."""
    if not len(dropped.rows):
        return
    names = names_of(parts, language, np.unique(dropped.stays))
    first = int(dropped.rows[0])
    documents = documents_of_parts(parts, language, first, int(dropped.rows[-1]) + 1)
    at = 0
    for row, document in enumerate(documents, first):
        if row != dropped.rows[at]:
            continue
        name = names[int(dropped.stays[at])]
        if dropped.reason[at] == LIKE:
            rule, value = "near duplicate", int(dropped.equal[at]) / permutations
        else:
            rule, value = "same URL", len(document.text)
        shown = name.encode("utf-8", "replace").decode("utf-8")  # an id may hold half a surrogate pair
        counts.dropped(document, NEAR, rule, f"{round(value, 3)}, like {shown}")
        writers.write(DROPS, {**records.drop(document, NEAR, rule, value), "of": name})
        at += 1
