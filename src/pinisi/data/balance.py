"""Shares packed rows out over microbatches and replicas, so that attention's work is as even as it can be.

All rows of a step have the same number of tokens, so the work that is linear in tokens is even already. What
differs is attention inside documents: its work grows with the square of each document's length in the row.

Per layer and forward pass of a GPT block a token's linear work is 24 h² FLOPs (8 h² for attention's four
matrices, 16 h² for the MLP's two), and a document of l tokens has l² / 2 pairs under the causal mask, each of
4 h FLOPs (2 h for its score, 2 h for its value): 2 h l². Backward is twice that in both parts. In units of one
token's linear work a row costs Σ l + Σ l² / (12 h). Within a step Σ l is the same for all rows, so the best
assignment is that of Σ l² alone: it needs no coefficient and is the same for every model.
This is so where the attention kernel leaves out what the mask leaves out (kernels for documents of different
lengths, block-sparse ones); one that computes whole rows spends s² whatever the documents are.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

LINEAR_PER_HIDDEN = 12  # linear FLOPs of a token / FLOPs of a pair of tokens that attend, over h: 24 h² / 2 h
EXCHANGES = 200  # at most so many exchanges of two rows after the greedy assignment


def row_cost(lengths: Sequence[int], hidden: int) -> float:
    """A row's work in units of one token's linear work, from the lengths of its pieces of documents."""
    return sum(lengths) + sum(length**2 for length in lengths) / (LINEAR_PER_HIDDEN * hidden)


def assign(costs: Sequence[int], microbatches: int, batch: int, replicas: int) -> list[list[list[int]]]:
    """Which rows make each replica's microbatches: [replicas][microbatches][batch] indices into `costs`.

    costs: of microbatches * batch * replicas rows. First rows go to microbatches so that the costliest
    microbatch costs least (it is what a pipeline waits for), then microbatches to replicas so that the
    costliest replica costs least. A replica's costliest microbatch comes first. The same costs give the same
    assignment on every rank.
    """
    assert len(costs) == microbatches * batch * replicas
    groups = [sorted(group) for group in even_groups(costs, microbatches * replicas)]
    sums = [sum(costs[row] for row in group) for group in groups]
    of_replica = even_groups(sums, replicas)
    return [
        [groups[number] for number in sorted(numbers, key=lambda number: (-sums[number], number))]
        for numbers in of_replica
    ]


def even_groups(costs: Sequence[int], groups: int) -> list[list[int]]:
    """Indices of `costs` in groups of one size, the costliest group as cheap as a simple search makes it.

    The costliest item goes to the cheapest group that has room (longest processing time first, Graham 1969,
    "Bounds on multiprocessing timing anomalies"), then the costliest group exchanges items while that helps.
    """
    size = len(costs) // groups
    found: list[list[int]] = [[] for _ in range(groups)]
    with_room = [(0, number) for number in range(groups)]  # a heap of (sum, group)
    for item in sorted(range(len(costs)), key=lambda item: (-costs[item], item)):
        total, cheapest = heappop(with_room)
        found[cheapest].append(item)
        if len(found[cheapest]) < size:
            heappush(with_room, (total + costs[item], cheapest))
    return _exchanged(np.asarray(costs, dtype=np.int64), np.asarray(found, dtype=np.int64))


def _exchanged(costs: np.ndarray, found: np.ndarray) -> list[list[int]]:
    """found: [groups, size]. Exchanges the pair of items that brings the costliest group down most."""
    for _ in range(EXCHANGES):
        values = costs[found]
        sums = values.sum(1)
        top = int(sums.argmax())
        given = values[top][:, None, None] - values[None]  # [size, groups, size]: what top would lose
        higher = np.maximum(sums[top] - given, sums[None, :, None] + given)
        higher[:, top] = sums[top]
        best = int(higher.argmin())
        if higher.flat[best] >= sums[top]:
            break
        mine, group, theirs = np.unravel_index(best, higher.shape)
        found[top, mine], found[group, theirs] = found[group, theirs], found[top, mine]
    return found.tolist()
