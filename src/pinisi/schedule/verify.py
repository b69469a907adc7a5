"""Proves before a process starts that a schedule is complete, well placed and can't hang."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest

from pinisi.errors import ScheduleError
from pinisi.schedule.collector import collector_paused
from pinisi.schedule.lower import lower
from pinisi.schedule.machine import Machine
from pinisi.schedule.needs import Channel, gives, needs
from pinisi.schedule.program import Message, MessageChannel, Op, Program
from pinisi.schedule.table import Kind, Layout, Pass, Schedule


@collector_paused()
def verify(schedule: Schedule) -> None:
    """Raise ScheduleError, naming rank, step, pass and what it waits for, unless the schedule can be run.

    Checked: every pass is there once and on its rank, no pass waits for a later one, and the lowered program
    runs through with rendezvous sends, one order of collectives on all ranks and each channel first in,
    first out.
    """
    verify_passes(schedule)
    verify_program(lower(schedule))


def required(layout: Layout, microbatches: int) -> dict[Pass, int]:
    """Every pass of a step, with its rank; a BW counts as B and W."""
    kinds = {Kind.F: layout.last_stage + 1, Kind.B: layout.last_stage + 1, Kind.W: layout.last_stage + 1}
    if layout.barriers:
        kinds |= {kind: layout.ranks for kind in (Kind.E, Kind.S, Kind.T, Kind.G)}
    passes = (
        Pass(kind, part, i) for kind, n in kinds.items() for part in range(n) for i in range(microbatches)
    )
    return {p: layout.rank_of(p) for p in passes}


def verify_passes(schedule: Schedule) -> None:
    """Every pass once and on its rank; so what a pass needs is there too."""
    layout = schedule.layout
    if len(schedule.order) != layout.ranks:
        raise ScheduleError(
            f"schedule '{schedule.name}' has {len(schedule.order)} rows for {layout.ranks} ranks"
        )
    wanted = required(layout, schedule.microbatches)
    seen: dict[Pass, int] = {}
    for rank, step, p in schedule.passes():
        for given in gives(p):
            if given.kind is Kind.BW:
                continue
            if given in seen or wanted.get(given) != rank:
                _fail(schedule, rank, step, f"rank {rank}, step {step}: {p} {_fault(given, wanted, seen)}")
            seen[given] = step
    missing = next((p for p in wanted if p not in seen), None)
    if missing is not None:
        _fail(schedule, wanted[missing], 0, f"rank {wanted[missing]} never runs {missing}")


def _fault(p: Pass, wanted: dict[Pass, int], seen: dict[Pass, int]) -> str:
    if p in seen:
        return f"was there before, at step {seen[p]}"
    if p in wanted:
        return f"belongs on rank {wanted[p]}"
    microbatches = 1 + max(known.microbatch for known in wanted)
    return f"isn't a pass of this layout, or its microbatch isn't below {microbatches}"


def verify_program(program: Program) -> None:
    """Every pass of the table once, one order of collectives, each channel first in, first out, no data used
    before it is there, and no wait that never ends."""
    schedule = program.schedule
    _verify_runs(program)
    _verify_launches(program)
    _verify_channels(program)
    for rank in range(schedule.layout.ranks):
        _verify_data(program, rank)
    machine = Machine(program, lambda p: 0.0, lambda message: 0.0)
    if not machine.execute():
        stuck = [rank for rank, code in enumerate(program.instructions) if machine.at[rank] < len(code)]
        lines = [_waiting(program, machine, rank) for rank in stuck]
        raise ScheduleError(f"schedule '{schedule.name}' hangs:\n" + "\n".join(lines))


def _waiting(program: Program, machine: Machine, rank: int) -> str:
    code, at, step = program.instructions[rank], machine.at[rank], len(machine.spans[rank])
    p = next((what for op, what in code[at:] if op is Op.RUN), "the step's end")
    excerpt = program.schedule.excerpt(rank, step)
    return f"rank {rank}, step {step}: {p} waits for {code[at].what}\n  {excerpt}"


def _verify_runs(program: Program) -> None:
    """Each rank runs the passes of its row, all of them and no others; the order is the other checks' business."""
    for rank, (code, row) in enumerate(zip(program.instructions, program.schedule.order, strict=True)):
        runs = [what for op, what in code if op is Op.RUN]
        if runs != list(row) and sorted(runs) != sorted(row):
            lacking = next((p for p in row if p not in runs), None)
            fault = f"never runs {lacking}" if lacking else f"runs {len(runs)} passes of {len(row)}"
            raise ScheduleError(f"schedule '{program.schedule.name}': rank {rank}'s program {fault}")


def _verify_launches(program: Program) -> None:
    """One order of collectives on all ranks, across all communicators."""
    for rank, code in enumerate(program.instructions):
        launched = [what for op, what in code if op is Op.LAUNCH]
        for want, got in zip(program.collectives, launched, strict=False):
            if want != got:
                _fail_at(program, rank, (Op.LAUNCH, got), f"launches {got} where the global order has {want}")
        if len(launched) != len(program.collectives):
            raise ScheduleError(
                f"rank {rank} launches {len(launched)} collectives,"
                f" the global order has {len(program.collectives)}"
            )


def _verify_channels(program: Program) -> None:
    """The two ends of each channel post its messages in the same order."""
    ends: dict[Op, dict[tuple, list[Message]]] = {Op.SEND: defaultdict(list), Op.RECEIVE: defaultdict(list)}
    for code in program.instructions:
        for op, what in code:
            if op in ends and isinstance(what, Message):
                ends[op][what.channel, what.source, what.target].append(what)
    sent, received = ends[Op.SEND], ends[Op.RECEIVE]
    for key in sorted(sent.keys() | received.keys()):
        for at, (out, back) in enumerate(zip_longest(sent[key], received[key])):
            if out != back:
                rank, op, what = (key[1], Op.SEND, out) if out else (key[2], Op.RECEIVE, back)
                _fail_at(program, rank, (op, what), f"message {at} is {out} sent but {back} received")


def _verify_data(program: Program, rank: int) -> None:
    """Every RUN, SEND and LAUNCH of a rank comes after the RUNs and WAITs that give what it uses."""
    layout = program.schedule.layout
    there: set[Pass | Message] = set()
    for op, what in program.instructions[rank]:
        used: list[Pass | Message] = []
        if isinstance(what, Pass):
            used = list(_inputs(what, layout, rank))
        elif op is Op.SEND or op is Op.LAUNCH:
            used = list(_carried(what, layout, rank))
        for item in used:
            if item not in there:
                _fail_at(program, rank, (op, what), f"uses {item}, which isn't there yet")
        if isinstance(what, Pass):
            there.update(gives(what))
        elif op is Op.WAIT:
            there.add(what)


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
        case MessageChannel.U:
            yield Message(MessageChannel.C1, i, -1, -1)
        case MessageChannel.C2:
            yield Pass(Kind.T, rank, i)


def _fail(schedule: Schedule, rank: int, step: int, message: str) -> None:
    raise ScheduleError(f"schedule '{schedule.name}': {message}\n  {schedule.excerpt(rank, step)}")


def _fail_at(program: Program, rank: int, instruction: tuple[Op, object], message: str) -> None:
    code = program.instructions[rank]
    step = sum(1 for op, _ in code[: code.index(instruction)] if op is Op.RUN)
    _fail(
        program.schedule,
        rank,
        step,
        f"rank {rank}, step {step}, {instruction[0]} {instruction[1]}: {message}",
    )
