"""Plans the tasks that compare each language: one for most, many for one whose documents don't fit into memory together."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from pinisi.base.settings import byte_count
from pinisi.curate.config import CurateConfig
from pinisi.curate.duplicates.near import bands_for
from pinisi.curate.duplicates.together import BYTES_PER_DOCUMENT
from pinisi.curate.stages import task_of
from pinisi.curate.stages.files import (
    BANDS,
    BUCKETS,
    MARK,
    MERGE,
    NEAR,
    PAIRS,
    SETTLE,
    TELL,
    with_language,
)
from pinisi.curate.stages.partitioned import BINS, Stretches
from pinisi.recipe import RecipeTask

ORDER = NEAR, BANDS, BUCKETS, PAIRS, MERGE, SETTLE, MARK, TELL
SCRATCH = BANDS, BUCKETS, PAIRS, MERGE, SETTLE  # nobody needs them once a language is compared
# Bytes of memory that a task takes for each of its ...
ROW = 128  # documents in a stretch, beside their hashes
HASH = 64  # hashes in a range of a band
PAIR = 64  # pairs in a range
SETTLED = 512  # documents in components that are settled together, with their pairs
TOLD = 256  # documents in a stretch that is told of, and the names of those that stay


def compare_tasks(
    config: CurateConfig, parts: Sequence[Path], language: str, at: Mapping[str, Path]
) -> Iterator[list[RecipeTask]]:
    """The tasks of each stage of `ORDER`; to be asked for a stage's when those before are done.

    All that is written but the marks and what is told lies in folders named by how the work is cut, so that another budget finds
    nothing of it.
    """
    counts, out = with_language(parts, language), at[NEAR] / language
    parts, half, count = list(counts), byte_count(config.run.budget) // 2, sum(counts.values())
    if not config.near.on or count * BYTES_PER_DOCUMENT <= half:
        yield [task_of(NEAR, parts, language, out)]
        yield from ([] for _ in ORDER[1:])
        return
    yield []
    told = {cut: at[TELL] / _name(language, *cut) for cut in cuts(count, half, TOLD)}
    settled: list[Path] = []
    if all(folder.exists() for folder in (out, *told.values())):  # what they were made from may be gone
        yield from ([] for _ in SCRATCH)
    else:
        settled = yield from _Partitioned(config, parts, language, at, count).tasks()
    yield [task_of(MARK, parts, language, settled, out)]
    yield [task_of(TELL, parts, language, settled, cut, folder) for cut, folder in told.items()]


def cuts(count: int, budget: int, bytes_each: int) -> list[tuple[int, int]]:
    """First and last + 1 of stretches of as many documents each as fit into the budget."""
    number = min(count, -(-count * bytes_each // max(1, budget)))
    bounds = [count * n // number for n in range(number + 1)]
    return list(pairwise(bounds))


def _name(language: str, *numbers: int) -> str:
    return "-".join([language, *(f"{number:05d}" for number in numbers)])


class _Partitioned:
    """The tasks of one language."""

    def __init__(
        self, config: CurateConfig, parts: list[Path], language: str, at: Mapping[str, Path], count: int
    ) -> None:
        self.parts, self.language, self.at, self.count = parts, language, at, count
        self.half = byte_count(config.run.budget) // 2
        self.bands, _ = bands_for(config.near.similarity, config.near.permutations)
        self.ranges = -(-count * HASH // self.half)

    def tasks(self) -> Generator[list[RecipeTask], None, list[Path]]:
        """Yields the tasks of each stage of `SCRATCH`; returns the folders of the last."""
        bands = self._bands()
        yield bands
        starts = [task.arguments[2][0] for task in bands] + [self.count]
        stretches = Stretches([task.folder for task in bands], starts)
        yield (buckets := self._buckets(stretches))
        yield (pairs := self._pairs([task.folder for task in buckets]))
        alike = [task.folder for task in pairs]
        merged = self._folder(MERGE, self.half)
        yield [task_of(MERGE, stretches, alike, self.ranges, merged)]
        yield (settle := self._settle(stretches, merged, alike))
        return [task.folder for task in settle]

    def _folder(self, stage: str, *numbers: int) -> Path:
        return self.at[stage] / _name(self.language, *numbers)

    def _bands(self) -> list[RecipeTask]:
        return [
            task_of(BANDS, self.parts, self.language, cut, self._folder(BANDS, *cut))
            for cut in cuts(self.count, self.half, 8 * self.bands + ROW)
        ]

    def _buckets(self, stretches: Stretches) -> list[RecipeTask]:
        return [
            task_of(
                BUCKETS,
                self.parts,
                self.language,
                stretches,
                band,
                (number, self.ranges),
                self._folder(BUCKETS, band, number, self.ranges),
            )
            for band in range(self.bands)
            for number in range(self.ranges)
        ]

    def _pairs(self, found: list[Path]) -> list[RecipeTask]:
        """Ranges of left documents of about as many pairs each, by a sample of them."""
        pairs = [np.load(path / "pairs.npy", mmap_mode="r", allow_pickle=False)[0] for path in found]
        total = sum(map(len, pairs))
        number = max(1, -(-total * PAIR // self.half))
        sample = np.sort(np.concatenate([left[:: max(1, total // (64 * number))] for left in pairs]))
        inner = sample[np.arange(1, number) * len(sample) // number]
        bounds = np.unique(np.concatenate(([0], inner, [self.count]))).tolist()
        return [
            task_of(PAIRS, self.parts, self.language, found, cut, self._folder(PAIRS, *cut))
            for cut in pairwise(bounds)
        ]

    def _settle(self, stretches: Stretches, merged: Path, alike: list[Path]) -> list[RecipeTask]:
        """Ranges of components of about as many documents each; a component is never cut."""
        until = np.cumsum(np.load(merged / "sizes.npy"))
        number = max(1, -(-int(until[-1]) * SETTLED // self.half))
        last = np.searchsorted(until, until[-1] * np.arange(1, number) // number) + 1
        inner = -(-last * self.count // BINS)  # the first document of a bin
        bounds = np.unique(np.concatenate(([0], inner, [self.count]))).tolist()
        return [
            task_of(
                SETTLE,
                self.parts,
                self.language,
                stretches,
                merged,
                alike,
                cut,
                self._folder(SETTLE, *cut),
            )
            for cut in pairwise(bounds)
        ]
