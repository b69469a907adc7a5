"""Loops over instructions: does what a rank has to do in one step, and notes when each pass ran.

The executor knows no model. A `Worker` does the passes and owns the tensors; the `Communicator` moves them. Sends and
collectives are asynchronous and kept alive here, with their tensors, until they are done. With 1 barrier what lies between C1
and U is done beside the passes (see `chain`).
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Protocol

import torch
import torch.distributed as dist

from pinisi.engine import devices
from pinisi.engine.overlap import Link, chain_on
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.status import Status
from pinisi.schedule import Pass, Schedule, Timeline
from pinisi.schedule.program import Instruction, Message, MessageChannel, Op, Program
from pinisi.schedule.timeline import Span

_REDUCTIONS = (MessageChannel.U, MessageChannel.C2)
_CHAINED = (MessageChannel.C1, MessageChannel.U)


class Worker(Protocol):
    """What a pass does, really (`PipelineWorker`) or with its time alone (`EmulatedWorker`)."""

    def run(self, p: Pass) -> None:
        """Does one pass."""

    def payload(self, message: Message) -> torch.Tensor:
        """The tensor to send or to contribute, or the buffer to receive into."""

    def arrived(self, message: Message, tensor: torch.Tensor) -> None:
        """Takes a finished receive or collective. With 1 barrier C1 comes, and U is asked for, on a thread of its own."""


class Sums(Protocol):
    """What a reduction over replicas does, really (`GradientSums`) or with its time alone. part: a group of gradients."""

    def launch(self, part: int) -> None:
        """Enters the sums of a group; returns at once."""

    def collect(self, part: int) -> None:
        """Waits for them."""


class Executor:
    """Runs a `Program` on one rank. `step` returns the spans of its passes when `record` is set."""

    def __init__(
        self,
        communicator: Communicator,
        worker: Worker,
        device: torch.device,
        status: Status | None = None,
        sums: Sums | None = None,
    ):
        """sums: where a program has reductions."""
        self.communicator = communicator
        self.worker = worker
        self.device = device
        self.status = status or Status.silent()
        self.sums = sums
        self.chain = chain_on(device)
        self.waited = 0.0  # seconds of the last step spent in WAIT on the host

    def step(self, program: Program, *, record: bool = False) -> list[Span]:
        run = _Step(self, program, record)
        for number, instruction in enumerate(program.instructions[self.communicator.rank]):
            self.status.at(number, instruction, waits=instruction.op is Op.WAIT)
            run.do(instruction)
        self.status.at(
            len(program.instructions[self.communicator.rank]), "the step's last messages", waits=True
        )
        run.finish()
        self.status.at(-1, None)
        self.waited = run.waited
        return run.clock.spans()


class _Step:
    """The state of one step: what is in flight."""

    def __init__(self, executor: Executor, program: Program, record: bool):
        self.worker = executor.worker
        self.communicator, self.sums = executor.communicator, executor.sums
        self.chain = executor.chain if program.schedule.layout.barriers == 1 else None
        self.root = program.schedule.layout.last_rank
        self.clock = _Clock(executor.device, record)
        self.waited = 0.0
        # receives and collectives not waited for
        self.flying: dict[Message, tuple[dist.Work | None, torch.Tensor]] = {}
        self.links: dict[int, Link] = {}  # by microbatch: C1 with U behind it, until all have waited for it
        # sends, and parts handed to a reduction that ends on another rank: kept until done, which no pass waits for
        self.sent: list[tuple[dist.Work, torch.Tensor]] = []

    def do(self, instruction: Instruction) -> None:
        op, what = instruction
        if op is Op.RUN:
            assert isinstance(what, Pass)
            with self.clock.span(what):
                self.worker.run(what)
            return
        assert isinstance(what, Message)
        if op is Op.SEND:
            tensor = self.worker.payload(what)
            work = self.communicator.send(what, tensor)
            if work is not None:
                self.sent.append((work, tensor))
            self._drop_finished_sends()
        elif op is Op.RECEIVE:
            buffer = self.worker.payload(what)
            self.flying[what] = (self.communicator.receive(what, buffer), buffer)
        elif op is Op.LAUNCH:
            self._launch(what)
            self._drop_finished_sends()
        else:
            self._wait(what)

    def _launch(self, message: Message) -> None:
        if message.channel is MessageChannel.REDUCE:
            assert self.sums is not None, "a program with reductions is run with what sums gradients"
            self.sums.launch(message.stage)
            return
        if self.chain is not None and message.channel is MessageChannel.U:
            self._chain_up(message)
            return
        work, tensor = self.communicator.launch(message, self.worker.payload(message), self.root)
        if message.channel in _REDUCTIONS and self.communicator.rank != self.root:
            self.sent.append((work, tensor))
        else:
            self.flying[message] = work, tensor

    def _chain_up(self, message: Message) -> None:
        """U behind C1, which has been launched; who waits for either of them waits for the link."""
        assert self.chain is not None
        gathered = Message(MessageChannel.C1, message.microbatch, -1, -1)
        work, tensor = self.flying.pop(gathered)

        def then() -> tuple[dist.Work, torch.Tensor]:
            self.worker.arrived(gathered, tensor)
            return self.communicator.launch(message, self.worker.payload(message), self.root)

        assert work is not None
        self.links[message.microbatch] = self.chain.add(work, then)

    def _wait(self, message: Message) -> None:
        start = time.perf_counter()
        if message.channel is MessageChannel.REDUCE:
            assert self.sums is not None
            self.sums.collect(message.stage)
            self.waited += time.perf_counter() - start
            return
        if message.channel in _CHAINED and (link := self.links.get(message.microbatch)) is not None:
            link.wait()
            link.awaited += 1
            if link.awaited == (2 if self.communicator.rank == self.root else 1):  # T, and on the root B
                del self.links[message.microbatch]
            if message.channel is MessageChannel.C1:
                self.waited += time.perf_counter() - start
                if self.communicator.rank != self.root:
                    self.sent += link.take()
                return  # C1 itself has been taken
            self.flying[message] = link.take()[0]
        work, tensor = self.flying.pop(message)
        if work is not None:
            work.wait()  # on a GPU this makes the stream wait, not the host
        self.waited += time.perf_counter() - start
        self.worker.arrived(message, tensor)

    def _drop_finished_sends(self) -> None:
        while self.sent and self.sent[0][0].is_completed():
            self.sent.pop(0)

    def finish(self) -> None:
        """Waits for what no pass of this rank waited for: what it sent, and an evaluation's C1."""
        for message in list(self.flying):
            self._wait(message)
        for link in self.links.values():
            link.wait()
            self.sent += link.take()
        self.links.clear()
        for work, _ in self.sent:
            work.wait()
        self.sent.clear()


class _Clock:
    """Start and end of passes: the host's clock on a CPU, events (no synchronisation inside the step) on a GPU."""

    def __init__(self, device: torch.device, record: bool):
        self.device, self.beside = device, devices.works_beside(device)
        self.record = record
        self.marks: list[tuple[Pass, object, object]] = []
        if record and self.beside:
            devices.synchronize(
                device
            )  # what the device still has to do from before would set the origin late
        self.origin = self._now() if record else None
        self.host_origin = time.perf_counter()

    def _now(self):
        if not self.beside:
            return time.perf_counter()
        event = devices.event(self.device, timing=True)
        event.record()
        return event

    @contextlib.contextmanager
    def span(self, p: Pass):
        start = self._now() if self.record else None
        yield
        if self.record:
            self.marks.append((p, start, self._now()))

    def spans(self) -> list[Span]:
        """Spans in seconds of this host's monotonic clock."""
        if not self.beside:
            return [Span(p, start, end) for p, start, end in self.marks]  # type: ignore[arg-type]
        devices.synchronize(self.device)
        seconds = [
            (p, self.origin.elapsed_time(a) / 1e3, self.origin.elapsed_time(b) / 1e3)  # type: ignore[union-attr]
            for p, a, b in self.marks
        ]
        return [Span(p, self.host_origin + a, self.host_origin + b) for p, a, b in seconds]


def gather_timeline(schedule: Schedule, spans: list[Span], communicator: Communicator) -> Timeline:
    """One timeline of all ranks, its zero at the first pass of any rank; a collective call.

    The ranks of one machine share a clock. Clocks of several machines, which count from when each was started, are laid
    over one another at the end of a barrier, which is right to the time that a barrier takes.
    """
    dist.barrier(group=communicator.world)
    now = time.perf_counter()
    rows = [(str(s.pass_), s.start, s.end) for s in spans]
    everyone = gather_json((socket.gethostname(), now, rows), communicator.world)
    clocks: dict[str, list[float]] = {}
    for host, at, _ in everyone:
        clocks.setdefault(host, []).append(at)
    ahead = {host: sum(times) / len(times) for host, times in clocks.items()}
    rows_by_rank = [[(t, a - ahead[host], b - ahead[host]) for t, a, b in row] for host, _, row in everyone]
    zero = min((row[0][1] for row in rows_by_rank if row), default=0.0)
    return Timeline(
        schedule,
        tuple(tuple(Span(Pass.parse(t), a - zero, b - zero) for t, a, b in row) for row in rows_by_rank),
    )
