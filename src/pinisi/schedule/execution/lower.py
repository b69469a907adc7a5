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

from collections import defaultdict

import numpy as np

from pinisi.schedule.costs import NOMINAL, Costs
from pinisi.schedule.encoding import LAUNCH, RECEIVE, RUN, SEND, SHIFT, WAIT, Code, Encoding, encoding_of
from pinisi.schedule.execution.replay import Replay, replay
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.graph import GROUPS
from pinisi.schedule.identity_cache import IdentityCache
from pinisi.schedule.program import Message, MessageChannel, Program
from pinisi.schedule.table import Kind, Schedule

_LONG = frozenset((Kind.F, Kind.B, Kind.W, Kind.BW))
_ABSENT = -1
_C0, _C1, _SECOND = range(len(GROUPS))
_IN_SLOT = (
    RECEIVE,
    SEND,
    LAUNCH,
    WAIT,
    RUN,
)  # what comes first in a slot; slot k comes before pass k, with it


def lower(schedule: Schedule, costs: Costs | None = None) -> Program:
    """Lower a table; raises ScheduleError for an order in which passes wait for one another.

    costs: by which the order of collectives is chosen (else the schedule's own, else nominal ones); any costs
    give a program that runs.
    """
    return _recent(schedule) if costs is None else _lowered(schedule, costs)


@gc_disabled()
def _lowered(schedule: Schedule, costs: Costs) -> Program:
    clock = replay(schedule, costs.positive(schedule.layout))
    encoding = encoding_of(schedule.layout, schedule.microbatches)
    ranks = [_Rank(encoding, row) for row in clock.rows]
    flat = np.full(len(clock.started), _ABSENT)
    for rank in ranks:
        flat[rank.row] = np.arange(len(rank.row))
    step = flat.reshape(-1, schedule.microbatches)
    _point_to_point(encoding, ranks, step)
    collectives: tuple[Message, ...] = ()
    if schedule.layout.barriers:
        order = _Collectives(encoding, ranks, step, clock).place()
        collectives = tuple(encoding.what(number) for number in order)  # type: ignore[misc]
    return Program(schedule, Code(encoding, [rank.flat() for rank in ranks]), collectives)


def _own(schedule: Schedule) -> Program:
    return _lowered(schedule, schedule.costs or NOMINAL)


_recent = IdentityCache(_own)


class _Rank:
    """What a rank does, by slot. row: numbers of its passes; ahead[step]: the slot a long pass ahead of that step."""

    def __init__(self, encoding: Encoding, row: list[int]) -> None:
        self.row = np.array(row, dtype=np.int64)
        long = np.array([kind in _LONG for kind, _ in encoding.graph.types])
        steps = np.arange(len(row))
        latest = np.maximum.accumulate(np.where(long[self.row // encoding.microbatches], steps, 0))
        self.ahead = np.concatenate(([0], latest[:-1]))[: len(row)]
        self._keys: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        self.add(RUN, steps, self.row)

    def add(self, op: int, slots: np.ndarray, numbers: np.ndarray) -> None:
        """Instructions of one kind; those of one slot are given in their order."""
        self._keys.append(slots * len(_IN_SLOT) + _IN_SLOT.index(op))
        self._codes.append(numbers << SHIFT | op)

    def flat(self) -> list[int]:
        order = np.argsort(np.concatenate(self._keys), kind="stable")
        return np.concatenate(self._codes)[order].tolist()


def _point_to_point(encoding: Encoding, ranks: list[_Rank], step: np.ndarray) -> None:
    """Add every send, receive and wait between two ranks. step: [type, microbatch]."""
    m, rank_of = encoding.microbatches, encoding.graph.rank
    posts: dict[tuple[MessageChannel, int, int], list[np.ndarray]] = defaultdict(list)
    for t, sent in enumerate(encoding.sent):
        for feed, message in sent:
            # Of B and BW the table holds one.
            there = np.flatnonzero((step[t] != _ABSENT) & (step[feed.target] != _ABSENT))
            made, taken, numbers = step[t][there], step[feed.target][there], message * m + there
            sender, receiver = ranks[rank_of[t]], ranks[rank_of[feed.target]]
            sender.add(SEND, made + 1, numbers)
            receiver.add(WAIT, taken, numbers)
            channel, _, source, target, _ = encoding.messages[message - encoding.first_message]
            posts[channel, source, target].append(np.stack((made, receiver.ahead[taken], numbers)))
    for (_, _, to), each in posts.items():
        _receive(ranks[to], np.concatenate(each, axis=1))


def _receive(rank: _Rank, posts: np.ndarray) -> None:
    """Post one channel's receives in the order of its sends, none later than one that is sent after it.

    posts: [3, messages], the step that makes a message, the slot at which it is wanted, its number.
    """
    _, slots, numbers = posts[:, np.argsort(posts[0], kind="stable")]
    rank.add(RECEIVE, _bounded(slots), numbers)


def _bounded(slots: np.ndarray) -> np.ndarray:
    """None later than one behind it."""
    return np.minimum.accumulate(slots[::-1])[::-1]


class _Collectives:
    """Places the launches and waits of C0, C1, U and C2. All arrays by microbatch, or [ranks, microbatches]."""

    def __init__(self, encoding: Encoding, ranks: list[_Rank], step: np.ndarray, clock: Replay) -> None:
        self.layout, self.microbatches, self.ranks = encoding.graph.layout, encoding.microbatches, ranks
        self._number, self._step = encoding.graph.number, step
        self._started = np.array(clock.started)
        ended = np.array(clock.ended)
        self._starts = [self._started[rank.row] for rank in ranks]
        self._ends = [np.concatenate(([0.0], ended[rank.row])) for rank in ranks]  # by slot
        self._s, self._t = self._shards(Kind.S), self._shards(Kind.T)
        # Numbers of C0, C1, and U or C2; the clock has them by its own, which are the same.
        self._groups = [(encoding.first_message + k) * self.microbatches for k in (_C0, _C1, _SECOND)]

    def _shards(self, kind: Kind) -> slice:
        """The rows of `step` that hold a kind of pass on all ranks."""
        first = self._number[kind, 0]
        return slice(first, first + self.layout.ranks)

    def place(self) -> list[int]:
        """Returns the global order."""
        everything, last = range(self.layout.ranks), self.layout.last_rank
        slots = [
            self._broadcast(),
            self._step[self._s] + 1,
            self._second(),
        ]  # from which each rank can launch it
        present = [True, True, self._step[self._t][0] != _ABSENT]  # evaluation has neither T nor B
        columns = []
        for depth, (at, there) in enumerate(zip(slots, present, strict=True)):
            launching = (last,) if depth == _C0 else everything
            times = np.max([self._ends[rank][at[rank]] for rank in launching], axis=0)
            i = np.flatnonzero(np.broadcast_to(there, self.microbatches))
            columns.append(np.stack((times[i], i, np.full(len(i), depth))))
        time, i, depth = np.concatenate(columns, axis=1)
        chosen = np.lexsort((depth, i, time))
        i, depth = i[chosen].astype(int), depth[chosen].astype(int)
        order = np.array(self._groups)[depth] + i
        for rank in everything:
            self._launch(rank, order, depth == _C0, np.stack([at[rank] for at in slots])[depth, i])
            self._await(rank)
        return order.tolist()

    def _broadcast(self) -> np.ndarray:
        """C0: behind the last F; the other ranks only receive: a long pass ahead of S, no later than the first S."""
        s, m = self._step[self._s], self.microbatches
        first = self._started.reshape(-1, m)[self._s].min(axis=0)
        slots = np.stack(
            [
                np.minimum(rank.ahead[mine], np.searchsorted(starts, first))
                for mine, rank, starts in zip(s, self.ranks, self._starts, strict=True)
            ]
        )
        slots[self.layout.last_rank] = self._step[self._number[Kind.F, self.layout.last_stage]] + 1
        return slots

    def _second(self) -> np.ndarray:
        """C2 behind T; U behind C1, so behind S."""
        return self._step[self._t if self.layout.barriers == 2 else self._s] + 1

    def _launch(self, rank: int, order: np.ndarray, c0: np.ndarray, slots: np.ndarray) -> None:
        """Launches in the global order, none before the rank has what it carries."""
        if rank != self.layout.last_rank:  # it only receives C0, which must not hold up what comes behind
            slots = np.where(c0, _bounded(slots), slots)
        self.ranks[rank].add(LAUNCH, np.maximum.accumulate(slots), order)

    def _await(self, rank: int) -> None:
        """Wait for a collective just before its consumer."""
        awaited = [(Kind.S, rank, _C0), (Kind.T, rank, _C1)]
        if rank == self.layout.last_rank:
            awaited += [(kind, self.layout.last_stage, _SECOND) for kind in (Kind.B, Kind.BW)]
        for kind, part, depth in awaited:
            step = self._step[self._number[kind, part]]
            i = np.flatnonzero(step != _ABSENT)
            self.ranks[rank].add(WAIT, step[i], self._groups[depth] + i)
