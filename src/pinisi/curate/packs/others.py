"""Codes what stands between runs of letters (spaces, digits, signs) character by character."""

from dataclasses import dataclass

import numpy as np

from pinisi.data.text.scripts import DIGIT, LETTER

CODE_POINTS = 0x110000
KEPT = 200  # different characters kept in a pack
SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], np.uint32)


@dataclass(frozen=True, eq=False)
class Others:
    """p of each other character, white space being one and digits being one, and of the end of their run.

    codes: uint32 [n], rising. logs: natural logarithms, float64 [n + 2]: of codes, of the end, of any other
    single character.
    """

    codes: np.ndarray
    logs: np.ndarray

    def log_likelihood(self, codes: np.ndarray, kinds: np.ndarray) -> float:
        """Natural logarithm of the probability of a text's characters that are no letters. kinds: classes."""
        found, counts, runs = _tally(codes, kinds)
        rows = np.searchsorted(self.codes, found)
        known = self.codes[np.minimum(rows, len(self.codes) - 1)] == found if len(self.codes) else rows < 0
        logs = np.where(known, self.logs[np.where(known, rows, -1)], self.logs[-1])
        return float(counts @ logs + runs * self.logs[-2])


def learn(codes: np.ndarray, kinds: np.ndarray) -> Others:
    """Witten-Bell estimates from a text's code points and their classes."""
    found, counts, runs = _tally(codes, kinds)
    kept = np.sort(np.argsort(-counts, kind="stable")[:KEPT])
    total, types = counts.sum() + runs, len(found) + 1
    seen = np.append(counts[kept], runs) + (runs == 0) * 1e-3
    left = max(types + counts.sum() - counts[kept].sum(), 1)
    probabilities = np.append(seen, left / CODE_POINTS) / (total + types + (runs == 0))
    return Others(found[kept].astype(np.uint32), np.log(probabilities))


def _tally(codes: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """(different other characters, how often each, number of their runs)."""
    other = kinds != LETTER
    same = codes.copy()
    same[kinds == DIGIT] = ord("0")
    same = same[other]
    same[np.isin(same, SPACES)] = ord(" ")
    found, counts = np.unique(same, return_counts=True)
    runs = int((other & ~np.concatenate([[False], other[:-1]])).sum()) if len(other) else 0
    return found, counts, runs
