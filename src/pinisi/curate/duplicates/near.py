"""Makes MinHash signatures of texts, and says in which bands to look for near duplicates (Broder 1997; Leskovec, Rajaraman,
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


def keep(
    groups: np.ndarray, lengths: np.ndarray, keys: np.ndarray, ties: np.ndarray | None = None
) -> np.ndarray:
    """[N] bool: of each group the longest document; among equally long ones that of the smallest key.

    Equal texts have equal keys: among them the smallest of `ties` stays (a hash of the document's id, say), else the first.
    """
    last = np.arange(len(keys)) if ties is None else ties
    order = np.lexsort((last, keys, -np.asarray(lengths, np.int64), groups))
    ordered = np.asarray(groups)[order]
    mask = np.zeros(len(order), bool)
    mask[order[np.append(True, ordered[1:] != ordered[:-1])[: len(order)]]] = True
    return mask
