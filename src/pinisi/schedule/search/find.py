"""Looks for a shorter step than a schedule's own order gives, for given costs and limits of memory.

The order that `build` makes is the first candidate, so what is found is never worse. Others come from list scheduling by several
rules (`listing`), and from `build` for a head whose T costs nothing; T, W and G are then put where they hold nobody up
(`backfill`), and the best orders improved by local search (`improve`). All are tried by `network`'s clock; the best few are timed
by `simulate`, which decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pinisi.base.errors import ScheduleError
from pinisi.schedule.builders.build import build, layout_of
from pinisi.schedule.builders.fill import peaks
from pinisi.schedule.costs import Costs
from pinisi.schedule.execution.simulate import simulate
from pinisi.schedule.gc_disabled import gc_disabled
from pinisi.schedule.search.backfill import backfilled
from pinisi.schedule.search.bound import lower_bound
from pinisi.schedule.search.improve import Timed, searched
from pinisi.schedule.search.listing import Lister, keys_by_kind, keys_by_order, keys_by_tail
from pinisi.schedule.search.network import Caps, Clock, Network, Order
from pinisi.schedule.table import Kind, Schedule

_WORK, _MOST = 2_400_000, 40_000  # passes timed in local search; moves
_LEAST = 200  # moves; fewer are not worth the time
_LARGE = 8_000  # passes; above, few candidates
_RULES = ("E S B BW F T W G", "E S F B BW T W G", "E S T B BW F W G", "E S T F B BW W G", "S B BW W F E T G")
_PATIENCE = (0.0, 0.5, 1.0)
_TIMED = 3


@dataclass(frozen=True)
class SearchResult:
    """schedule: the best order; makespan: its simulated seconds; bound: seconds that no order can beat; built: the seconds of
    the order that `build` makes, None if that breaks the limits; heads: most microbatches between S and T on a rank."""

    schedule: Schedule
    makespan: float
    bound: float
    built: float | None
    heads: int


@gc_disabled()
def search(
    name: str,
    ranks: int,
    microbatches: int,
    costs: Costs,
    *,
    chunks: int | None = None,
    barriers: int = 0,
    heads: int | None = None,
    activations: float | None = None,
    effort: float = 1.0,
) -> SearchResult:
    """The best order found of the passes that schedule `name` has.

    heads: most microbatches that may be between S and T on a rank (each holds one [T, V_r] buffer; None: no limit).
    activations: most microbatches alive on a rank, in its whole share of layers (None: on each rank what `build`'s order holds).
    effort: times the usual number of moves tried in local search, a number that falls with the table's size; the result depends on
    nothing else. Raises ScheduleError if no order keeps the limits.
    """
    layout = layout_of(name, ranks, chunks=chunks, barriers=barriers)
    built = build(name, ranks, microbatches, chunks=chunks, barriers=barriers, costs=costs)
    net = Network(layout, built.order, costs)
    own = _numbered(net, built)
    caps = _caps(net, own, microbatches, heads, activations)
    if not all(net.fits(row, cap) for row, cap in zip(net.in_turn(), caps, strict=True)):
        raise ScheduleError(
            f"{name} on {ranks} ranks can't be run with {heads} heads and {activations} activations alive: even one microbatch "
            "after the other needs 1 of each"
        )
    bound = lower_bound(
        layout, microbatches, costs, whole=_whole(built), activations=[c[0] for c in caps], heads=heads
    )
    fits = all(net.fits(row, cap) for row, cap in zip(own, caps, strict=True))
    first = simulate(built, costs).makespan if fits else None
    cheap = replace(costs, head_t=costs.busiest(layout) / 1000)
    others = (
        [build(name, ranks, microbatches, chunks=chunks, barriers=1, costs=cheap)] if barriers == 1 else []
    )
    starts = _starts(net, [own, *(_numbered(net, other) for other in others)], caps)
    moves = min(_MOST, int(effort * _WORK / net.size))
    orders = searched(net, starts, caps, moves if moves >= _LEAST else 0, bound)[:_TIMED]
    best = (first, built) if first is not None else None
    for _, order in orders:
        rows = tuple(tuple(net.passes[v] for v in row) for row in order)
        schedule = replace(built, order=rows, costs=costs)
        makespan = simulate(schedule, costs).makespan
        if best is None or makespan < best[0] * (1 - 1e-12):
            best = makespan, schedule
    assert best is not None, "list scheduling always makes an order"
    makespan, schedule = best
    most = max(peaks(row)["head"] for row in schedule.order)
    return SearchResult(schedule, makespan, bound, first, most)


def _whole(schedule: Schedule) -> bool:
    """Whether B and W always run as one."""
    return not any(p.kind is Kind.B for row in schedule.order for p in row)


def _numbered(net: Network, schedule: Schedule) -> Order:
    return [[net.number[p] for p in row] for row in schedule.order]


def _caps(
    net: Network, own: Order, microbatches: int, heads: int | None, activations: float | None
) -> list[Caps]:
    """What may be alive on each rank. Rows of the embedding wait at stage 0: they may be looked up as far ahead as there are
    ranks, and two more, or as far as the own order does."""
    caps = []
    for row, stages in zip(own, net.layout.stages, strict=True):
        alive, _, rows = net.peaks(row)
        if activations is not None:
            alive = int(activations * len(stages) + 1e-9)
        caps.append((alive, microbatches if heads is None else heads, max(rows, net.ranks + 2)))
    return caps


def _starts(net: Network, built: Sequence[Order], caps: Sequence[Caps]) -> list[Timed]:
    """Orders to begin with, best first: each as it is and backfilled."""
    found: list[Timed] = []
    for order in _made(net, built, caps):
        found.append((Clock(net).run(order), order))
    found.sort(key=lambda timed: timed[0])
    few = found[: 2 if net.size > _LARGE else 8]
    found += [backfilled(net, order, caps) for _, order in few]
    return sorted(found, key=lambda timed: timed[0])


def _made(net: Network, built: Sequence[Order], caps: Sequence[Caps]) -> Iterator[Order]:
    """As built where that keeps the caps, and list scheduled."""
    for order in built:
        if all(net.fits(row, cap) for row, cap in zip(order, caps, strict=True)):
            yield order
    large = net.size > _LARGE
    keys = [
        keys_by_order(net, built[0]),
        *(keys_by_kind(net, rule) for rule in _RULES[: 1 if large else None]),
    ]
    if not large:
        keys.append(keys_by_tail(net))
    lister = Lister(net, caps)
    for key in keys:
        for patience in _PATIENCE[:1] if large else _PATIENCE:
            lister.make(key, patience)
            yield lister.rows
