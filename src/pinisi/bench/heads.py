"""`pinisi bench heads`: times several heads at once in a pipeline, split over all ranks and moved about as layers allow; passes
sleep.

Real processes and communication, as in `bench emulated`, and the same profile: 4 layers a rank, V = 256k. D extra heads add D
layers to the last stage and D + 1 times the work of an LM head. Two ways: the vocabulary split over all ranks (1F1B, 1 barrier,
rows balanced), and the best that moving layers can do (1F1B, 0 barriers). Each step is held against perfect balance: the step
with every rank's passes alike and all the same work (simulated, with the messages measured in the same run), and the time by
which a microbatch more lengthens the step against all work / p.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pinisi.bench import processes
from pinisi.bench.emulated import PROFILE, Case, Cases, measure
from pinisi.costs import S_SHARE, placed_layers, rows_for, with_heads
from pinisi.schedule import Costs, Layout, build, layout_of, simulate

LAYERS = 4  # of a rank, as the profile's
ROWS = 256_000
SPLIT, MOVED = "split vocabulary", "moved layers"
_EMBEDDING = ("embedding_forward", "embedding_gradient")


class HeadsModel:
    """The profile's model with D extra heads on p ranks: seconds of its parts, so scaled that all work / p is `interval`."""

    def __init__(self, ranks: int, extra_heads: int, interval: float) -> None:
        self.ranks, self.extra_heads = ranks, extra_heads
        self.layers = LAYERS * ranks
        work = (PROFILE["forward"] + PROFILE["backward"]) * (self.layers + extra_heads) / LAYERS
        work += ranks * (PROFILE["head"] * (extra_heads + 1) + sum(PROFILE[name] for name in _EMBEDDING))
        self.factor = interval / (work / ranks) * 1e3
        self.forward, self.backward = (self._seconds(name) / LAYERS for name in ("forward", "backward"))
        self.head = ranks * (extra_heads + 1) * self._seconds("head")

    def _seconds(self, name: str) -> float:
        return PROFILE[name] / 1e3 * self.factor

    def split(self) -> tuple[list[int], Layout, Costs]:
        """Layers of each stage, and costs, with the vocabulary split over all ranks: rows even out what layers can't."""
        layout = layout_of("1f1b", self.ranks, barriers=1)
        layers = placed_layers(self.layers, layout.stages, 1.0, {}, self.extra_heads)
        work = with_heads(layers, self.extra_heads)
        rows = rows_for([n * (self.forward + self.backward) for n in work], self.head, ROWS)
        return layers, layout, self._costs(work, [self.head * n / ROWS for n in rows])

    def alike(self) -> Costs:
        """Costs of a split that no model has: every rank does all work / p, in passes of the same lengths."""
        p = self.ranks
        return self._costs([(self.layers + self.extra_heads) / p] * p, [self.head / p] * p)

    def moved(self) -> tuple[list[int], Layout, Costs]:
        """With an undivided head on the last stage and the layers where the busiest rank has least to do. The embedding's
        work, which it would add to the first stage, is left out."""
        layout = layout_of("1f1b", self.ranks)
        last = {self.ranks - 1: self.head}
        layers = placed_layers(
            self.layers, layout.stages, self.forward + self.backward, last, self.extra_heads
        )
        work = with_heads(layers, self.extra_heads)
        heads = [0.0] * (self.ranks - 1) + [self.head]
        backward = [(n * self.backward + 2 / 3 * head) / 2 for n, head in zip(work, heads, strict=True)]
        forward = [n * self.forward + head / 3 for n, head in zip(work, heads, strict=True)]
        return layers, layout, Costs(forward=forward, backward=backward, weight=backward)

    def _costs(self, layers: Sequence[float], heads: Sequence[float]) -> Costs:
        return Costs(
            forward=[n * self.forward for n in layers],
            backward=[n * self.backward / 2 for n in layers],
            weight=[n * self.backward / 2 for n in layers],
            head_s=[S_SHARE[1] * each for each in heads],
            head_t=[(1 - S_SHARE[1]) * each for each in heads],
            **{name: self._seconds(name) for name in _EMBEDDING},
        )


def cases_of(ranks: int, microbatches: Sequence[int], interval: float, heads: Sequence[int]) -> Cases:
    """Both ways for every number of extra heads and of microbatches."""

    def cases(messages: dict[str, float]) -> Iterator[Case]:
        for extra in heads:
            model = HeadsModel(ranks, extra, interval)
            for label, (_, layout, costs) in ((SPLIT, model.split()), (MOVED, model.moved())):
                costs = replace(costs, **messages)
                for m in microbatches:
                    schedule = build("1f1b", ranks, m, barriers=layout.barriers, costs=costs)
                    yield f"{label}, D = {extra}", schedule, costs, model.factor

    return cases


def against_balance(rows: Sequence[dict], interval: float, heads: Sequence[int]) -> list[dict]:
    """The measured rows with what perfect balance would take. balance: that step / the measured one; growth: all work / p over
    the time by which a microbatch more lengthened the measured step, between the least and the most microbatches."""
    found = []
    for extra in heads:
        for label in (SPLIT, MOVED):
            mine = [dict(row) for row in rows if row["schedule"] == f"{label}, D = {extra}"]
            for row in mine:
                model = HeadsModel(row["ranks"], extra, interval)
                costs = replace(model.alike(), **row["messages"])
                schedule = build("1f1b", row["ranks"], row["microbatches"], barriers=1, costs=costs)
                layers, layout, own = model.split() if label == SPLIT else model.moved()
                row |= {
                    "extra_heads": extra,
                    "layers": layers,
                    "busiest": interval / own.busiest(layout),
                    "balanced_seconds": simulate(schedule, costs).makespan,
                }
                row["balance"] = row["balanced_seconds"] / row["measured_seconds"]
            few, many = (pick(mine, key=lambda row: row["microbatches"]) for pick in (min, max))
            if many is not few:
                slope = many["measured_seconds"] - few["measured_seconds"]
                growth = interval * (many["microbatches"] - few["microbatches"]) / slope
                mine = [{**row, "growth": growth} for row in mine]
            found += mine
    return found


def format_rows(rows: Sequence[dict]) -> str:
    """A line for each row."""
    lines = [
        f"{row['schedule']:24} m = {row['microbatches']:3}: step {row['measured_seconds']:7.3f} s, perfect balance "
        f"{row['balanced_seconds']:7.3f} s, {100 * row['balance']:5.1f} %; busiest rank {100 * row['busiest']:5.1f} %"
        + (f", growth {100 * row['growth']:5.1f} %" if "growth" in row else "")
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench heads", description=__doc__.split("\n\n")[0])
    parser.add_argument("--ranks", type=int, default=8, help="default 8")
    parser.add_argument("--extra-heads", type=_numbers, default=[1, 3], help="numbers D, default 1,3")
    parser.add_argument(
        "--microbatches", type=_numbers, default=[16, 48], help="numbers of a step, default 16,48"
    )
    parser.add_argument("--interval", type=float, default=0.2, help="seconds of all work / p, default 0.2")
    parser.add_argument("--steps", type=int, default=3, help="steps measured, the median counts; default 3")
    parser.add_argument("--json", help="write the rows to this file")
    processes.add_argument(parser)
    options = parser.parse_args(list(arguments))
    if processes.is_rank(options):
        return processes.work_as_rank(options, lambda: _rank_rows(options))
    measured = processes.measured("heads", arguments, options.ranks)["rows"]
    rows = against_balance(measured, options.interval, options.extra_heads)
    print(format_rows(rows))
    processes.write_json(options.json, {"interval": options.interval, "rows": rows})
    return 0


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _rank_rows(options: argparse.Namespace) -> dict:
    ranks = int(os.environ["WORLD_SIZE"])
    return measure(
        ranks,
        options.steps,
        cases_of(ranks, options.microbatches, options.interval, options.extra_heads),
    )
