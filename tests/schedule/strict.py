"""Independent references: who waits for whom, written out by hand, and a strict runtime of programs.

Nothing here is shared with `needs`. A quantity is what a pass makes or what a collective gives, named (letter or
channel, part, microbatch); BW makes B and W.
"""

import random
from functools import cache

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Layout, Message, Op, Pass, Program, Schedule

Quantity = tuple[str, int, int]
Shape = tuple[int, int, int]  # last stage, ranks, barriers

COLLECTIVES = ("C0", "C1", "U", "C2")


def accepts(check, what) -> bool:
    """Whether a check, such as verify, lets it through."""
    try:
        check(what)
    except ScheduleError:
        return False
    return True


def shape_of(layout: Layout) -> Shape:
    return sum(map(len, layout.stages)) - 1, len(layout.stages), layout.barriers


@cache
def eats(quantity: Quantity, shape: Shape) -> list[Quantity]:
    """What a pass reads, and what a collective is made of."""
    (letter, part, i), (last, ranks, barriers) = quantity, shape
    match letter:
        case "E":
            return []
        case "F" if part:
            return [("F", part - 1, i)]
        case "F":
            return [("E", rank, i) for rank in range(ranks)] if barriers else []
        case "S":
            return [("C0", 0, i)]
        case "T":
            return [("S", part, i), ("C1", 0, i)]
        case "B":
            stash = ("F", part, i)
            if part < last:
                return [stash, ("B", part + 1, i)]
            return [stash, ("U" if barriers == 1 else "C2", 0, i)] if barriers else [stash]
        case "W":
            return [("F", part, i), ("B", part, i)]
        case "G":
            return [("B", 0, i)]
        case "C0":
            return [("F", last, i)]
        case "C1":
            return [("S", rank, i) for rank in range(ranks)]
        case "U":
            return [("S", rank, i) for rank in range(ranks)] + [("C1", 0, i)]
        case "C2":
            return [("T", rank, i) for rank in range(ranks)]
    raise AssertionError(quantity)


def letters(p: Pass) -> list[Quantity]:
    """What a pass makes."""
    return [(letter, p.part, p.microbatch) for letter in str(p.kind)]


@cache
def _waits_for(quantity: Quantity, shape: Shape) -> frozenset[Quantity]:
    """The same with passes alone: collectives are instant."""
    found: set[Quantity] = set()
    for source in eats(quantity, shape):
        found |= _waits_for(source, shape) if source[0] in COLLECTIVES else {source}
    return frozenset(found)


@cache
def waits_for(p: Pass, shape: Shape) -> frozenset[Quantity]:
    """All that must be done before p; nothing of its own."""
    made = letters(p)
    return frozenset().union(*(_waits_for(quantity, shape) for quantity in made)) - set(made)


def table_runs(schedule: Schedule) -> bool:
    """Whether ranks that run their rows in order, with instant messages, all come to the end."""
    shape = shape_of(schedule.layout)
    rows = [[(waits_for(p, shape), letters(p)) for p in row] for row in schedule.order]
    at, done, moved = [0] * len(rows), set(), True
    while moved:
        moved = False
        for rank, row in enumerate(rows):
            start = at[rank]
            while at[rank] < len(row) and row[at[rank]][0] <= done:
                done.update(row[at[rank]][1])
                at[rank] += 1
            moved |= at[rank] > start
    return all(a == len(row) for a, row in zip(at, rows, strict=True))


@cache
def truth(quantity: Quantity, shape: Shape) -> int:
    """The value that a step without ranks and messages has for it."""
    return value(quantity, tuple(truth(source, shape) for source in eats(quantity, shape)))


def value(quantity: Quantity, read: tuple[int, ...]) -> int:
    return hash((quantity, read))


class Corrupt(Exception):
    """Something was used before it was there."""


class Strict:
    """A thread per rank. The k-th send between two ranks on a channel meets the k-th receive, and arrives once both
    are posted (rendezvous). Collectives of all channels share one communicator: the k-th launch of every rank
    must be the same one, and is through once all ranks have launched it and all before it. A WAIT blocks.

    Data has values: what a pass makes depends on what it reads, so that a mix-up shows in the end.
    `draw`: threads take turns at random, an instruction at a time (else each goes as far as it can).
    """

    def __init__(self, program: Program, draw: random.Random | None = None) -> None:
        self.program, self.shape, self.draw = program, shape_of(program.schedule.layout), draw
        self.ranks, self.root = self.shape[1], program.schedule.layout.last_rank
        self.at = [0] * self.ranks
        self.there: list[dict[Quantity, int]] = [{} for _ in range(self.ranks)]
        self.sent: dict[tuple, list[tuple[Message, int]]] = {}
        self.received: dict[tuple, int] = {}
        self.launches: list[tuple[Message, list[int]]] = []  # the one communicator: what, and parts by rank
        self.launched = [0] * self.ranks
        self.mixed = False  # two ranks' k-th launches differ: nothing is through from there on
        self.tickets: list[dict[Message, int]] = [{} for _ in range(self.ranks)]
        self.ran: dict[Quantity, int] = {}

    def runs(self) -> bool:
        return self.verdict() == "ran"

    def verdict(self) -> str:
        """'ran', 'hang', 'corrupt', or 'incomplete' where all is well but passes of the table never ran."""
        code = self.program.instructions
        try:
            while any([self._advance(rank) for rank in self._turns()]):
                pass
            if any(a < len(row) for a, row in zip(self.at, code, strict=True)) or not self._all_through():
                return "hang"
        except Corrupt:
            return "corrupt"
        if any(found != truth(quantity, self.shape) for quantity, found in self.ran.items()):
            return "corrupt"
        wanted = [quantity for _, _, p in self.program.schedule.passes() for quantity in letters(p)]
        return "ran" if all(quantity in self.ran for quantity in wanted) else "incomplete"

    def _turns(self) -> list[int]:
        ranks = list(range(self.ranks))
        if self.draw is not None:
            self.draw.shuffle(ranks)
        return ranks

    def _advance(self, rank: int) -> bool:
        code, at = self.program.instructions[rank], self.at[rank]
        end = len(code) if self.draw is None else min(len(code), at + 1)
        start = at
        while at < end:
            op, what = code[at]
            if op is Op.RUN:
                for quantity in letters(what):
                    made = value(quantity, self._read(rank, eats(quantity, self.shape)))
                    self.there[rank][quantity] = self.ran[quantity] = made
            elif op is Op.WAIT:
                if not self._arrived(rank, what):
                    break
            else:
                self._post(rank, op, what)
            at += 1
        self.at[rank] = at
        return at > start

    def _read(self, rank: int, quantities: list[Quantity]) -> tuple[int, ...]:
        there = self.there[rank]
        try:
            return tuple([there[quantity] for quantity in quantities])
        except KeyError:
            raise Corrupt from None

    def _post(self, rank: int, op: Op, message: Message) -> None:
        channel, _, source, target, _ = message
        if op is Op.LAUNCH:
            self._launch(rank, message)
            return
        pair = channel, source, target
        if rank != (source if op is Op.SEND else target):
            raise Corrupt
        if op is Op.SEND:
            (payload,) = self._read(rank, [brings(message)])
            self.sent.setdefault(pair, []).append((message, payload))
        else:
            self.tickets[rank][message] = self.received.get(pair, 0)
            self.received[pair] = self.received.get(pair, 0) + 1

    def _launch(self, rank: int, message: Message) -> None:
        k = self.tickets[rank][message] = self.launched[rank]
        self.launched[rank] += 1
        if k == len(self.launches):
            self.launches.append((message, [0] * self.ranks))
        known, parts = self.launches[k]
        self.mixed |= known != message
        channel, i = message.channel, message.microbatch
        if channel == "C0":
            reads = eats(("C0", 0, i), self.shape) if rank == self.root else []
        elif channel == "U":
            reads = [("S", rank, i)]
            if not any((known.channel, known.microbatch) == ("C1", i) for known, _ in self.launches[:k]):
                raise Corrupt
        else:
            reads = [("S" if channel == "C1" else "T", rank, i)]
        parts[rank] = self._read(rank, reads)

    def _through(self, rank: int, message: Message, k: int) -> bool:
        if message.channel in COLLECTIVES:
            return not self.mixed and min(self.launched) > k
        pair = message.channel, message.source, message.target
        return len(self.sent.get(pair, ())) > k and self.received[pair] > k

    def _all_through(self) -> bool:
        """Nothing that was posted is left over, on either side."""
        counts = {pair: len(sent) for pair, sent in self.sent.items()}
        return not self.mixed and len(set(self.launched)) == 1 and counts == self.received

    def _arrived(self, rank: int, message: Message) -> bool:
        k = self.tickets[rank].get(message)
        if k is None:
            raise Corrupt  # waited for, but never posted, or waited for twice
        if not self._through(rank, message, k):
            return False
        del self.tickets[rank][message]
        if message.channel in COLLECTIVES:
            if message.channel in ("C0", "C1") or rank == self.root:
                self.there[rank][str(message.channel), 0, message.microbatch] = self._result(k)
        else:
            pair = message.channel, message.source, message.target
            self.there[rank][brings(message)] = self.sent[pair][k][1]
        return True

    def _result(self, k: int) -> int:
        """What a collective gives: the root's alone, or that of all ranks."""
        (channel, i, *_), parts = self.launches[k]
        if channel == "C0":
            read = parts[self.root]
        elif channel == "U":  # chained behind C1, which came before it on the one communicator
            gathered = next(at for at, (known, _) in enumerate(self.launches) if known[:2] == ("C1", i))
            read = (*(part[0] for part in parts), self._result(gathered))
        else:
            read = tuple(part[0] for part in parts)
        return value((str(channel), 0, i), read)


def brings(message: Message) -> Quantity:
    """What a message between two ranks carries."""
    channel, i, source, _, stage = message
    match channel:
        case "ACTIVATION":
            return "F", stage - 1, i
        case "GRADIENT":
            return "B", stage + 1, i
        case "EMBEDDING":
            return "E", source, i
        case "EMBEDDING_GRADIENT":
            return "B", 0, i
    raise Corrupt
