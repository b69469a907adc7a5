"""Learns a character n-gram model of runs of letters: interpolated, pruned to a size, normalised.

The model: p(c | h) for a character c (or the boundary that ends a run) after the up to 4 before it in its
run, by interpolated absolute discounting (Ney, Essen and Kneser 1994; Chen and Goodman 1998, section 2.6):
    p_n(c|h) = max(C(hc) - D, 0)/C(h) + taken(h)/C(h) p_{n-1}(c|h'),  taken(h) = the sum of min(C(hc), D),
h' = h without its first, D from how many n-grams were seen once and twice. Below the unigrams stands a uniform
distribution over Unicode's letters. Kept n-grams have their p_n, others back(h) p_{n-1}(c|h'), where back(h)
makes the sum over c one whatever was pruned (Katz 1987). A whole run w has
    P(w) = C(w)/(N + T) [w kept] + rest P_char(w),
of N runs and T different ones (Witten and Bell 1991), which sums to one as well.

What is stored is linear: each log-probability is a sum over the n-grams of a run of
    weight(g) = log(p(g) / (back(h) p(g'))) [g's own correction] + log back(g) [g as the next one's context]
so a text's log-likelihood is the product of its n-gram counts and the weights, for any number of packs at
once. Weights are rounded down to 1/1024 nat, so that probabilities sum to at most one.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from pinisi.curate.packs.stream import BOUNDARY, distinct_runs, keys, run_hashes, windows

LETTERS = 150_000  # about as many letters and marks as Unicode has: an unknown one is one of them
UNIT = 1024  # weights are kept in whole 1/1024 nat
BUDGET = 40_000  # n-grams and runs kept in a pack: 6 bytes each
# A run seen c times counts as c to this power in the n-grams of characters, so that a few words of the training
# text's topic do not rule the spelling (Kneser and Ney 1995 count each once; held-out text of other sources
# preferred any power below 1 to 1, hardly one of them to another).
DAMPING = 0.7
NOTHING = 1e-9  # instead of a 0 that rounding made of what is left for other characters


@dataclass(frozen=True, eq=False)
class NGrams:
    """The arrays of a model. Keys rise; weights are in 1/UNIT nat."""

    keys: np.ndarray  # uint32 [n]: n-grams of all orders and whole runs
    weights: np.ndarray  # int16 [n]
    unknown: float  # weight, in nats, of a character that training never saw
    other_run: float  # weight, in nats, of a run that is not kept

    def __len__(self) -> int:
        return len(self.keys)


@dataclass
class _Order:
    """All n-grams of one order in training, one row each."""

    hashes: np.ndarray
    counts: np.ndarray
    context: np.ndarray  # row of its first n-1 characters in the order below
    lower: np.ndarray  # row of its last n-1 characters in the order below
    rows: np.ndarray  # row of the n-gram that ends at each place of the stream; -1 where none does
    full: np.ndarray  # p_n, interpolated from all of training
    model: np.ndarray  # the probability after pruning
    kept: np.ndarray
    back: np.ndarray  # log back(g); 0 where no kept n-gram has g as context


@dataclass
class _NgramRuns:
    """All runs in training, one row each."""

    hashes: np.ndarray
    counts: np.ndarray
    kept: np.ndarray  # as a whole


def train(line: np.ndarray, budget: int = BUDGET) -> NGrams:
    """The model of a stream (see stream.py) with at most `budget` n-grams and runs besides single characters.
    The same stream gives the same bytes."""
    line, counts = distinct_runs(line)
    runs = _NgramRuns(run_hashes(line)[1], counts, np.zeros(len(counts), bool))
    orders = _count(line, counts**DAMPING)
    _prune(orders, runs, _gains(runs, _run_logs(line, orders, "full")), budget)
    _back_off(orders)
    return _stored(orders, runs, _run_logs(line, orders, "model"))


def _count(line: np.ndarray, run_counts: np.ndarray) -> list[_Order]:
    """The n-grams of a stream of different runs, each of which counts as often as run_counts says."""
    orders: list[_Order] = []
    lengths = np.diff(np.flatnonzero(line == BOUNDARY))
    often = np.concatenate([[0.0], np.repeat(run_counts, lengths)])
    for places, hashes in windows(line):
        distinct, row = np.unique(hashes, return_inverse=True)
        counts = np.bincount(row, often[places])
        rows = np.full(len(line), -1, np.int32)
        rows[places] = row
        size = len(distinct)
        context, lower = np.zeros(size, np.int32), np.zeros(size, np.int32)
        if orders:
            context[row] = orders[-1].rows[places - 1]
            lower[row] = orders[-1].rows[places]
        else:
            rows[0] = rows[-1]  # the first boundary is a context only
        full = _interpolated(counts, context, orders[-1].full[lower] if orders else 1 / LETTERS)
        order = _Order(
            distinct, counts, context, lower, rows, full, full, np.ones(size, bool), np.zeros(size)
        )
        orders.append(order)
    return orders


def _interpolated(counts: np.ndarray, context: np.ndarray, lower: np.ndarray | float) -> np.ndarray:
    taken = np.minimum(counts, _discount(counts))
    total, rest = np.bincount(context, counts), np.bincount(context, taken)
    return (counts - taken + rest[context] * lower) / total[context]


def _discount(counts: np.ndarray) -> float:
    once, twice = int((counts < 1.5).sum()), int(((counts >= 1.5) & (counts < 2.5)).sum())
    return min(max(once / max(once + 2 * twice, 1), 0.1), 0.95)


def _run_logs(line: np.ndarray, orders: list[_Order], probability: str) -> np.ndarray:
    """log P_char of every run of the stream, in order. probability: "full" or "model"."""
    logs = np.zeros(len(line))
    for order in orders:
        valid = order.rows >= 0
        logs[valid] = np.log(getattr(order, probability))[order.rows[valid]]
    begins = np.flatnonzero(line == BOUNDARY)[:-1] + 1
    return np.add.reduceat(logs, begins) if len(begins) else np.zeros(0)


def _gains(runs: _NgramRuns, logs: np.ndarray) -> np.ndarray:
    """Nats that each run saves in training when it is kept as a whole; 0 for runs seen once."""
    share = runs.counts / (runs.counts.sum() + len(runs.counts))
    gains = runs.counts * (np.log(share) - logs)
    return np.where(runs.counts > 1, np.maximum(gains, 0), 0)


def _prune(orders: list[_Order], runs: _NgramRuns, run_gains: np.ndarray, budget: int) -> None:
    """Marks what is kept: what saves most nats in training, and the contexts of what is kept."""
    gains = [np.zeros(len(orders[0].counts))]
    for below, order in itertools.pairwise(orders):
        gains.append(order.counts * np.abs(np.log(order.full / below.full[order.lower])))
    for n in range(len(orders) - 1, 1, -1):
        np.maximum.at(gains[n - 1], orders[n].context, gains[n])
    every = np.concatenate([*gains[1:], run_gains])
    least = np.partition(every, -budget - 1)[-budget - 1] if len(every) > budget else 0
    for order, gain in zip(orders[1:], gains[1:], strict=True):
        order.kept = gain > least
    runs.kept = run_gains > least


def _back_off(orders: list[_Order]) -> None:
    for below, order in itertools.pairwise(orders):
        lower = below.model[order.lower]
        size, context = len(below.counts), order.context[order.kept]
        left = 1 - np.bincount(context, order.full[order.kept], size)
        left_below = 1 - np.bincount(context, lower[order.kept], size)
        below.back = np.log(np.maximum(left, NOTHING) / np.maximum(left_below, NOTHING))
        order.model = np.where(order.kept, order.full, np.exp(below.back)[order.context] * lower)


def _stored(orders: list[_Order], runs: _NgramRuns, run_logs: np.ndarray) -> NGrams:
    found, weights = [keys(orders[0].hashes)], [np.log(orders[0].full) + orders[0].back]
    for below, order in itertools.pairwise(orders):
        own = np.log(order.full) - np.log(below.model)[order.lower] - below.back[order.context]
        found.append(keys(order.hashes[order.kept]))
        weights.append((own + order.back)[order.kept])
    share = runs.counts / max(runs.counts.sum() + len(runs.counts), 1)
    rest = 1 - float(share[runs.kept].sum())
    found.append(keys(runs.hashes[runs.kept]))
    weights.append(np.logaddexp(np.log(share[runs.kept]) - run_logs[runs.kept], np.log(rest)))
    all_keys, first = np.unique(np.concatenate(found), return_index=True)
    units = np.clip(np.floor(np.concatenate(weights) * UNIT), -32768, 32767).astype(np.int16)
    discount, counts = _discount(orders[0].counts), orders[0].counts
    unknown = np.log(discount * len(counts) / max(counts.sum(), 1) / LETTERS)
    return NGrams(all_keys, units[first], float(unknown), float(np.log(rest)))
