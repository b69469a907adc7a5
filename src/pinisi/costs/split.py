"""Shares layers out over stages and vocabulary rows over ranks: evenly, best by cost, or as Megatron-LM does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from pinisi.base.errors import ConfigError


def with_heads(layers: Sequence[int], extra_heads: int) -> list[int]:
    """How many layers' work each stage has: extra heads are layers beside the last one."""
    return [*layers[:-1], layers[-1] + extra_heads]


def even_layers(layers: int, stages: int) -> list[int]:
    """As even as they go, the longer stages first."""
    _enough(layers, stages)
    return [layers // stages + (stage < layers % stages) for stage in range(stages)]


def redistributed_layers(
    layer: Sequence[float], stages: int, first: float = 0.0, last: float = 0.0
) -> list[int]:
    """The best contiguous split for given costs: the slowest stage is as fast as it can be.

    layer: cost of each layer; first, last: what the embedding and the head add to the ends, in the same unit. Of the splits
    with the least maximum the one with the least sum of squares, and of those the one with the longer stages later. Only
    the ends may be left without layers. Exact, by dynamic programming.
    """
    n = len(layer)
    _enough(n + 2, stages)
    sums = [0.0]
    for each in layer:
        sums.append(sums[-1] + each)

    def cost(stage: int, a: int, b: int) -> float:
        return sums[b] - sums[a] + (first if stage == 0 else 0.0) + (last if stage == stages - 1 else 0.0)

    def least(stage: int) -> int:
        return 0 if stage in (0, stages - 1) else 1

    cap = _least_maximum(n, stages, cost, least)
    limit = cap * (1 + 1e-9)
    # best[b]: (sum of squares, sizes so far) of the stages before, holding layers 0 to b
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for stage in range(stages):
        found: dict[int, tuple[float, tuple[int, ...]]] = {}
        for a, (squares, sizes) in best.items():
            for b in range(a + least(stage), n + 1):
                c = cost(stage, a, b)
                if c > limit:
                    break
                new = (round(squares + (c / cap) ** 2, 9), (*sizes, b - a))
                if b not in found or new < found[b]:
                    found[b] = new
        best = found
    return list(best[n][1])


def _least_maximum(
    n: int, stages: int, cost: Callable[[int, int, int], float], least: Callable[[int], int]
) -> float:
    """The smallest possible maximum of the stages' costs."""
    row: list[float] = [0.0] + [math.inf] * n
    for stage in range(stages):
        new = [math.inf] * (n + 1)
        for a, before in enumerate(row):
            if before == math.inf:
                continue
            for b in range(a + least(stage), n + 1):
                new[b] = min(new[b], max(before, cost(stage, a, b)))
        row = new
    return row[n]


def placed_layers(
    layers: int,
    placement: Sequence[Sequence[int]],
    layer: float,
    extra: Mapping[int, float],
    extra_heads: int = 0,
) -> list[int]:
    """The best split of equal layers for any placement: the busiest rank has as little to do as can be.

    placement[rank]: the stages that it holds; layer: cost of one; extra: what a stage does besides its layers (embedding,
    head), in the same unit. extra_heads: how many the last stage has; it then keeps the layer that they stand beside. Else a
    stage with something else to do may be left without layers. One layer after the other goes to the rank, and there to the
    stage, that has least to do so far, of equals to the later one: with equal layers no split has a lesser maximum, or of
    these a lesser sum of squares.
    """
    stages = sum(len(held) for held in placement)
    _enough(layers, stages)
    sizes = [0 if extra.get(stage) else 1 for stage in range(stages)]
    if extra_heads:
        sizes[-1] = 1
    load = [n * layer + extra.get(s, 0.0) for s, n in enumerate(with_heads(sizes, extra_heads))]
    for _ in range(layers - sum(sizes)):
        held = min(placement, key=lambda held: (sum(load[s] for s in held), -max(held)))
        stage = min(held, key=lambda s: (load[s], -s))
        sizes[stage] += 1
        load[stage] += layer
    return sizes


def megatron_layers(layers: int, stages: int, *, embedding: bool = True, loss: bool = True) -> list[int]:
    """Megatron-LM's split that counts the embedding, the loss, or both, as one layer each.

    Its --account-for-embedding-in-pipeline-split and --account-for-loss-in-pipeline-split: (layers + these) must divide by
    the stages. Raises ConfigError where it doesn't.
    """
    total = layers + embedding + loss
    if total % stages:
        raise ConfigError(
            f"{layers} layers with {embedding + loss} counted for embedding and loss make {total}, which {stages} stages "
            "don't divide: choose another number of ranks, or the best split by cost"
        )
    sizes = [total // stages] * stages
    sizes[0] -= embedding
    sizes[-1] -= loss
    if min(sizes) < 0:
        raise ConfigError(f"{layers} layers are too few for {stages} stages with embedding and loss counted")
    return sizes


def rows_for(seconds: Sequence[float], head: float, vocabulary: int) -> list[int]:
    """Vocabulary rows per rank that even out given costs, the largest remainders rounded up.

    seconds[rank]: all that the rank does for a microbatch beside the head; head: S + T of the whole vocabulary. Ranks that
    do more than their share already get no rows, and the others share the rest evenly.
    """
    if head <= 0 or vocabulary < 1 or not seconds:
        raise ConfigError(
            f"cannot share out {vocabulary} rows of a head that takes {head} s over {len(seconds)} ranks"
        )
    level = _level(seconds, head)
    shares = [max(0.0, level - s) / head * vocabulary for s in seconds]
    sizes = [int(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda rank: (sizes[rank] - shares[rank], rank))
    for at in range(vocabulary - sum(sizes)):
        sizes[order[at % len(order)]] += 1
    return sizes


def _level(seconds: Sequence[float], head: float) -> float:
    """The height to which `head` fills up the ranks."""
    rising = sorted(seconds)
    total = 0.0
    for count, s in enumerate(rising, 1):
        total += s
        level = (total + head) / count
        if count == len(rising) or level <= rising[count]:
            return level
    raise AssertionError("the last rank always ends the loop")


def _enough(layers: int, stages: int) -> None:
    if stages < 1 or layers < stages:
        raise ConfigError(f"{layers} layers are too few for {stages} stages: take fewer ranks or chunks")
