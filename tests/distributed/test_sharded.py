"""An optimizer shared out over replicas against a whole one on each: the same weights, a share of the bytes."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pinisi.base.errors import CommunicationError
from pinisi.engine import gradient_sums
from pinisi.engine import sharded as sharded_optimizer
from pinisi.engine.emulate import LimitedLink
from pinisi.engine.engine import Engine
from pinisi.engine.optimizer import NotFinite
from pinisi.engine.sharded import row_parts
from pinisi.models import read_spec
from pinisi.schedule import Kind, Op, lower
from pinisi.train.saved import resume_engine, save_engine
from tests.distributed.cases import Case, batches, config_of, engine_of, schedule_of
from tests.effort import first


def engine_on(world, case: Case, sharded: bool) -> Engine:
    """Of two pipelines of two ranks; in several buckets."""
    sharded_optimizer.BUCKET = 8000
    communicator, stage, ends = world.replicas
    half = replace(case, microbatches=case.microbatches // 2)
    layout = schedule_of(half).layout
    apart = case.barriers == 0 and case.tied and layout.first_rank != layout.last_rank
    tied = ends if apart else None
    spec = read_spec(config_of(case))
    return engine_of(half, spec, communicator, data_group=stage, tied_group=tied, sharded=sharded)


def train(engine: Engine, case: Case, replica: int, steps: range) -> list[float]:
    norms = []
    for step in steps:
        m = engine.schedule.microbatches
        result = engine.gradients(batches(case, step)[replica * m : (replica + 1) * m])
        if step == 1:  # a step left out leaves nothing behind
            result.loss = math.nan
            with pytest.raises(NotFinite):
                engine.update(result, 1e-2)
            engine.skip()
        else:
            norms.append(engine.update(result, 1e-2 / (step + 1)))
    return norms


def state_bytes(engine: Engine) -> int:
    """Of moments and, in 16 bit, master weights."""
    held = zip(engine.optimizer.state(), engine.optimizer.slots, strict=True)
    return sum(
        t.nbytes for kept, slot in held for t in kept.values() if t.data_ptr() != slot.parameter.data_ptr()
    )


@contextmanager
def slow_link(seconds: float):
    """Every sum over replicas takes so long, one after the other, and is one of what there was at its launch: what a pass adds
    behind that is missing."""
    link = LimitedLink(1 / seconds)
    scatter, reduce = sharded_optimizer._reduce_scatter, dist.all_reduce

    def slow_scatter(out, given, group, async_op):
        read = given.clone()
        return link.send(1, lambda: scatter(out, read, group=group, async_op=True).wait())

    def slow_reduce(tensor, group=None, async_op=False):
        if not async_op:
            return reduce(tensor, group=group)
        read = tensor.clone()

        def arrive():
            reduce(read, group=group, async_op=True).wait()
            tensor.copy_(read)

        return link.send(1, arrive)

    sharded_optimizer._reduce_scatter, gradient_sums.dist.all_reduce = slow_scatter, slow_reduce
    try:
        yield
    finally:
        sharded_optimizer._reduce_scatter, gradient_sums.dist.all_reduce = scatter, reduce


def instruction_by_instruction(world, case: Case) -> str | None:
    """Sums among the passes, on a link so slow that passes overtake them, against sums after all passes: the same bits. And
    each sum is on its way before the passes are done, but where what adds to it comes last."""
    for sharded in (False, True):
        after, during = engine_on(world, case, sharded), engine_on(world, case, sharded)
        if not during.program.reductions or any(
            op is Op.WAIT for op, what in during.program.instructions[0][:3]
        ):
            return "no reductions"
        after.program = lower(after.schedule)
        norms = [train(after, case, world.rank // 2, range(3))]
        with slow_link(0.002):
            norms.append(train(during, case, world.rank // 2, range(3)))
        if norms[0] != norms[1]:
            return f"sharded {sharded}: norms {norms}"
        for a, b in zip(after.slots, during.slots, strict=True):
            if not torch.equal(a.parameter, b.parameter):
                return f"sharded {sharded}: {a.name} differs"
    return None


OVERLAPPED = [
    Case(barriers=2, microbatches=6, tied=False, schedule="zb-h1"),
    Case(barriers=0, microbatches=6, schedule="zbv"),
    Case(barriers=1, microbatches=6, dtype=torch.bfloat16, tied=False, rows="uneven", split=True),
    Case(barriers=1, microbatches=6, dtype=torch.float32),
    Case(barriers=0, microbatches=6, tied=False, schedule="interleaved-1f1b", dtype=torch.bfloat16),
    Case(barriers=0, microbatches=6, dtype=torch.float32),
    Case(barriers=2, microbatches=8, schedule="dualpipev", recompute=True),
]


@pytest.mark.parametrize(
    "case",
    first(1, OVERLAPPED),
    ids=lambda c: f"{c.schedule}-{c.barriers}-{'tied' if c.tied else 'apart'}",
)
def test_sums_beside_passes_are_those_after_all_passes_to_the_bit(pool, case):
    assert pool.run("tests.distributed.test_sharded:instruction_by_instruction", case) == [None] * 4


def over_two_programs(world, case: Case) -> list[str]:
    """Gradients of two programs before an update, against the sum of those of each of them."""
    wrong = []
    m = case.microbatches // 2
    mine = [batches(case, step)[world.rank // 2 * m :][:m] for step in range(2)]
    for sharded in (False, True):
        engine = engine_on(world, case, sharded)
        apart = []
        for batch in mine:
            engine.gradients(batch)
            apart.append([slot.gradient.clone() for slot in engine.optimizer.slots])
            engine.skip()
        for batch in mine:
            engine.gradients(batch)
        for slot, a, b in zip(engine.optimizer.slots, *apart, strict=True):
            if not torch.allclose(slot.gradient, a + b, rtol=1e-11, atol=1e-14):
                wrong.append(f"sharded {sharded}: {slot.name}")
    return wrong


@pytest.mark.parametrize("barriers", [0, 1])
def test_gradients_of_two_programs_add_up(pool, barriers):
    case = Case(barriers=barriers, microbatches=6)
    assert pool.run("tests.distributed.test_sharded:over_two_programs", case) == [[]] * 4


def told_of_another_order(world, case: Case) -> str:
    """One replica's table sums its gradients in another order: what its engine, and the others', say."""
    half = replace(case, microbatches=case.microbatches // 2)
    other = with_last_stage_late(schedule_of(half)) if world.rank // 2 else schedule_of(half)
    engine = engine_on(world, case, True)
    try:
        engine.use(other)
    except CommunicationError as error:
        return str(error)
    return "nothing"


def with_last_stage_late(schedule):
    """Every W of the last stage behind all else on its rank, whose other stage's gradients were the last ones to be whole."""
    rows = list(schedule.order)
    late = [p for p in rows[0] if p.kind is Kind.W and p.part == schedule.layout.last_stage]
    assert rows[0][-1] not in late
    rows[0] = (*[p for p in rows[0] if p not in late], *late)
    return replace(schedule, order=tuple(rows))


def test_replicas_that_sum_in_another_order_are_told_before_a_step(pool):
    case = Case(barriers=0, microbatches=6, tied=False, schedule="zbv")
    found = pool.run("tests.distributed.test_sharded:told_of_another_order", case)
    assert all("rank 1 has another sums_of_gradients" in found[rank] for rank in (0, 2)), found
    assert found[1] == found[3] == "nothing"


def on_and_off(world, case: Case) -> tuple[str | None, int, int]:
    """What differs, and the bytes of a whole optimizer and of this rank's share."""
    whole, shared = engine_on(world, case, False), engine_on(world, case, True)
    frozen = whole.optimizer.frozen or shared.optimizer.frozen
    norms = [train(engine, case, world.rank // 2, range(4)) for engine in (whole, shared)]
    wrong = "frozen" if frozen else None if norms[0] == norms[1] else f"norms {norms}"
    if not wrong and norms[0][0] <= 0.05:
        wrong = "nothing was clipped"
    for a, b in zip(whole.slots, shared.slots, strict=True):
        if not torch.equal(a.parameter, b.parameter):
            wrong = wrong or f"{a.name} differs"
    return wrong, state_bytes(whole), state_bytes(shared)


@pytest.mark.parametrize(
    "case",
    first(
        2,
        [
            Case(barriers=1, microbatches=6, dtype=torch.bfloat16, tied=False, rows="uneven", split=True),
            Case(barriers=1, microbatches=6, dtype=torch.float32),
            Case(barriers=2, microbatches=6, tied=False, schedule="zb-h1"),
            Case(barriers=0, microbatches=6, dtype=torch.bfloat16),
            Case(barriers=1, microbatches=6, dtype=torch.bfloat16, moments=torch.bfloat16),
        ],
    ),
    ids=["bf16-uneven", "fp32", "fp64-split-backward", "bf16-tied-ends-apart", "bf16-moments"],
)
def test_two_replicas_train_the_same_weights_to_the_bit_with_half_the_bytes(pool, case):
    for wrong, whole, share in pool.run("tests.distributed.test_sharded:on_and_off", case):
        assert wrong is None
        assert 0.48 <= share / whole <= 0.52, (whole, share)


def three(world, case: Case) -> tuple[float, float] | None:
    """The largest relative difference of a weight over three replicas of one rank, and the share of bytes."""
    group = dist.new_group([0, 1, 2])
    alone = [dist.new_group([rank]) for rank in range(3)]
    if world.rank == 3:
        return None
    from pinisi.parallel.communicator import Communicator

    names = {key: alone[world.rank] for key in world.communicators[4].groups}
    communicator = Communicator([world.rank], 0, names, alone[world.rank])
    third = replace(case, ranks=1, microbatches=case.microbatches // 3)
    spec = read_spec(config_of(third))
    whole, shared = (
        engine_of(third, spec, communicator, data_group=group, sharded=on) for on in (False, True)
    )
    for engine in (whole, shared):
        train(engine, case, world.rank, range(4))
    far = max(
        float((a.parameter - b.parameter).abs().max() / a.parameter.abs().max())
        for a, b in zip(whole.slots, shared.slots, strict=True)
    )
    return far, state_bytes(shared) / state_bytes(whole)


def test_three_replicas_train_the_same_weights(pool):
    found = pool.run("tests.distributed.test_sharded:three", Case(ranks=1, microbatches=6))[:3]
    assert all(far <= 1e-12 for far, _ in found), found
    assert all(abs(share - 1 / 3) <= 0.02 for _, share in found), found


def resumed(world, given: tuple[Case, str]) -> str | None:
    """Saved by two replicas, read by one, saved, and read by two again."""
    case, folder = given[0], Path(given[1])
    unbroken, first = engine_on(world, case, True), engine_on(world, case, True)
    for engine, steps in ((unbroken, range(4)), (first, range(3))):
        train(engine, case, world.rank // 2, steps)
    save_engine(first, folder, 3)
    third = engine_on(world, case, False)
    if resume_engine(third, folder) != 3:
        return "not resumed"
    save_engine(third, folder, 4)
    fourth = engine_on(world, case, True)
    if resume_engine(fourth, folder) != 4 or fourth.optimizer.updates != third.optimizer.updates:
        return "not resumed again"
    for engine in (third, fourth):
        train(engine, case, world.rank // 2, range(3, 4))
        for a, b in zip(unbroken.slots, engine.slots, strict=True):
            if not torch.equal(a.parameter, b.parameter):
                return f"{a.name} differs"
    return None


@pytest.mark.parametrize("barriers", first(1, [1, 0]))
def test_a_checkpoint_goes_on_with_and_without_shares(pool, barriers, tmp_path):
    dtype, moments = (torch.bfloat16, torch.bfloat16) if barriers else (torch.float32, None)
    case = Case(barriers=barriers, microbatches=6, dtype=dtype, moments=moments)
    assert pool.run("tests.distributed.test_sharded:resumed", (case, str(tmp_path))) == [None] * 4


@pytest.mark.parametrize("replicas", [1, 2, 3, 8])
def test_every_row_has_one_owner_and_shares_are_even(replicas):
    shapes = [(7, 5), (3,), (), (2, 4, 3), (64, 32), (32,), (151, 8), (0, 4)] * 3
    load = [0] * replicas
    for shape, parts in zip(shapes, row_parts(shapes, replicas), strict=True):
        rows = shape[0] if shape else 1
        assert [i for part in parts for i in part] == list(range(rows))
        for k, part in enumerate(parts):
            load[k] += len(part) * math.prod(shape[1:])
    assert max(load) - min(load) <= 64  # of some thousands: two of the longest rows or vectors
