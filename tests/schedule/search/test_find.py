"""Search: over 200 drawn settings never worse than what is built, inside its limits, above its bound, and near the optimum."""

import random
from typing import NamedTuple

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Kind, Schedule, build, layout_of, names, simulate, verify
from pinisi.schedule.search import SearchResult, search
from tests.effort import FULL
from tests.schedule.search.exact import Exact, least_makespan

A100 = Costs(11.3, 11.2, 11.2, head_s=5.6, head_t=2.8, embedding_forward=0.4, embedding_gradient=0.8)


class Step(NamedTuple):
    name: str
    ranks: int
    microbatches: int
    barriers: int
    costs: Costs
    heads: int | None
    activations: float | None

    def search(self, effort: float) -> SearchResult:
        limits = {"heads": self.heads, "activations": self.activations}
        return search(
            self.name,
            self.ranks,
            self.microbatches,
            self.costs,
            barriers=self.barriers,
            effort=effort,
            **limits,
        )

    def build(self) -> Schedule:
        return build(self.name, self.ranks, self.microbatches, barriers=self.barriers, costs=self.costs)


def drawn(seed: int, *, small: bool) -> Step:
    """Unequal stages, B != 2F, B != W, links from none to slow, heads from small to large, limits of both memories. Costs are
    whole hundredths, which the exact solver keeps."""
    rng = random.Random(seed)
    name = rng.choice(names())
    barriers = rng.randint(1 if name == "interlaced" else 0, 2)
    chunks = len(layout_of(name, 2, barriers=barriers).stages[0])
    ranks = rng.choice([2, 3] if chunks == 1 else [2]) if small else rng.randint(3, 5)
    microbatches = rng.randint(2, 3 if chunks > 1 else 4) if small else rng.randint(ranks, 3 * ranks)
    if name == "dualpipev":
        microbatches = max(2 * ranks, microbatches)

    def seconds(low: float, high: float) -> float:
        return rng.randint(round(100 * low), round(100 * high)) / 100

    def stages(low: float, high: float) -> list[list[float]]:
        return [[seconds(low, high) for _ in range(chunks)] for _ in range(ranks)]

    def shards(low: float, high: float) -> list[float]:
        return [seconds(low, high) for _ in range(ranks)] if barriers else [0.0] * ranks

    head, link = rng.choice([0.1, 0.4, 1.5]), rng.choice([0.0, 0.02, 0.1, 0.4])
    costs = Costs(
        forward=stages(0.5, 2),
        backward=stages(0.5, 2),
        weight=stages(0.3, 2),
        head_s=shards(0.05, 0.05 + head),
        head_t=shards(0.05, 0.05 + head),
        embedding_forward=shards(0.01, 0.05),
        embedding_gradient=shards(0.01, 0.05),
        **{channel: seconds(0, link) for channel in ("p2p", "c0", "c1", "u", "c2", "embedding")},
    )
    heads, activations = rng.choice([None, None, 2, 1]), rng.choice([None, None, None, 1, 2])
    return Step(name, ranks, microbatches, barriers, costs, heads, activations)


def alive(row, opens: set[Kind], closes: set[Kind]) -> int:
    """Most alive at once."""
    now = most = 0
    for p in row:
        now += (p.kind in opens) - (p.kind in closes)
        most = max(most, now)
    return most


def activations_of(row) -> int:
    return alive(row, {Kind.F}, {Kind.W, Kind.BW})


def heads_of(row) -> int:
    return alive(row, {Kind.S}, {Kind.T})


def check(step: Step, built: Schedule, found: SearchResult) -> None:
    """What holds for every search."""
    verify(found.schedule)
    assert found.makespan == simulate(found.schedule, step.costs).makespan
    assert found.bound <= found.makespan * (1 + 1e-9)
    for row, own, stages in zip(found.schedule.order, built.order, built.layout.stages, strict=True):
        assert sorted(row) == sorted(own)
        most = activations_of(own) if step.activations is None else step.activations * len(stages)
        assert activations_of(row) <= most
        assert heads_of(row) <= (step.heads or step.microbatches)
    assert found.heads == max(heads_of(row) for row in found.schedule.order)
    if found.built is not None:
        assert found.built == simulate(built, step.costs).makespan
        assert found.makespan <= found.built


def limits(step: Step, built: Schedule) -> list[int]:
    """Activations that the exact solver may have on each rank."""
    if step.activations is None:
        return [activations_of(row) for row in built.order]
    return [int(step.activations * len(stages)) for stages in built.layout.stages]


def exact(step: Step, built: Schedule) -> Exact:
    passes = [list(row) for row in built.order]
    heads = [step.heads] * step.ranks
    return least_makespan(built.layout, passes, step.costs, limits(step, built), heads, seconds=1.0)


# 200 settings in all, which take a minute: `make bench` runs them, `make test` the first of each kind.
@pytest.mark.parametrize("first", range(0, 120 if FULL else 20, 20))
def test_close_to_the_exact_optimum(first):
    """A tenth of the usual effort first, all of it where that was not enough."""
    above = []
    for seed in range(first, first + 20):
        step = drawn(seed, small=True)
        built, found = step.build(), step.search(0.1)
        check(step, built, found)
        least = exact(step, built)
        assert found.bound <= least.bound + 1e-6 <= found.makespan + 2e-6, seed
        if not least.proved:
            continue
        share = found.makespan / least.makespan - 1
        above.append((share if share <= 0.02 else step.search(1).makespan / least.makespan - 1, seed))
    assert len(above) >= 15
    assert max(above)[0] <= 0.02, sorted(above)[-3:]


@pytest.mark.parametrize("first", range(1000, 1080 if FULL else 1020, 20))
def test_never_worse_than_built(first):
    for seed in range(first, first + 20):
        step = drawn(seed, small=False)
        check(step, step.build(), step.search(0.01))


# With T in each interval, as E and G are, a step takes m (F + BW + S + T + E + G) + (p - 1) (F + BW). T put off takes m T from
# that as long as every T fits into what rank r waits behind its first S, (p - 1 - r) F + r BW; so in theory
#   m = 16: 44.8 of 928.7 = 4.8 %;  m = 24: 67.2 of 1275.1 = 5.3 %;  m = 32: rank 0 can place 79.1 of 89.6, of 1621.5 = 4.9 %.
@pytest.mark.parametrize("microbatches", [16, 24, 32])
def test_t_as_filler_gains_what_theory_says(microbatches):
    found = search("1f1b", 8, microbatches, A100, barriers=1, effort=0.3)
    with_t_in = microbatches * (11.3 + 22.4 + 5.6 + 2.8 + 1.2) + 7 * (11.3 + 22.4)
    assert found.makespan <= 0.96 * with_t_in
    assert found.makespan < found.built
    for row, own in zip(found.schedule.order, build("1f1b", 8, microbatches, barriers=1).order, strict=True):
        assert activations_of(row) <= activations_of(own)


def test_a_limit_of_heads_holds():
    free = search("1f1b", 8, 16, A100, barriers=1, effort=0)
    tight = search("1f1b", 8, 16, A100, barriers=1, heads=2, effort=0)
    assert tight.heads == 2 < free.heads
    assert free.makespan < 0.99 * tight.makespan


def test_the_same_input_gives_the_same_order():
    step = drawn(3, small=False)
    assert step.search(0.02) == step.search(0.02)


def test_too_little_room_is_an_error():
    assert search("1f1b", 4, 8, A100, barriers=1, activations=1).built is None
    for limits in ({"activations": 0.5}, {"heads": 0}):
        with pytest.raises(ScheduleError, match="1 of each"):
            search("1f1b", 4, 8, A100, barriers=1, **limits)
