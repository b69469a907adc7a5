"""Finds pairs of documents that may be near duplicates, and compares them.

Documents with equal numbers in a band of their signatures fall into one bucket. What a bucket says depends on its members alone, so
buckets can be worked on anywhere, in any order.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pinisi.curate.duplicates.hashes import BASE, mix
from pinisi.curate.duplicates.near import NOTHING
from pinisi.curate.duplicates.pieces import Pieces

WHOLE = 16  # members of a bucket up to which all pairs are candidates; 120 pairs
NEIGHBOURS = 15  # members of a larger bucket that follow one and are candidates with it
LEADERS = 8  # members of a larger bucket that all the others are compared with
BLOCK = 1 << 13  # pairs compared at a time: 2 x 8 MiB of 256 numbers
FILES = 1 << 15  # of signatures in many files, so that each is opened for several of them: 2 x 32 MiB

Equal = Callable[[np.ndarray, np.ndarray], np.ndarray]  # documents left, right -> how many numbers are equal
Next = Callable[[np.ndarray], np.ndarray]  # documents -> a hash of what follows the band
Found = tuple[np.ndarray, np.ndarray]  # documents, the number of each one's bucket, which ascends


class Pairs(NamedTuple):
    """Pairs that are alike: any document of a text stands for it."""

    left: np.ndarray  # [pairs] int64: numbers of documents
    right: np.ndarray
    equal: np.ndarray  # [pairs] uint16: equal numbers of their signatures


def least_equal(similarity: float, permutations: int) -> int:
    """How many numbers of two signatures are equal at least if their share is `similarity` or more."""
    return int(np.ceil(similarity * permutations - 1e-9))


def band_hashes(signatures: np.ndarray, first: int, columns: int) -> np.ndarray:
    """[N] uint64: a hash of `columns` numbers of each signature from `first` on."""
    total = np.zeros(len(signatures), np.uint64)
    for number in range(first, first + columns):
        total = mix(total + np.uint64(BASE) + signatures[:, number])
    return total


def has_text(signatures: np.ndarray) -> np.ndarray:
    """[N] bool: whether there was any shingle; documents without are alike in nothing."""
    return (signatures != NOTHING).any(axis=1)


def equal_numbers(signatures: Pieces, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[pairs] uint16: how many numbers of the signatures of `left` and `right` are equal."""
    counts = np.empty(len(left), np.uint16)
    block = BLOCK if signatures.pieces == 1 else FILES
    for start in range(0, len(left), block):
        part = slice(start, start + block)
        same = signatures.take(left[part]) == signatures.take(right[part])
        counts[part] = np.count_nonzero(same, axis=1)
    return counts


def compared(signatures: Pieces, left: np.ndarray, right: np.ndarray, least: int) -> Pairs:
    """Those pairs of which at least `least` numbers are equal."""
    counts = equal_numbers(signatures, left, right)
    alike = counts >= least
    return Pairs(left[alike], right[alike], counts[alike])


def after(signatures: Pieces, band: int, bands: int, rows: int) -> Next:
    """What hashes the first two numbers of the next band."""
    first = (band + 1) % bands * rows
    return lambda documents: band_hashes(signatures.take(documents), first, min(2, rows))


def together(found: Sequence[Pairs]) -> Pairs:
    """All pairs, each once."""
    pairs = Pairs(*(np.concatenate(each) for each in zip(*found, strict=True)))
    left, right = pairs.left, pairs.right
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    new = np.append(True, (left[1:] != left[:-1]) | (right[1:] != right[:-1]))[: len(left)]
    return Pairs(left[new], right[new], pairs.equal[order][new])


def buckets(hashes: np.ndarray, documents: np.ndarray) -> Found:
    """Those whose hash others share, by bucket and then in the order given."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    shares = (np.append(same, False) | np.append(False, same))[: len(order)]
    number = np.cumsum(np.append(True, ~same)[: len(order)])
    return documents[order[shares]], number[shares]


def candidates(documents: np.ndarray, bucket: np.ndarray, after: Next, equal: Equal, least: int) -> Found:
    """(left, right): pairs of one bucket that are to be compared, whose members come by bucket and priority.

    All pairs of a bucket of up to 16. In a larger one, up to 8 leaders, each the first that no earlier leader took, take those that
    are like them; those that none took are paired with 15 neighbours in the order of two numbers of the next band, where near
    duplicates meet. So a bucket gives no more than 23 pairs a member.
    """
    _, where, sizes = np.unique(bucket, return_inverse=True, return_counts=True)
    small = sizes[where] <= WHOLE
    found = [_within(documents[small], bucket[small], WHOLE - 1)]
    if not small.all():
        documents, bucket = documents[~small], bucket[~small]
        for _ in range(LEADERS):
            leads = np.append(True, bucket[1:] != bucket[:-1])[: len(bucket)]
            leader = documents[np.flatnonzero(leads)[np.cumsum(leads) - 1]]
            taken = np.zeros(len(documents), bool)
            taken[~leads] = equal(leader[~leads], documents[~leads]) >= least
            found.append((leader[taken], documents[taken]))
            documents, bucket = documents[~leads & ~taken], bucket[~leads & ~taken]
        order = np.lexsort((after(documents), bucket))
        found.append(_within(documents[order], bucket[order], NEIGHBOURS))
    left, right = (np.concatenate(each) for each in zip(*found, strict=True))
    return left, right


def _within(documents: np.ndarray, bucket: np.ndarray, distance: int) -> Found:
    """Pairs of a bucket that stand at most so far from one another."""
    left, right = [documents[:0]], [documents[:0]]
    for far in range(1, min(distance + 1, len(documents))):
        together = bucket[far:] == bucket[:-far]
        if not together.any():
            break
        left.append(documents[:-far][together])
        right.append(documents[far:][together])
    return np.concatenate(left), np.concatenate(right)


def distinct(left: np.ndarray, right: np.ndarray) -> Found:
    """Each pair once, the smaller number left, by left and right."""
    left, right = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    new = np.append(True, (left[1:] != left[:-1]) | (right[1:] != right[:-1]))[: len(left)]
    return left[new], right[new]
