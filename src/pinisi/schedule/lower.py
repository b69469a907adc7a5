"""Turns a table into one static program per rank.

Where things go, and why:
- SEND and LAUNCH right after the pass whose result they carry.
- RECEIVE before the pass ahead of its consumer, and further ahead if that pass is a short one: with
  rendezvous sends a message moves only once it is posted, so it must be posted a whole F or BW before it is
  needed. Two ranks' messages of one channel are received in the order in which they are sent.
- C0's LAUNCH on the other ranks (they only receive) likewise, but no later than the first rank's S, by the
  table's own timing, and never so late that it holds up a collective behind it in the global order: what this
  rank runs before its LAUNCH must not wait for what another runs after its S.
- WAIT just before the consumer. With 1 barrier WAIT(C1), LAUNCH(U) come at the first gap between passes at
  which C1 is complete by the table's own timing: earlier would hold the rank until the slowest S is done,
  later would hold the last rank's BW.
- The global order of collectives is that of the times at which their last rank can launch them when the
  table is run with nominal costs. Every consumer runs after that time on every rank, and each rank can have
  launched all earlier ones by then; so the order can't deadlock and holds up no rank that the table itself
  doesn't.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from pinisi.schedule.collector import collector_paused
from pinisi.schedule.costs import NOMINAL, Costs
from pinisi.schedule.needs import Channel, needs
from pinisi.schedule.program import Instruction, Message, MessageChannel, Op, Program
from pinisi.schedule.replay import Replay, replay
from pinisi.schedule.table import Kind, Layout, Pass, Schedule

_LONG = frozenset((Kind.F, Kind.B, Kind.W, Kind.BW))
_BACKWARD = frozenset((MessageChannel.U, MessageChannel.C2))
_P2P = {
    Channel.ACTIVATION: MessageChannel.ACTIVATION,
    Channel.GRADIENT: MessageChannel.GRADIENT,
    Channel.EMBEDDING: MessageChannel.EMBEDDING,
    Channel.EMBEDDING_GRADIENT: MessageChannel.EMBEDDING_GRADIENT,
}


_MADE = "_program"


@dataclass
class _Slot:
    """What a rank does between two passes."""

    receives: list[Message] = field(default_factory=list)
    sends: list[Message] = field(default_factory=list)
    launches: list[Message] = field(default_factory=list)
    waits: list[Message] = field(default_factory=list)


def lower(schedule: Schedule, costs: Costs | None = None) -> Program:
    """Lower a table; raises ScheduleError for an order in which passes wait for one another.

    costs: by which the order of collectives and U's place are chosen (else the schedule's own, else nominal
    ones); any costs give a program that runs.
    """
    if costs is not None:
        return _lowered(schedule, costs)
    made = schedule.__dict__.get(_MADE)  # a table never changes, so its program is made once
    if made is None:
        made = _lowered(schedule, schedule.costs or NOMINAL)
        schedule.__dict__[_MADE] = made
    return made


@collector_paused()
def _lowered(schedule: Schedule, costs: Costs) -> Program:
    clock = replay(schedule, costs.positive(schedule.layout))
    slots = [[_Slot() for _ in range(len(passes) + 1)] for passes in schedule.order]
    step = {p: at for _, at, p in schedule.passes()}
    _point_to_point(schedule, slots, step)
    collectives = _collectives(schedule, slots, step, clock)
    programs = tuple(_flatten(slots[rank], passes) for rank, passes in enumerate(schedule.order))
    return Program(schedule, programs, collectives)


def _ahead(passes: tuple[Pass, ...]) -> list[int]:
    """For each step the slot a long pass ahead of it (slot k comes before pass k)."""
    slots, latest = [], 0
    for step, p in enumerate(passes):
        slots.append(latest)
        if p.kind in _LONG:
            latest = step
    return slots


def _point_to_point(schedule: Schedule, slots: list[list[_Slot]], step: dict[Pass, int]) -> None:
    """Add every send, receive and wait between two ranks."""
    receives: dict[tuple[MessageChannel, int, int], list[tuple[int, int, Message]]] = defaultdict(list)
    ahead = [_ahead(passes) for passes in schedule.order]
    for rank, at, p in schedule.passes():
        for need in needs(p, schedule.layout):
            for source in need.sources if need.via in _P2P else ():
                sender = schedule.layout.rank_of(source)
                if sender == rank:
                    continue
                if source not in step:  # a gradient's source is named B where the table may hold BW
                    source = Pass(Kind.BW, source.part, source.microbatch)
                stage = p.part if need.via in (Channel.ACTIVATION, Channel.GRADIENT) else 0
                message = Message(_P2P[need.via], p.microbatch, sender, rank, stage)
                slots[sender][step[source] + 1].sends.append(message)
                slots[rank][at].waits.append(message)
                receives[message.channel, sender, rank].append((step[source], ahead[rank][at], message))
    for (_, _, rank), posts in receives.items():
        _receive(slots[rank], posts)


def _receive(slots: list[_Slot], posts: list[tuple[int, int, Message]]) -> None:
    """Post one channel's receives in the order of its sends, none later than one that is sent after it."""
    posts.sort()
    bound = len(slots)
    placed = []
    for _, slot, message in reversed(posts):
        bound = min(bound, slot)
        placed.append((bound, message))
    for slot, message in reversed(placed):
        slots[slot].receives.append(message)


def _collectives(
    schedule: Schedule, slots: list[list[_Slot]], step: dict[Pass, int], clock: Replay
) -> tuple[Message, ...]:
    """Add the launches and waits of C0, C1, U and C2; returns their global order."""
    layout = schedule.layout
    if not layout.barriers:
        return ()
    starts = [[clock.start[p] for p in passes] for passes in schedule.order]
    ahead = [_ahead(passes) for passes in schedule.order]
    earliest: dict[Message, list[int]] = {}  # the slot at which each rank has what the collective carries
    ready: dict[Message, float] = {}
    for i in range(schedule.microbatches):
        first_s = min(clock.start[Pass(Kind.S, rank, i)] for rank in range(layout.ranks))
        for message in _of_microbatch(layout, i):
            if message.channel in _BACKWARD and Pass(Kind.T, 0, i) not in step:
                continue  # evaluation has neither T nor B
            slot = [
                _earliest(schedule, step, ahead, clock, starts, message, rank, first_s)
                for rank in range(layout.ranks)
            ]
            earliest[message] = slot
            ready[message] = max(
                clock.end[passes[at - 1]] if at else 0.0
                for rank, (passes, at) in enumerate(zip(schedule.order, slot, strict=True))
                if message.channel is not MessageChannel.C0 or rank == layout.last_rank
            )
    depth = {MessageChannel.C0: 0, MessageChannel.C1: 1, MessageChannel.U: 2, MessageChannel.C2: 2}
    order = sorted(earliest, key=lambda message: (ready[message], message.microbatch, depth[message.channel]))
    for rank in range(layout.ranks):
        _launch(rank, layout, slots[rank], order, {m: earliest[m][rank] for m in order})
        _await(rank, layout, slots[rank], schedule.order[rank])
    return tuple(order)


def _of_microbatch(layout: Layout, i: int) -> list[Message]:
    last = layout.last_rank
    second = MessageChannel.U if layout.barriers == 1 else MessageChannel.C2
    return [
        Message(MessageChannel.C0, i, last, -1),
        Message(MessageChannel.C1, i, -1, -1),
        Message(second, i, -1, last),
    ]


def _earliest(
    schedule: Schedule,
    step: dict[Pass, int],
    ahead: list[list[int]],
    clock: Replay,
    starts: list[list[float]],
    message: Message,
    rank: int,
    first_s: float,
) -> int:
    """The slot from which a rank can launch a collective; first_s: when the microbatch's first S starts."""
    layout, i = schedule.layout, message.microbatch
    match message.channel:
        case MessageChannel.C0:
            if rank == layout.last_rank:
                return step[Pass(Kind.F, layout.last_stage, i)] + 1
            return min(ahead[rank][step[Pass(Kind.S, rank, i)]], bisect_left(starts[rank], first_s))
        case MessageChannel.C1:
            return step[Pass(Kind.S, rank, i)] + 1
        case MessageChannel.C2:
            return step[Pass(Kind.T, rank, i)] + 1
        case _:
            # U: the first gap at which C1 is complete, no later than before T(i) and the last stage's B.
            slot = bisect_left(starts[rank], clock.ready[Channel.C1, i])
            return min(slot, *(step[p] for p in _takers(schedule, step, rank, i)))


def _takers(schedule: Schedule, step: dict[Pass, int], rank: int, i: int) -> list[Pass]:
    """The passes of a rank before which U(i) must have been launched."""
    takers = [Pass(Kind.T, rank, i)]
    if rank == schedule.layout.last_rank:
        takers += [Pass(kind, schedule.layout.last_stage, i) for kind in (Kind.B, Kind.BW)]
    return [p for p in takers if p in step] * 2  # twice: min() wants at least two


def _launch(
    rank: int, layout: Layout, slots: list[_Slot], order: list[Message], at: dict[Message, int]
) -> None:
    """Place the launches in the global order, none before the rank has what it carries."""
    bound = len(slots) - 1
    for message in reversed(order):  # a rank that only receives must not hold up what comes behind
        if message.channel is MessageChannel.C0 and rank != layout.last_rank:
            at[message] = min(at[message], bound)
        bound = min(bound, at[message])
    now = 0
    for message in order:
        now = max(now, at[message])
        slots[now].launches.append(message)


def _await(rank: int, layout: Layout, slots: list[_Slot], passes: tuple[Pass, ...]) -> None:
    """Wait for a collective just before its consumer."""
    for at, p in enumerate(passes):
        first, gathered, second = _of_microbatch(layout, p.microbatch)
        if p.kind is Kind.S:
            slots[at].waits.append(first)
        elif p.kind is Kind.T:
            slots[at].waits.append(gathered)
        elif p.kind in (Kind.B, Kind.BW) and p.part == layout.last_stage:
            slots[at].waits.append(second)


def _flatten(slots: list[_Slot], passes: tuple[Pass, ...]) -> tuple[Instruction, ...]:
    """Each message is waited for once: C1 by what comes first, U's launch or T."""
    result: list[Instruction] = []
    waited: set[Message] = set()

    def wait(message: Message) -> None:
        if message not in waited:
            waited.add(message)
            result.append(Instruction(Op.WAIT, message))

    for at, slot in enumerate(slots):
        result += [Instruction(Op.RECEIVE, message) for message in slot.receives]
        result += [Instruction(Op.SEND, message) for message in slot.sends]
        for message in slot.launches:
            if message.channel is MessageChannel.U:
                wait(Message(MessageChannel.C1, message.microbatch, -1, -1))
            result.append(Instruction(Op.LAUNCH, message))
        for message in slot.waits:
            wait(message)
        if at < len(passes):
            result.append(Instruction(Op.RUN, passes[at]))
    return tuple(result)
