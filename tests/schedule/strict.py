"""Independent references: dependencies written out by hand, and a strict interpreter of programs."""

from pinisi.schedule import Kind, Message, Op, Pass, Program, Schedule

COLLECTIVES = ("C0", "C1", "U", "C2")


def may_run(p: Pass, done: set[Pass], p_ranks: int, barriers: int) -> bool:
    """Whether a pass of a one-stage-per-rank pipeline has what it needs; nothing is shared with `needs`."""
    last = p_ranks - 1

    def all_of(kind):
        return all(Pass(Kind(kind), r, p.microbatch) in done for r in range(p_ranks))

    def one(kind, part):
        return Pass(Kind(kind), part, p.microbatch) in done

    if p.kind == "E":
        return True
    if p.kind == "F":
        return one("F", p.part - 1) if p.part else (barriers == 0 or all_of("E"))
    if p.kind == "S":
        return one("F", last)
    if p.kind == "T":
        return all_of("S")
    if p.kind == "G":
        return one("BW", 0)
    assert p.kind == "BW"
    if p.part < last:
        return one("F", p.part) and one("BW", p.part + 1)
    return one("F", last) and (barriers == 0 or all_of("S" if barriers == 1 else "T"))


def table_runs(schedule: Schedule) -> bool:
    """Whether ranks that run their rows in order, with instant messages, all come to the end."""
    at, done = [0] * schedule.layout.ranks, set()
    moved = True
    while moved:
        moved = False
        for rank, passes in enumerate(schedule.order):
            while at[rank] < len(passes) and may_run(
                passes[at[rank]], done, schedule.layout.ranks, schedule.layout.barriers
            ):
                done.add(passes[at[rank]])
                at[rank] += 1
                moved = True
    return all(a == len(passes) for a, passes in zip(at, schedule.order, strict=True))


class Strict:
    """Runs a program step by step. Collectives of all channels share one communicator: the k-th launch of
    every rank must be the same one. The k-th send between two ranks meets the k-th receive; a mix-up never
    ends. Data is tracked by value: a pass that runs without what it needs makes `wrong` true."""

    def __init__(self, program: Program) -> None:
        self.program, self.layout = program, program.schedule.layout
        self.ranks = self.layout.ranks
        self.at = [0] * self.ranks
        self.queues: dict[object, list[Message]] = {}
        self.own = [set() for _ in range(self.ranks)]  # passes run and messages waited for, on each rank
        self.sent_without = False

    def arrived(self, message: Message) -> bool:
        if message.channel in COLLECTIVES:
            queues = [self.queues.get(("launch", rank), []) for rank in range(self.ranks)]
            if any(message not in queue for queue in queues):
                return False
            at = queues[0].index(message)
            return all(queue[: at + 1] == queues[0][: at + 1] for queue in queues)
        pair = message.channel, message.source, message.target
        sends, receives = self.queues.get(("SEND", *pair), []), self.queues.get(("RECEIVE", *pair), [])
        if message not in sends or message not in receives:
            return False
        at = sends.index(message)
        return sends[: at + 1] == receives[: at + 1]

    def step(self, rank: int) -> bool:
        code = self.program.instructions[rank]
        if self.at[rank] == len(code):
            return False
        op, what = code[self.at[rank]]
        if op is Op.WAIT:
            if not self.arrived(what):
                return False
            self.own[rank].add(what)
        elif op is Op.RUN:
            self.sent_without |= not self.has_inputs(rank, what)
            self.own[rank].add(what)
        else:
            if op is not Op.RECEIVE:
                self.sent_without |= not self.has_payload(rank, what)
            key = ("launch", rank) if op is Op.LAUNCH else (op, what.channel, what.source, what.target)
            self.queues.setdefault(key, []).append(what)
        self.at[rank] += 1
        return True

    def waited(self, rank: int, channel: str, i: int, source: int | None = None) -> bool:
        return any(
            isinstance(x, Message)
            and (x.channel, x.microbatch) == (channel, i)
            and (source is None or x.source == source)
            for x in self.own[rank]
        )

    def has_inputs(self, rank: int, p: Pass) -> bool:
        i, last, own = p.microbatch, self.ranks - 1, self.own[rank]
        split = self.layout.barriers
        if p.kind == "F" and rank:
            return self.waited(rank, "ACTIVATION", i)
        if p.kind == "F":
            rows = all(self.waited(0, "EMBEDDING", i, r) for r in range(1, self.ranks))
            return not split or (rows and Pass(Kind.E, 0, i) in own)
        if p.kind == "S":
            return self.waited(rank, "C0", i)
        if p.kind == "T":
            return self.waited(rank, "C1", i) and Pass(Kind.S, rank, i) in own
        if p.kind == "G":
            return Pass(Kind.BW, 0, i) in own if rank == 0 else self.waited(rank, "EMBEDDING_GRADIENT", i)
        if p.kind == "BW":
            head = not split or self.waited(rank, "U" if split == 1 else "C2", i)
            return Pass(Kind.F, rank, i) in own and (
                head if rank == last else self.waited(rank, "GRADIENT", i)
            )
        return True

    def has_payload(self, rank: int, message: Message) -> bool:
        i, own = message.microbatch, self.own[rank]
        if message.channel == "U":
            return self.waited(rank, "C1", i)
        if message.channel == "C0" and rank != self.ranks - 1:
            return True
        kind = {
            "ACTIVATION": "F",
            "GRADIENT": "BW",
            "EMBEDDING": "E",
            "EMBEDDING_GRADIENT": "BW",
            "C0": "F",
            "C1": "S",
            "C2": "T",
        }[message.channel]
        return Pass(Kind(kind), rank, i) in own

    def runs(self) -> bool:
        """True if every rank comes to its end, every posted message arrives, and no data was missing."""
        while any([self.step(rank) for rank in range(self.ranks)]):
            pass
        ended = all(a == len(code) for a, code in zip(self.at, self.program.instructions, strict=True))
        posted = {message for queue in self.queues.values() for message in queue}
        return ended and not self.sent_without and all(self.arrived(message) for message in posted)
