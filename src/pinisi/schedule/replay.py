"""Times the given order of a table, at the level of `needs`."""

from __future__ import annotations

from pinisi.errors import ScheduleError
from pinisi.schedule.clock import Clock
from pinisi.schedule.costs import NOMINAL, Costs
from pinisi.schedule.needs import Channel, gives, needs
from pinisi.schedule.table import Pass, Schedule


def replay(schedule: Schedule, costs: Costs = NOMINAL) -> Clock:
    """Run the table in its order. Raises ScheduleError for an order in which passes wait for one another."""
    clock = Clock((p for _, _, p in schedule.passes()), schedule.layout, costs)
    at = [0] * schedule.layout.ranks

    def choose(rank: int, now: float, possible: set[Pass]) -> Pass | None:
        if at[rank] < len(schedule.order[rank]) and schedule.order[rank][at[rank]] in possible:
            at[rank] += 1
            return schedule.order[rank][at[rank] - 1]
        return None

    clock.run(choose)
    for rank, step in enumerate(at):
        if step < len(schedule.order[rank]):
            raise ScheduleError(_stuck(schedule, clock, at))
    return clock


def _stuck(schedule: Schedule, clock: Clock, at: list[int]) -> str:
    """Name the first rank that waits for a pass which the table puts too late."""
    done = {given for p in clock.end for given in gives(p)}
    lines = []
    for rank, step in enumerate(at):
        if step == len(schedule.order[rank]):
            continue
        p = schedule.order[rank][step]
        late = [(s, need.via) for need in needs(p, schedule.layout) for s in need.sources if s not in done]
        source, via = late[0] if late else (p, Channel.STASH)
        lines.append(f"rank {rank}, step {step}: {p} waits for {source} ({via}), which never ends")
        lines.append("  " + schedule.excerpt(rank, step))
    return f"schedule '{schedule.name}' cannot be run:\n" + "\n".join(lines)
