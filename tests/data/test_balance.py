"""Balanced steps: the same rows, never a costlier worst microbatch, near the best of all assignments."""

import itertools
import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.data import Microbatch, Sampler
from pinisi.data.balance import assign, even_groups, row_cost

from .test_sampler import NAMES, same


def squares(microbatch: Microbatch) -> int:
    """Σ l² over the pieces of documents, counted token by token."""
    return sum(count**2 for row in microbatch.documents.tolist() for count in Counter(row).values())


def rows_of(batches: list[Microbatch]) -> Counter:
    """Every row of the microbatches by all that it holds; documents counted from the row's first."""
    return Counter(
        tuple(
            tuple((getattr(m, name)[row] - (m.documents[row, 0] if name == "documents" else 0)).tolist())
            for name in NAMES
        )
        for m in batches
        for row in range(m.tokens.shape[0])
    )


def make(shards_folder, rank=0, ranks=1, batch=3, sequence=47, balance=True, seed=11):
    return Sampler(
        shards_folder,
        sequence=sequence,
        batch=batch,
        seed=seed,
        temperature=2.0,
        data_rank=rank,
        data_ranks=ranks,
        balance=balance,
    )


@pytest.mark.parametrize("ranks,batch,microbatches,sequence", [(1, 3, 5, 47), (3, 2, 4, 31), (2, 1, 7, 101)])
def test_a_step_has_the_same_rows_shared_out_better(shards_folder, ranks, batch, microbatches, sequence):
    def made(balance: bool) -> list[Sampler]:
        return [make(shards_folder, rank, ranks, batch, sequence, balance) for rank in range(ranks)]

    plain, even = made(False), made(True)
    better = 0
    for _ in range(6):
        before = [sampler.step(microbatches) for sampler in plain]
        after = [sampler.step(microbatches) for sampler in even]
        assert all(len(batches) == microbatches for batches in after)
        assert rows_of(list(itertools.chain(*before))) == rows_of(list(itertools.chain(*after)))
        worst = [max(squares(m) for batches in step for m in batches) for step in (before, after)]
        busiest = [max(sum(map(squares, batches)) for batches in step) for step in (before, after)]
        assert worst[1] <= worst[0] and busiest[1] <= busiest[0]
        better += worst[1] < worst[0] or busiest[1] < busiest[0]
        for batches in after:
            costs = [squares(m) for m in batches]
            assert costs == sorted(costs, reverse=True)
        assert all(sampler.state() == plain[0].state() for sampler in plain + even)
    assert better >= 4


@pytest.mark.parametrize("before", [1, 4])
def test_restore_goes_on_exactly(shards_folder, before):
    whole = [make(shards_folder, rank, 2) for rank in range(2)]
    for sampler in whole:
        for _ in range(before):
            sampler.step(4)
    state = json.loads(json.dumps(whole[0].state()))
    for rank, sampler in enumerate(whole):
        resumed = make(shards_folder, rank, 2)
        resumed.step(3)
        resumed.restore(state)
        for _ in range(4):
            assert same(resumed.step(4), sampler.step(4))


@settings(max_examples=40, deadline=None)
@given(
    language=st.sampled_from(["id", "lo", "my"]),
    sequence=st.sampled_from([1, 2, 13, 101, 1009]),
    start=st.integers(0, 5000),
)
def test_lengths_without_tokens_are_those_of_the_row(shards_folder, language, sequence, start):
    stream, end = make(shards_folder)._streams[language], 0
    if start:
        stream.draw(start)
    pieces = stream.draw(sequence)
    row = pieces.row(stream.files, end)
    lengths = [len(list(group)) for _, group in itertools.groupby(row.pieces.tolist())]
    assert pieces.lengths.tolist() == lengths


def every_grouping(items: list[int], groups: int):
    """All ways to make groups of one size, the first item always in the first group."""
    if groups == 1:
        yield [items]
        return
    size = len(items) // groups
    for others in itertools.combinations(items[1:], size - 1):
        rest = [item for item in items[1:] if item not in others]
        for more in every_grouping(rest, groups - 1):
            yield [[items[0], *others], *more]


@pytest.mark.parametrize("groups,size", [(2, 3), (3, 2), (4, 2), (3, 3), (2, 5)])
def test_near_the_best_of_all_groupings(groups, size):
    """Against every grouping there is. Greedy alone is up to 4.5 % off, .5 % in the mean of the last case."""
    rng = random.Random(groups * 10 + size)
    off = []
    for _ in range(30):
        costs = [rng.choice([1, 3, 10, 40, 100]) * rng.randint(1, 9) for _ in range(groups * size)]
        found = even_groups(costs, groups)
        assert sorted(itertools.chain(*found)) == list(range(len(costs)))
        assert {len(group) for group in found} == {size}
        best = min(
            max(sum(costs[item] for item in group) for group in grouping)
            for grouping in every_grouping(list(range(len(costs))), groups)
        )
        off.append(max(sum(costs[item] for item in group) for group in found) / best)
    assert min(off) == 1.0 and max(off) <= 1.045 and sum(off) / len(off) <= 1.003


def test_groups_by_hand():
    assert even_groups([9, 1, 5, 5], 2) == [[0, 1], [2, 3]]
    assert assign([9, 1, 5, 5], 1, 2, 2) == [[[0, 1]], [[2, 3]]]
    assert assign([1, 2, 3, 4], 2, 1, 2) == [[[3], [0]], [[2], [1]]]
    assert assign([7, 7, 7], 3, 1, 1) == [[[0], [1], [2]]]


def test_row_cost_by_counting_flops():
    """Forward FLOPs of a GPT block, product by product, over those of a token's linear part."""
    hidden, lengths = 64, [5, 1, 30]
    flops = 0.0
    for length in lengths:
        flops += length * 2 * hidden * (3 * hidden + hidden + 4 * hidden + 4 * hidden)
        flops += 2 * (2 * hidden * length**2) / 2  # scores and values, half of them masked
    assert row_cost(lengths, hidden) == pytest.approx(flops / (24 * hidden**2))
