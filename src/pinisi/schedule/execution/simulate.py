"""Predicts when each pass runs."""

from __future__ import annotations

from collections.abc import Mapping

from pinisi.base.errors import ScheduleError
from pinisi.schedule.costs import Costs
from pinisi.schedule.execution.lower import lower
from pinisi.schedule.execution.machine import Machine
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.program import Message, MessageChannel, Program
from pinisi.schedule.table import Pass, Schedule
from pinisi.schedule.timeline import Timeline

_COLLECTIVES = {
    MessageChannel.C0: "c0",
    MessageChannel.C1: "c1",
    MessageChannel.U: "u",
    MessageChannel.C2: "c2",
}


_TIMED = "_timed"


@gc_disabled()
def simulate(schedule: Schedule, costs: Costs) -> Timeline:
    """Time the schedule's lowered program; raises ScheduleError if it can't be run. See `Machine` for the
    model."""
    machine = timed(lower(schedule), costs)
    if not machine.finished:
        raise ScheduleError(f"schedule '{schedule.name}' hangs: run verify(schedule) to see where")
    return Timeline(schedule, tuple(tuple(spans) for spans in machine.spans()))


def step_seconds(program: Program, costs: Costs, reductions: Mapping[Message, float]) -> float:
    """Returns the seconds from a step's start until its last pass and its last sum over replicas are done.

    reductions: the seconds that each of the program's sums takes, which pass beside passes and other messages. Raises
    ScheduleError for a program that can't be run.
    """
    costs.check(program.schedule.layout)
    machine = _run(program, costs, reductions)
    if not machine.finished:
        raise ScheduleError(
            f"schedule '{program.schedule.name}' hangs: run verify_program(program) to see where"
        )
    return max(machine.now)


def timed(program: Program, costs: Costs) -> Machine:
    """The machine that has run the program. The latest is kept: `verify` asks for it, and `simulate` after that."""
    costs.check(program.schedule.layout)
    known: tuple[Costs, Machine] | None = program.__dict__.get(_TIMED)
    if known is None or known[0] != costs:
        known = costs, _run(program, costs, {})
        program.__dict__[_TIMED] = known
    return known[1]


def _run(program: Program, costs: Costs, reductions: Mapping[Message, float]) -> Machine:
    seconds = costs.table(program.schedule.layout)
    collectives = {channel: costs.slowest(name) for channel, name in _COLLECTIVES.items()}

    def run(p: Pass) -> float:
        return seconds[p.kind, p.part]

    def travel(message: Message) -> float:
        if message.channel in collectives:
            return collectives[message.channel]
        if message.channel is MessageChannel.REDUCE:
            return reductions.get(message, 0.0)
        local = message.channel in (MessageChannel.ACTIVATION, MessageChannel.GRADIENT)
        return costs.at("p2p" if local else "embedding", message.source)

    machine = Machine(program, run, travel)
    machine.execute()
    return machine
