"""Compares a language's documents: near duplicates, and pages with one URL."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.base.settings import byte_count
from pinisi.curate import records
from pinisi.curate.config import CurateConfig
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates import near, urls
from pinisi.curate.stages.files import DROPS, NEAR, Arrays, arrays_of, documents_of_parts, write_stats
from pinisi.curate.tools import Tools


def compare(tools: Tools, parts: Sequence[Path], language: str, out: Path) -> None:
    """Of a language's documents: which stay, and whose duplicates the others are."""
    config, counts = tools.config, Counts(tools.config.run.seed)
    half = byte_count(config.run.budget) // 2
    with new_folder(out) as folder, records.Writers(folder) as writers:
        spill = folder / "signatures.npy"
        of = arrays_of(parts, language, config.near.permutations if config.near.on else 0, spill, half)
        if config.near.on and near.BYTES_PER_DOCUMENT * len(of.keys) > half:
            raise DataError(
                f"run.budget = '{config.run.budget}' is too small to compare the {len(of.keys):,} documents in {language}: give "
                f"{-(-2 * near.BYTES_PER_DOCUMENT * len(of.keys) // 2**20)} MiB or more"
            )
        keep, like, reason = _duplicates(config, of, half)
        np.save(folder / "keep.npy", keep)
        np.save(folder / "sizes.npy", np.where(keep, of.sizes, 0))
        _write_duplicates(writers, counts, parts, language, of, like, reason)
        spill.unlink(missing_ok=True)
        write_stats(folder, counts)


def _duplicates(config: CurateConfig, of: Arrays, budget: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[N] each: which stay; of which document each is a duplicate; why (1 near, 2 by URL, 0 it stays)."""
    number = len(of.keys)
    keep, like = np.ones(number, dtype=bool), np.arange(number)
    reason = np.zeros(number, dtype=np.uint8)
    if config.near.on:
        bands, rows = near.bands_for(config.near.similarity, config.near.permutations)
        groups = near.clusters(
            of.signatures,
            of.keys,
            threshold=config.near.similarity,
            bands=bands,
            rows=rows,
            budget_bytes=budget,
        )
        keep = near.keep(groups, of.lengths, of.keys, of.ids)
        stays = np.full(number, -1)
        stays[groups[keep]] = np.flatnonzero(keep)
        like, reason = stays[groups], np.where(keep, 0, 1).astype(np.uint8)
    if config.urls:
        left = np.flatnonzero(keep)
        longest = urls.keep_longest(of.urls[left], of.lengths[left], of.keys[left], of.ids[left])
        first = {int(of.urls[i]): int(i) for i in left[longest]}
        for i in left[~longest]:
            keep[i], reason[i], like[i] = False, 2, first[int(of.urls[i])]
    return keep, like, reason


def _write_duplicates(
    writers: records.Writers,
    counts: Counts,
    parts: Sequence[Path],
    language: str,
    of: Arrays,
    like: np.ndarray,
    reason: np.ndarray,
) -> None:
    """A drop for each duplicate, with the document that stays (behind a near one's may be another with its URL) and, of near ones,
    how much of the signatures is equal."""
    stays = like[like]
    wanted = set(stays[reason > 0].tolist())
    names: dict[int, str] = {}
    for at, document in enumerate(documents_of_parts(parts, language)):
        if at in wanted:
            names[at] = document.id
    for at, document in enumerate(documents_of_parts(parts, language)):
        if not reason[at]:
            continue
        if reason[at] == 1:
            same = float((of.signatures[at] == of.signatures[like[at]]).mean())
            rule, value = "near duplicate", same
        else:
            rule, value = "same URL", int(of.lengths[at])
        counts.dropped(document, NEAR, rule, f"{round(value, 3)}, like {names[int(stays[at])]}")
        writers.write(DROPS, {**records.drop(document, NEAR, rule, value), "of": names[int(stays[at])]})
