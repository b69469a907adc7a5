"""Turns a table into one static program per rank.

Where things go, and why:
- SEND and LAUNCH right after the pass whose result they carry.
- RECEIVE before the pass ahead of its consumer, and further ahead if that pass is a short one: with
  rendezvous sends a message moves only once it is posted, so it must be posted a whole F or BW before it is
  needed. Two ranks' messages of one channel are received in the order in which they are sent.
- C0's LAUNCH on the other ranks (they only receive) likewise, but no later than the first rank's S, by the
  table's own timing, and never so late that it holds up a collective behind it in the global order: what this
  rank runs before its LAUNCH must not wait for what another runs after its S.
- WAIT just before the consumer.
- With 1 barrier LAUNCH(U) right behind LAUNCH(C1). It holds up nobody: what U sends is made from C1 beside the passes, on a
  stream or a thread of its own, and goes as soon as C1 is complete.
- The global order of collectives is that of the times at which their last rank can launch them when the
  table is run with nominal costs. Every consumer runs after that time on every rank, and each rank can have
  launched all earlier ones by then; so the order can't deadlock and holds up no rank that the table itself
  doesn't.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from pinisi.schedule.collector import collector_paused
from pinisi.schedule.costs import NOMINAL, Costs
from pinisi.schedule.encoding import LAUNCH, RECEIVE, RUN, SEND, SHIFT, WAIT, Code, Encoding, encoding_of
from pinisi.schedule.graph import GROUPS
from pinisi.schedule.program import Message, MessageChannel, Program
from pinisi.schedule.recent import Recent
from pinisi.schedule.replay import Replay, replay
from pinisi.schedule.table import Kind, Schedule

_LONG = frozenset((Kind.F, Kind.B, Kind.W, Kind.BW))
_ABSENT = -1
_C0, _C1, _SECOND = range(len(GROUPS))
Slots = defaultdict[int, list[int]]  # numbers of messages; slot k comes before pass k


def lower(schedule: Schedule, costs: Costs | None = None) -> Program:
    """Lower a table; raises ScheduleError for an order in which passes wait for one another.

    costs: by which the order of collectives is chosen (else the schedule's own, else nominal ones); any costs
    give a program that runs.
    """
    return _recent(schedule) if costs is None else _lowered(schedule, costs)


@collector_paused()
def _lowered(schedule: Schedule, costs: Costs) -> Program:
    clock = replay(schedule, costs.positive(schedule.layout))
    encoding = encoding_of(schedule.layout, schedule.microbatches)
    ranks = [_Rank(encoding, row) for row in clock.rows]
    step = [_ABSENT] * len(clock.started)  # by number
    for row in clock.rows:
        for at, p in enumerate(row):
            step[p] = at
    _point_to_point(encoding, ranks, step)
    collectives: tuple[Message, ...] = ()
    if schedule.layout.barriers:
        order = _Collectives(encoding, ranks, step, clock).place()
        collectives = tuple(encoding.what(number) for number in order)  # type: ignore[misc]
    return Program(schedule, Code(encoding, [rank.flat() for rank in ranks]), collectives)


def _own(schedule: Schedule) -> Program:
    return _lowered(schedule, schedule.costs or NOMINAL)


_recent = Recent(_own)


class _Rank:
    """What a rank does between its passes, by slot. ahead[step]: the slot a long pass ahead of that step."""

    def __init__(self, encoding: Encoding, row: list[int]) -> None:
        self.encoding, self.row = encoding, row
        self.receives: Slots = defaultdict(list)
        self.sends: Slots = defaultdict(list)
        self.launches: Slots = defaultdict(list)
        self.waits: Slots = defaultdict(list)
        m, self.ahead, latest = encoding.microbatches, [], 0
        long = [kind in _LONG for kind, _ in encoding.graph.types]
        for step, p in enumerate(row):
            self.ahead.append(latest)
            if long[p // m]:
                latest = step

    def flat(self) -> list[int]:
        receives, sends, launches, waits = self.receives, self.sends, self.launches, self.waits
        result: list[int] = []
        for at in range(len(self.row) + 1):
            if at in receives:
                result += [message << SHIFT | RECEIVE for message in receives[at]]
            if at in sends:
                result += [message << SHIFT | SEND for message in sends[at]]
            if at in launches:
                result += [message << SHIFT | LAUNCH for message in launches[at]]
            if at in waits:
                result += [message << SHIFT | WAIT for message in waits[at]]
            if at < len(self.row):
                result.append(self.row[at] << SHIFT | RUN)
        return result


def _point_to_point(encoding: Encoding, ranks: list[_Rank], step: list[int]) -> None:
    """Add every send, receive and wait between two ranks."""
    m, receiver = encoding.microbatches, encoding.graph.rank
    sent = [[(feed.target * m, receiver[feed.target], t * m) for feed, t in row] for row in encoding.sent]
    posts: dict[tuple[MessageChannel, int, int], list[tuple[int, int]]] = defaultdict(list)
    channel = [(message.channel, message.source, message.target) for message in encoding.messages]
    for rank in ranks:
        for at, p in enumerate(rank.row):
            t, i = divmod(p, m)
            for target, to, first in sent[t]:
                taken = step[target + i]
                if taken == _ABSENT:  # of B and BW the table holds one
                    continue
                rank.sends[at + 1].append(first + i)
                ranks[to].waits[taken].append(first + i)
                posts[channel[first // m - encoding.first_message]].append(
                    (ranks[to].ahead[taken], first + i)
                )
    for (_, _, to), posted in posts.items():
        _receive(ranks[to], posted)


def _receive(rank: _Rank, posts: list[tuple[int, int]]) -> None:
    """Post one channel's receives in the order of its sends, none later than one that is sent after it."""
    bound = len(rank.row) + 1
    placed = []
    for slot, message in reversed(posts):
        bound = min(bound, slot)
        placed.append((bound, message))
    for slot, message in reversed(placed):
        rank.receives[slot].append(message)


class _Collectives:
    """Places the launches and waits of C0, C1, U and C2."""

    def __init__(self, encoding: Encoding, ranks: list[_Rank], step: list[int], clock: Replay) -> None:
        self.layout, self.microbatches, self.ranks = encoding.graph.layout, encoding.microbatches, ranks
        self._number, self._step, self._clock = encoding.graph.number, step, clock
        self._starts = [[clock.started[p] for p in row] for row in clock.rows]
        self._ends = [[0.0, *(clock.ended[p] for p in row)] for row in clock.rows]  # by slot
        last = self.layout.last_stage
        self._s = [self._first(Kind.S, rank) for rank in range(self.layout.ranks)]
        self._t = [self._first(Kind.T, rank) for rank in range(self.layout.ranks)]
        self._f, self._b = self._first(Kind.F, last), (self._first(Kind.B, last), self._first(Kind.BW, last))
        # Numbers of C0, C1, and U or C2, by microbatch; the clock has them by its own, which are the same.
        self._groups = [(encoding.first_message + k) * self.microbatches for k in (_C0, _C1, _SECOND)]

    def _first(self, kind: Kind, part: int) -> int:
        return self._number[kind, part] * self.microbatches

    def place(self) -> list[int]:
        """Returns the global order."""
        at: dict[int, list[int]] = {}  # the slot from which each rank can launch it
        keys: list[tuple[float, int, int, int]] = []
        for i in range(self.microbatches):
            slots = (self._broadcast(i), [self._step[s + i] + 1 for s in self._s], self._second(i))
            for depth, (group, slot) in enumerate(zip(self._groups, slots, strict=True)):
                if slot is None:
                    continue  # evaluation has neither T nor B
                at[group + i] = slot
                launching = (self.layout.last_rank,) if depth == _C0 else range(self.layout.ranks)
                keys.append((max(self._ends[rank][slot[rank]] for rank in launching), i, depth, group + i))
        order = [number for *_, number in sorted(keys)]
        for rank in range(self.layout.ranks):
            self._launch(rank, order, [at[number][rank] for number in order])
            self._await(rank)
        return order

    def _broadcast(self, i: int) -> list[int]:
        """C0: behind the last F; the other ranks only receive: a long pass ahead of S, no later than the first S."""
        started = self._clock.started
        first = min(started[s + i] for s in self._s)
        slots = [
            min(rank.ahead[self._step[s + i]], bisect_left(starts, first))
            for s, rank, starts in zip(self._s, self.ranks, self._starts, strict=True)
        ]
        slots[self.layout.last_rank] = self._step[self._f + i] + 1
        return slots

    def _second(self, i: int) -> list[int] | None:
        """C2 behind T; U behind C1, so behind S."""
        if self._step[self._t[0] + i] == _ABSENT:
            return None
        before = self._t if self.layout.barriers == 2 else self._s
        return [self._step[p + i] + 1 for p in before]

    def _launch(self, rank: int, order: list[int], slots: list[int]) -> None:
        """Launches in the global order, none before the rank has what it carries."""
        bound = len(self.ranks[rank].row)
        receives = rank != self.layout.last_rank  # C0: it must not hold up what comes behind
        c0, m = self._groups[_C0], self.microbatches
        for at in reversed(range(len(order))):
            if receives and c0 <= order[at] < c0 + m:
                slots[at] = min(slots[at], bound)
            bound = min(bound, slots[at])
        now, launches = 0, self.ranks[rank].launches
        for message, slot in zip(order, slots, strict=True):
            now = max(now, slot)
            launches[now].append(message)

    def _await(self, rank: int) -> None:
        """Wait for a collective just before its consumer."""
        waits, m = self.ranks[rank].waits, self.microbatches
        awaited = {self._s[rank]: _C0, self._t[rank]: _C1}
        if rank == self.layout.last_rank:
            awaited |= dict.fromkeys(self._b, _SECOND)
        groups = {first // m: self._groups[depth] for first, depth in awaited.items()}
        for at, p in enumerate(self.ranks[rank].row):
            t, i = divmod(p, m)
            if t in groups:
                waits[at].append(groups[t] + i)
