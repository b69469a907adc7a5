"""What a step sends: counted on real processes, by formula, and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.traffic import link_bytes, step_bytes
from pinisi.models import read_spec
from pinisi.schedule import Layout, names
from pinisi.vocabulary import Shards
from tests.distributed.cases import Case, batches, config_of, engine_of, possible, shards_of


def run(world, cases: list[Case]) -> list[tuple[dict, dict] | None]:
    """Of each case: what this rank handed over, and what the step's result says of all ranks."""
    found: list[tuple[dict, dict] | None] = []
    for case in cases:
        if world.rank >= case.ranks:
            found.append(None)
            continue
        engine = engine_of(case, read_spec(config_of(case)), world.communicators[case.ranks])
        engine.log_probs(batches(case))  # what a forward pass sends is not the step's
        before = dict(engine.communicator.bytes_sent)
        result = engine.gradients(batches(case))
        sent = {c: n - before.get(c, 0) for c, n in engine.communicator.bytes_sent.items()}
        found.append(({c: n for c, n in sent.items() if n}, result.bytes_sent))
    return found


def formula(case: Case) -> list[dict[str, int]]:
    from tests.distributed.cases import schedule_of

    return step_bytes(
        batches(case),
        schedule_of(case).layout,
        shards_of(case),
        hidden=config_of(case)["hidden_size"],
        dtype=case.dtype,
        statistics=4 if case.label_smoothing else 3,
    )


def check(pool, cases: list[Case]) -> None:
    by_rank = pool.run("tests.distributed.test_bytes:run", cases)
    for at, case in enumerate(cases):
        wanted = formula(case)
        assert [by_rank[r][at][0] for r in range(case.ranks)] == wanted, case
        together = {c: sum(rank.get(c, 0) for rank in wanted) for rank in wanted for c in rank}
        assert all(by_rank[r][at][1] == together for r in range(case.ranks)), case


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_every_schedule_sends_what_the_formula_says(pool, barriers):
    base = Case(barriers=barriers, ranks=3, microbatches=4, dtype=torch.float32, rows="uneven")
    cases = [
        possible(replace(base, schedule=schedule, ignored="microbatch" if at % 2 else "some", seed=at))
        for at, schedule in enumerate(names())
        if barriers or schedule != "interlaced"
    ]
    check(pool, cases)


@pytest.mark.parametrize("barriers", [1, 2])
def test_other_numbers_and_losses(pool, barriers):
    base = Case(barriers=barriers)
    cases = [
        replace(base, dtype=torch.bfloat16, tied=False),  # 16 bit but for the sums
        replace(base, ranks=4, rows="one", label_smoothing=0.1),
        replace(base, ranks=1, ignored="none"),
    ]
    check(pool, cases)


def test_a_batch_counted_by_hand():
    """Two ranks, rows 0 to 4 and 5 to 9, four tokens of which three have targets; h = 8, bf16."""
    tokens = torch.tensor([[1, 7, 8, 9]])
    targets = torch.tensor([[7, IGNORE, 9, 2]])
    zeros = torch.zeros_like(tokens)
    batch = [Microbatch(tokens, targets, zeros, zeros, zeros)]
    layout, shards = Layout(((0,), (1,)), 1), Shards((0, 5, 10))
    first, last = step_bytes(batch, layout, shards, hidden=8, dtype=torch.bfloat16)
    head = {"C0": 3 * 8 * 2, "C1": 3 * 3 * 4, "U": 3 * 8 * 4}
    assert first == {**head, "ACTIVATION": 4 * 8 * 2, "EMBEDDING_GRADIENT": 3 * 8 * 2}
    assert last == {**head, "GRADIENT": 4 * 8 * 2, "EMBEDDING": 3 * 8 * 2}
    assert link_bytes(first, 2) == 24 + 36 + 48 + 64 + 48


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize(("ranks", "hidden"), [(8, 3072), (16, 4096), (32, 5120)])
def test_at_most_60_percent_of_the_published_bytes(ranks, hidden, barriers):
    """The published implementation moves about 14·T·h bytes per rank and microbatch on a ring; the paper's sizes, bf16."""
    tokens = torch.randint(0, 4096, (1, 2048), generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros_like(tokens)
    layout = Layout(tuple((stage,) for stage in range(ranks)), barriers)
    batch = [Microbatch(tokens, tokens, zeros, zeros, zeros)]
    found = step_bytes(batch, layout, Shards.even(4096, ranks), hidden=hidden, dtype=torch.bfloat16)
    between = ("ACTIVATION", "GRADIENT")  # of the layers, theirs as ours
    shares = [
        link_bytes({c: n for c, n in rank.items() if c not in between}, ranks) / (14 * 2048 * hidden)
        for rank in found
    ]
    assert max(shares) <= 0.6 and sum(shares) / ranks <= 0.48, (max(shares), sum(shares) / ranks)
