"""Near duplicates: MinHash signatures, bands, clusters that do not depend on order (Broder 1997; Leskovec, Rajaraman,
Ullman: "Mining of Massive Datasets", chapter 3; Sailor2, arXiv 2502.12982: 256 permutations, Jaccard .7).

`bands_for(0.7, 256)` gives 36 bands of 7 rows. A pair of Jaccard s becomes a candidate with 1 - (1 - s^7)^36 and passes
the test of its whole signatures with P(Binomial(256, s) >= 0.7 * 256):

    s                       .50    .60    .65    .70    .75    .80    .85    .90
    candidate              .246   .640   .836   .955   .994   1.00   1.00   1.00
    candidate and passed   .000   .000   .035   .465   .957   1.00   1.00   1.00
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

from pinisi.base.errors import DataError
from pinisi.curate.duplicates.hashes import BASE, mix, run_hashes
from pinisi.data.text.segmentation import FORMAT, blocks, codes, kinds, units

WORDS, CLUSTERS = 5, 10  # units in a shingle: words, or letters with their marks where a script has no spaces
NOTHING = np.uint32(0xFFFFFFFF)  # every number of the signature of a text without letters
NEIGHBOURS = 15  # members of a bucket that follow and are compared with one; a bucket up to this size is compared wholly
LEADERS = 8  # members of a larger bucket that all others are compared with
BYTES_PER_DOCUMENT = 96  # working memory of `clusters` beside its blocks
RECALL_WEIGHT = 0.9  # a missed pair is lost; a needless candidate costs one comparison


def unit_hashes(text: str, spaces: bool) -> np.ndarray:
    """One hash for each word, or for each cluster of a script without spaces."""
    characters = codes(unicodedata.normalize("NFC", text.casefold()))
    # A zero-width space or a soft hyphen more is no difference.
    characters = characters[(kinds()[characters] & FORMAT) == 0]
    found = units(characters, spaces)
    return run_hashes(characters, *found) if len(found.starts) else np.zeros(0, np.uint64)


def shingles(text: str, *, spaces: bool, width: int | None = None) -> np.ndarray:
    """Sorted distinct uint64 hashes of the text's runs of `width` units.

    Units are words where the script puts `spaces` between them (width 5), else letters with their combining marks, subscripts
    and vowels, so that no Khmer, Burmese, Thai or Lao cluster is torn (width 10). Case, punctuation, white space and invisible
    characters don't count; composed and decomposed letters are the same. A text of fewer units is one shingle; a text
    without letters or digits has none.
    """
    width = (WORDS if spaces else CLUSTERS) if width is None else width
    if width < 1:
        raise DataError(f"A shingle has 1 unit or more, not {width}.")
    units = np.concatenate([unit_hashes(block, spaces) for block in blocks(text)])
    if not len(units):
        return units
    count = max(1, len(units) - width + 1)
    total = np.zeros(count, np.uint64)
    for offset in range(min(width, len(units))):
        total = total * np.uint64(BASE) + units[offset : offset + count]
    return np.unique(mix(total))


@cache
def _permutations(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers (odd) and summands [count, 1] uint32, the same under every version of numpy."""
    start = mix(np.array([seed % (1 << 64)], np.uint64))
    drawn = (
        mix(start + np.arange(1, 2 * count + 1, dtype=np.uint64) * np.uint64(BASE)) >> np.uint64(32)
    ).astype(np.uint32)
    return (drawn[:count] | np.uint32(1))[:, None], drawn[count:, None]


def signature(shingles: np.ndarray, *, permutations: int = 256, seed: int = 0) -> np.ndarray:
    """[permutations] uint32: for each permutation x -> a x + b mod 2^32, a odd, the smallest image of a shingle.

    The shingles are hashes, uniform already, so each number of two signatures is equal with probability Jaccard; their share that
    is equal has a standard error of sqrt(s (1 - s) / permutations). No shingles: every number is `NOTHING`.
    """
    factors, summands = _permutations(permutations, seed)
    values = (shingles >> np.uint64(32)).astype(np.uint32)
    smallest = np.full(permutations, NOTHING, np.uint32)
    for start in range(0, len(values), 1024):  # [256, 1024] numbers stay in the second-level cache
        images = values[start : start + 1024] * factors
        images += summands
        np.minimum(smallest, images.min(axis=1), out=smallest)
    return smallest


def bands_for(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, rows), bands * rows <= permutations: least weighted area of missed pairs above `threshold` and of needless
    candidates below it, among those that find 99 % of the pairs of Jaccard threshold + .05."""
    if not 0 < threshold <= 1 or permutations < 1:
        raise DataError(
            f"A threshold lies in (0, 1] and there is at least one permutation; got {threshold} and {permutations}."
        )
    share = (np.arange(1000) + 0.5) / 1000
    wanted = share >= threshold
    found = []
    for rows in range(1, permutations + 1):
        bands = permutations // rows
        chance = 1 - (1 - share**rows) ** bands
        recall = 1 - (1 - min(1.0, threshold + 0.05) ** rows) ** bands
        area = RECALL_WEIGHT * (1 - chance)[wanted].sum() + (1 - RECALL_WEIGHT) * chance[~wanted].sum()
        found.append((recall < 0.99, area, bands, rows))
    return min(found)[2:]


def clusters(
    signatures: np.ndarray,
    keys: np.ndarray,
    *,
    threshold: float = 0.7,
    bands: int | None = None,
    rows: int | None = None,
    budget_bytes: int = 1 << 30,
) -> np.ndarray:
    """[N] int64: each document's cluster, named by its member of the smallest key: that key's rank among the distinct keys.

    signatures [N, P] uint32 (a memory map serves), keys [N] uint64, equal for equal texts. Nothing depends on the order of rows:
    all choices are by key. Documents with equal hashes of a band are compared by the share of equal numbers of their signatures
    (>= threshold); clusters are the connected components. A bucket of up to 16 documents is compared wholly; of a larger one each
    member with 8 leaders, the smallest keys that no earlier leader took, and with 15 neighbours in the order of two numbers of the
    next band, where near duplicates meet. One band is in memory at a time; the budget holds beside `signatures`.
    """
    count, permutations = signatures.shape
    if bands is None or rows is None:
        bands, rows = bands_for(threshold, permutations)
    if len(keys) != count or bands * rows > permutations:
        raise DataError(
            f"{count} signatures of {permutations} numbers need as many keys (got {len(keys)}) and at most {permutations} "
            f"numbers in bands (got {bands} bands of {rows} rows)."
        )
    free = budget_bytes - BYTES_PER_DOCUMENT * count
    if free < 0:
        raise DataError(
            f"Clusters of {count} documents take {BYTES_PER_DOCUMENT * count} bytes, but the budget is {budget_bytes}: "
            "raise it or split the documents."
        )
    distinct, first, rank = np.unique(np.asarray(keys, np.uint64), return_index=True, return_inverse=True)
    table = _Table(signatures, first, max(64, min(1 << 15, free // (12 * permutations))))
    solid = table.with_text()
    components = _Components(len(distinct))
    for band in range(bands):
        hashes = table.hashes(solid, band * rows, rows)
        small, large = _buckets(hashes, solid)
        _compare_neighbours(*small, table, components, threshold)
        if len(large[0]):
            _compare_leaders(*large, table, components, threshold)
            beyond = (band + 1) % bands * rows
            order = np.lexsort((table.hashes(large[0], beyond, min(2, rows)), large[1]))
            _compare_neighbours(large[0][order], large[1][order], table, components, threshold)
    return components.parent[rank.reshape(-1)]


class _Table:
    """Rows of signatures by their rank among the distinct keys, read a block at a time."""

    def __init__(self, signatures: np.ndarray, rows: np.ndarray, block: int):
        self.signatures, self.rows, self.block = signatures, rows, int(block)

    def with_text(self) -> np.ndarray:
        """Ranks of the documents that have any shingle: the others are alike in nothing."""
        found = []
        for start in range(0, len(self.rows), self.block):
            part = self.signatures[self.rows[start : start + self.block]]
            found.append(start + np.flatnonzero((part != NOTHING).any(axis=1)))
        return np.concatenate([np.zeros(0, np.int64), *found])

    def hashes(self, ranks: np.ndarray, column: int, columns: int) -> np.ndarray:
        """One uint64 for the numbers of a band, of each of `ranks`."""
        hashes = np.empty(len(ranks), np.uint64)
        step = self.block * 8
        for start in range(0, len(ranks), step):
            of = self.rows[ranks[start : start + step]]
            total = np.zeros(len(of), np.uint64)
            for number in range(column, column + columns):
                total = mix(total + np.uint64(BASE) + self.signatures[of, number])
            hashes[start : start + step] = total
        return hashes

    def alike(self, left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
        """Of each pair of ranks: whether the share of equal numbers is at least the threshold."""
        enough = threshold * self.signatures.shape[1] - 1e-9
        answers = np.empty(len(left), bool)
        for start in range(0, len(left), self.block):
            part = slice(start, start + self.block)
            equal = self.signatures[self.rows[left[part]]] == self.signatures[self.rows[right[part]]]
            answers[part] = np.count_nonzero(equal, axis=1) >= enough
        return answers


class _Components:
    """Connected components: parent[i] is the smallest member of i's component, after every call of `join`."""

    def __init__(self, count: int):
        self.parent = np.arange(count)

    def apart(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return self.parent[left] != self.parent[right]

    def join(self, left: np.ndarray, right: np.ndarray) -> None:
        while True:
            one, other = self.parent[left], self.parent[right]
            differ = one != other
            if not differ.any():
                return
            left, right, one, other = left[differ], right[differ], one[differ], other[differ]
            np.minimum.at(self.parent, np.maximum(one, other), np.minimum(one, other))
            while True:  # every root's new parent may have got one too
                above = self.parent[self.parent]
                if np.array_equal(above, self.parent):
                    break
                self.parent = above


Bucketed = tuple[np.ndarray, np.ndarray]  # ranks, the number of each rank's bucket


def _buckets(hashes: np.ndarray, ranks: np.ndarray) -> tuple[Bucketed, Bucketed]:
    """Those that share their hash with others, by bucket and rank: of small buckets, of large ones."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(order) else order
    sizes = np.diff(np.append(starts, len(order)))
    size, bucket = np.repeat(sizes, sizes), np.repeat(np.arange(len(sizes)), sizes)
    small, large = (size > 1) & (size <= NEIGHBOURS + 1), size > NEIGHBOURS + 1
    return (ranks[order[small]], bucket[small]), (ranks[order[large]], bucket[large])


def _compare_neighbours(
    ranks: np.ndarray, bucket: np.ndarray, table: _Table, components: _Components, threshold: float
) -> None:
    for distance in range(1, min(NEIGHBOURS + 1, len(ranks))):
        together = bucket[distance:] == bucket[:-distance]
        left, right = ranks[:-distance][together], ranks[distance:][together]
        if not len(left):
            return
        _join_alike(left, right, table, components, threshold)


def _join_alike(
    left: np.ndarray, right: np.ndarray, table: _Table, components: _Components, threshold: float
) -> None:
    """Joins the pairs that are alike; those already in one component need no comparison."""
    apart = components.apart(left, right)
    left, right = left[apart], right[apart]
    alike = table.alike(left, right, threshold)
    components.join(left[alike], right[alike])


def _compare_leaders(
    ranks: np.ndarray, bucket: np.ndarray, table: _Table, components: _Components, threshold: float
) -> None:
    for _ in range(LEADERS):
        if not len(ranks):
            return
        leads = np.append(True, bucket[1:] != bucket[:-1])
        leader = ranks[np.flatnonzero(leads)[np.cumsum(leads) - 1]]
        _join_alike(leader[~leads], ranks[~leads], table, components, threshold)
        left = components.apart(leader, ranks)
        ranks, bucket = ranks[left], bucket[left]


def keep(
    clusters: np.ndarray, lengths: np.ndarray, keys: np.ndarray, ties: np.ndarray | None = None
) -> np.ndarray:
    """[N] bool: of each cluster the longest document; among equally long ones that of the smallest key.

    Equal texts have equal keys: among them the smallest of `ties` stays (a hash of the document's id, say), else the first.
    """
    last = np.arange(len(keys)) if ties is None else ties
    order = np.lexsort((last, keys, -np.asarray(lengths, np.int64), clusters))
    ordered = np.asarray(clusters)[order]
    mask = np.zeros(len(order), bool)
    mask[order[np.append(True, ordered[1:] != ordered[:-1])[: len(order)]]] = True
    return mask
