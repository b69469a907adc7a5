"""Predicts when each pass runs."""

from __future__ import annotations

from pinisi.errors import ScheduleError
from pinisi.schedule.collector import collector_paused
from pinisi.schedule.costs import Costs
from pinisi.schedule.lower import lower
from pinisi.schedule.machine import Machine
from pinisi.schedule.program import Message, MessageChannel, Program
from pinisi.schedule.table import Pass, Schedule
from pinisi.schedule.timeline import Timeline

_COLLECTIVES = {
    MessageChannel.C0: "c0",
    MessageChannel.C1: "c1",
    MessageChannel.U: "u",
    MessageChannel.C2: "c2",
}


def simulate(schedule: Schedule, costs: Costs) -> Timeline:
    """Time the schedule's lowered program; raises ScheduleError if it can't be run. See `Machine` for the
    model."""
    return simulate_program(lower(schedule), costs)


@collector_paused()
def simulate_program(program: Program, costs: Costs) -> Timeline:
    """Time a program that is lowered already."""
    layout = program.schedule.layout
    seconds = costs.table(layout)
    collectives = {channel: costs.slowest(name) for channel, name in _COLLECTIVES.items()}

    def run(p: Pass) -> float:
        return seconds[p.kind, p.part]

    def travel(message: Message) -> float:
        if message.channel in collectives:
            return collectives[message.channel]
        local = message.channel in (MessageChannel.ACTIVATION, MessageChannel.GRADIENT)
        return costs.at("p2p" if local else "embedding", message.source)

    machine = Machine(program, run, travel)
    if not machine.execute():
        raise ScheduleError(f"schedule '{program.schedule.name}' hangs: run verify(schedule) to see where")
    return Timeline(program.schedule, tuple(tuple(spans) for spans in machine.spans()))
