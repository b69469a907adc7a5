"""Proves before a process starts that a schedule is complete, well placed and can't hang."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

from pinisi.base.errors import ScheduleError
from pinisi.schedule.costs import NOMINAL
from pinisi.schedule.encoding import (
    LAUNCH,
    MASK,
    RECEIVE,
    RUN,
    SEND,
    SHIFT,
    WAIT,
    Encoding,
    encoded,
)
from pinisi.schedule.execution.faults import fail, fail_at
from pinisi.schedule.execution.lower import lower
from pinisi.schedule.execution.machine import Machine
from pinisi.schedule.execution.simulate import timed
from pinisi.schedule.execution.verify_reductions import verify_reductions
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.graph import graph_of, numbered
from pinisi.schedule.needs import Channel, gives, needs
from pinisi.schedule.program import P2P, Message, MessageChannel, Op, Program
from pinisi.schedule.table import Kind, Layout, Pass, Schedule

_BACKWARD = frozenset((Kind.B, Kind.W, Kind.BW))


@gc_disabled()
def verify(schedule: Schedule, *, activations: float | None = None) -> None:
    """Raise ScheduleError, naming rank, step, pass and what it waits for, unless the schedule can be run.

    Checked: every pass is there once and on its rank, no pass waits for a later one, and the lowered program
    runs through with rendezvous sends, one order of collectives on all ranks and each channel first in,
    first out. activations: the most microbatches, of a rank's whole share of layers, that may be alive on a rank.
    """
    verify_passes(schedule)
    if activations is not None:
        verify_activations(schedule, activations)
    verify_program(lower(schedule))


def verify_once(schedule: Schedule, verified: Collection[str]) -> None:
    """Verifies a schedule, as `verify` does, unless its digest is among those that were verified before."""
    if not verified or schedule.digest() not in verified:
        verify(schedule)


def verify_activations(schedule: Schedule, most: float) -> None:
    """No rank holds more than so many microbatches of its layers between F and the last backward pass."""
    for rank, row in enumerate(schedule.order):
        stages, alive = len(schedule.layout.stages[rank]), 0
        closes = {(p.part, p.microbatch): step for step, p in enumerate(row) if p.kind in _BACKWARD}
        last = set(closes.values())
        for step, p in enumerate(row):
            alive += p.kind is Kind.F
            if alive > most * stages + 1e-9:
                held = alive / stages
                fail(
                    schedule,
                    rank,
                    step,
                    f"rank {rank}, step {step}: {p} makes {held:g} activations alive, {most:g} are allowed",
                )
            alive -= step in last


def verify_passes(schedule: Schedule) -> None:
    """Every pass once and on its rank; so what a pass needs is there too."""
    layout = schedule.layout
    if len(schedule.order) != layout.ranks:
        raise ScheduleError(
            f"schedule '{schedule.name}' has {len(schedule.order)} rows for {layout.ranks} ranks"
        )
    graph, m = graph_of(layout), schedule.microbatches
    given = [
        [graph.number[g[:2]] * m for g in gives(Pass(k, part, 0)) if g.kind is not Kind.BW]
        for k, part in graph.types
    ]
    seen = bytearray(len(graph.types) * m)
    for rank, row in enumerate(schedule.order):
        for step, p in enumerate(row):
            t = graph.number.get(p[:2])
            if t is None or graph.rank[t] != rank or not 0 <= p.microbatch < m:
                fail(schedule, rank, step, f"rank {rank}, step {step}: {p} {_fault(schedule, p, t)}")
            for first in given[t]:
                if seen[first + p.microbatch]:
                    fail(schedule, rank, step, f"rank {rank}, step {step}: {p} {_fault(schedule, p, t)}")
                seen[first + p.microbatch] = 1
    for t, (kind, part) in enumerate(graph.types):
        at = seen.find(0, t * m, (t + 1) * m) if kind is not Kind.BW else -1
        if at >= 0:
            missing = Pass(kind, part, at - t * m)
            fail(schedule, graph.rank[t], 0, f"rank {graph.rank[t]} never runs {missing}")


def _fault(schedule: Schedule, p: Pass, t: int | None) -> str:
    if t is None or not 0 <= p.microbatch < schedule.microbatches:
        return f"isn't a pass of this layout, or its microbatch isn't below {schedule.microbatches}"
    rank = graph_of(schedule.layout).rank[t]
    if p not in schedule.order[rank]:
        return f"belongs on rank {rank}"
    return "was there before"


def verify_program(program: Program) -> None:
    """Every pass of the table once, one order of collectives, each channel first in, first out, no data used
    before it is there, sums over replicas of complete gradients, and no wait that never ends."""
    schedule = program.schedule
    encoding, rows = encoded(program)
    _verify_runs(program, encoding, rows)
    _verify_launches(program, rows)
    _verify_channels(program, encoding, rows)
    _verify_data(program, encoding, rows)
    verify_reductions(program)
    machine = timed(program, schedule.costs or NOMINAL)
    if not machine.finished:
        stuck = [rank for rank, row in enumerate(rows) if machine.at[rank] < len(row)]
        lines = [_waiting(program, machine, rank) for rank in stuck]
        raise ScheduleError(f"schedule '{schedule.name}' hangs:\n" + "\n".join(lines))


def _waiting(program: Program, machine: Machine, rank: int) -> str:
    code, at, step = program.instructions[rank], machine.at[rank], len(machine.starts[rank])
    p = next((what for op, what in code[at:] if op is Op.RUN), "the step's end")
    excerpt = program.schedule.excerpt(rank, step)
    return f"rank {rank}, step {step}: {p} waits for {code[at].what}\n  {excerpt}"


def _verify_runs(program: Program, encoding: Encoding, rows: Sequence[list[int]]) -> None:
    """Each rank runs the passes of its row, all of them and no others; the order is the other checks' business."""
    for rank, (row, wanted) in enumerate(zip(rows, numbered(program.schedule), strict=True)):
        runs = [code >> SHIFT for code in row if code & MASK == RUN]
        if runs != wanted and sorted(runs) != sorted(wanted):
            lacking = next((encoding.what(p) for p in wanted if p not in runs), None)
            fault = f"never runs {lacking}" if lacking else f"runs {len(runs)} passes of {len(wanted)}"
            raise ScheduleError(f"schedule '{program.schedule.name}': rank {rank}'s program {fault}")


def _verify_launches(program: Program, rows: Sequence[list[int]]) -> None:
    """One order of collectives on all ranks, across all communicators; U behind C1, from which it is made."""
    encoding, _ = encoded(program)
    order = [encoding.number(message) for message in program.collectives]
    beyond = encoding.first_reduction * encoding.microbatches  # sums over replicas, see `verify_reductions`
    for rank, row in enumerate(rows):
        launched = [code >> SHIFT for code in row if code & MASK == LAUNCH and code >> SHIFT < beyond]
        if launched == order:
            continue
        for want, got in zip(order, launched, strict=False):
            if want != got:
                expected = encoding.what(want)
                fail_at(program, rank, got << SHIFT | LAUNCH, f"comes where the global order has {expected}")
        raise ScheduleError(
            f"rank {rank} launches {len(launched)} collectives, the global order has {len(order)}"
        )
    gathered = set()
    for message, number in zip(program.collectives, order, strict=True):
        if message.channel is MessageChannel.C1:
            gathered.add(message.microbatch)
        elif message.channel is MessageChannel.U and message.microbatch not in gathered:
            fail_at(program, 0, number << SHIFT | LAUNCH, "comes before C1, from which it is made")


def _verify_channels(program: Program, encoding: Encoding, rows: Sequence[list[int]]) -> None:
    """The two ends of each channel post its messages in the same order."""
    m, first = encoding.microbatches, encoding.first_message
    ends: dict[int, dict[tuple, list[int]]] = {SEND: defaultdict(list), RECEIVE: defaultdict(list)}
    # Where each post belongs: several types may share a channel between two ranks.
    posts = {
        op: [ends[op][message.channel, message.source, message.target] for message in encoding.messages]
        for op in ends
    }
    for row in rows:
        for code in row:
            if (op := code & MASK) in posts:
                posts[op][(code >> SHIFT) // m - first].append(code >> SHIFT)
    for key, sent in ends[SEND].items():
        received = ends[RECEIVE][key]
        if sent == received:
            continue
        at, (out, back) = next(
            (at, pair) for at, pair in enumerate(zip_longest(sent, received)) if pair[0] != pair[1]
        )
        names = [None if number is None else encoding.what(number) for number in (out, back)]
        rank, code = (key[1], out << SHIFT | SEND) if out is not None else (key[2], back << SHIFT | RECEIVE)
        fail_at(program, rank, code, f"message {at} is {names[0]} sent but {names[1]} received")


def _verify_data(program: Program, encoding: Encoding, rows: Sequence[list[int]]) -> None:
    """Every RUN, SEND and LAUNCH of a rank comes after the RUNs and WAITs that give what it uses."""
    layout, m = encoding.graph.layout, encoding.microbatches
    types = [Pass(kind, part, 0) for kind, part in encoding.graph.types]

    def numbers(items: Iterator[Pass | Message]) -> list[int]:
        return [encoding.number(item) for item in items]

    given = [numbers(iter(gives(p))) for p in types]
    reads = [numbers(_inputs(p, layout, layout.rank_of(p))) for p in types]
    for rank, row in enumerate(rows):
        # A RUN reads what its type does, a SEND or LAUNCH what the message carries.
        uses = reads + [
            numbers(_carried(message, layout, rank)) if layout.barriers or message.channel in P2P else []
            for message in encoding.messages
        ]
        there = bytearray(encoding.size)
        for code in row:
            op, what = code & MASK, code >> SHIFT
            if op == RECEIVE:
                continue
            if op == WAIT:
                there[what] = 1
                continue
            t, i = divmod(what, m)
            for item in uses[t]:
                if not there[item + i]:
                    fail_at(program, rank, code, f"uses {encoding.what(item + i)}, which isn't there yet")
            if op == RUN:
                for item in given[t]:
                    there[item + i] = 1


def _inputs(p: Pass, layout: Layout, rank: int) -> Iterator[Pass | Message]:
    """What a pass reads: passes of its own rank and messages."""
    i, last = p.microbatch, layout.last_rank
    for sources, via in needs(p, layout):
        if via is Channel.C0:
            yield Message(MessageChannel.C0, i, last, -1)
        elif via is Channel.C1 and p.kind is Kind.T:
            yield Message(MessageChannel.C1, i, -1, -1)
        elif via is Channel.C1 or via is Channel.C2:
            yield Message(MessageChannel.U if via is Channel.C1 else MessageChannel.C2, i, -1, last)
        else:
            stage = p.part if via in (Channel.ACTIVATION, Channel.GRADIENT) else 0
            for source in sources:
                sender = layout.rank_of(source)
                yield source if sender == rank else Message(MessageChannel(via), i, sender, rank, stage)


def _carried(message: Message, layout: Layout, rank: int) -> Iterator[Pass | Message]:
    """What a message reads on the rank that posts it."""
    channel, i = message.channel, message.microbatch
    match channel:
        case MessageChannel.ACTIVATION:
            yield Pass(Kind.F, message.stage - 1, i)
        case MessageChannel.GRADIENT:
            yield Pass(Kind.B, message.stage + 1, i)
        case MessageChannel.EMBEDDING:
            yield Pass(Kind.E, rank, i)
        case MessageChannel.EMBEDDING_GRADIENT:
            yield Pass(Kind.B, 0, i)
        case MessageChannel.C0:
            if rank == layout.last_rank:
                yield Pass(Kind.F, layout.last_stage, i)
        case MessageChannel.C1:
            yield Pass(Kind.S, rank, i)
        case MessageChannel.U:  # and what C1 brings, behind which it is chained (see _verify_launches)
            yield Pass(Kind.S, rank, i)
        case MessageChannel.C2:
            yield Pass(Kind.T, rank, i)
