"""Measures a step of two replicas on a limited link, with sums of gradients among the passes and with all of them behind.

Passes sleep for what a model's would take on a GPU, and a sum for what its bytes take on the link; the order of everything, and
the messages inside of a pipeline, are real. A reduce-scatter over d replicas sends (d - 1) / d of the bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from pinisi.bench.emulated import ELEMENTS, message_times
from pinisi.costs.hardware import read_hardware
from pinisi.costs.pass_costs import pass_costs
from pinisi.costs.presets import preset
from pinisi.costs.reductions import group_parameters
from pinisi.costs.shape import Shape, shape_of
from pinisi.costs.split import even_layers
from pinisi.costs.work import Setting
from pinisi.engine.emulate import EmulatedWorker, LimitedLink, Travelling
from pinisi.engine.executor import Executor
from pinisi.models import read_spec
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.mesh import Mesh
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import Costs, Message, Schedule, build, layout_of, lower
from pinisi.schedule.costs import PASS_COSTS
from pinisi.schedule.execution.reduce import with_reductions
from pinisi.schedule.execution.simulate import step_seconds, timed
from pinisi.schedule.execution.verify import verify_program

REPLICAS, PIPELINE, MICROBATCHES = 2, 4, 16
MODEL, HARDWARE, SEQUENCE = "llama3-8b", "H100", 4096
LINK = 12.5e9  # bytes a second between the same ranks of two replicas: 100 Gbit/s
JITTER = 0.1  # by which a seed makes each rank's passes longer or shorter at most, as a share


@dataclass(frozen=True)
class LinkCase:
    """A schedule, and a number of chunks where it leaves that open."""

    schedule: str
    chunks: int | None = None
    tied: bool = False

    @property
    def label(self) -> str:
        chunks = f" ×{self.chunks}" if self.chunks else ""
        return f"{self.schedule}{chunks}{', tied' if self.tied else ''}"


CASES = (
    LinkCase("1f1b"),
    LinkCase("1f1b", tied=True),
    LinkCase("zb-h1"),
    LinkCase("interleaved-1f1b", 2),
    LinkCase("interleaved-1f1b", 4),
    LinkCase("zbv"),
    LinkCase("v-half"),
)


class EmulatedSums:
    """Implements `executor.Sums`: a sum takes its bytes' time on the link, and then meets the other replica's."""

    def __init__(self, link: LimitedLink, nbytes: Mapping[int, float], group: dist.ProcessGroup) -> None:
        self.link, self.nbytes, self.group = link, nbytes, group
        self._flying: dict[int, Travelling] = {}

    def launch(self, part: int) -> None:
        self._flying[part] = self.link.send(
            self.nbytes[part], lambda: dist.all_reduce(torch.zeros(1), group=self.group)
        )

    def collect(self, part: int) -> None:
        self._flying.pop(part).wait()


def measure(seeds: Sequence[int], steps: int) -> dict[str, Any]:
    """On every rank: a row for each schedule and seed, the same on all."""
    device = torch.device("cpu")
    init_process_group("gloo", device)
    mesh = Mesh.connect({"pipeline": PIPELINE})
    communicator = Communicator.connect(mesh.lines("pipeline"), device)
    group = mesh.group("data")
    assert communicator is not None and group is not None and mesh.size("data") == REPLICAS
    messages, rows = message_times(communicator), []
    link = LimitedLink(LINK)
    for case in CASES:
        for seed in seeds:
            row = _measured(case, seed, steps, messages, communicator, link, group)
            rows.append({"schedule": case.label, "seed": seed, **row})
            if dist.get_rank() == 0:
                print(line(rows[-1]), flush=True)
    return {"rows": rows, "messages": messages}


def _measured(
    case: LinkCase,
    seed: int,
    steps: int,
    messages: Mapping[str, float],
    communicator: Communicator,
    link: LimitedLink,
    group: dist.ProcessGroup,
) -> dict[str, Any]:
    schedule, costs, seconds = planned(case, seed, messages)
    base = lower(schedule)
    during = with_reductions(base, tied=case.tied)
    verify_program(during)
    rank = communicator.rank
    mine = {m.stage: seconds[m] * LINK for m in during.reductions if m.source == rank}
    sums = EmulatedSums(link, mine, group)
    executor = Executor(
        communicator, EmulatedWorker(schedule.layout, rank, costs, ELEMENTS), torch.device("cpu"), sums=sums
    )
    taken: dict[str, list[float]] = {"during": [], "after": []}
    for _ in range(steps):
        for name, program in (("during", during), ("after", base)):
            dist.barrier()
            start = time.perf_counter()
            executor.step(program)
            if name == "after":
                for part in mine:
                    sums.launch(part)
                for part in mine:
                    sums.collect(part)
            ends = gather_json((start, time.perf_counter()))
            taken[name].append(max(end for _, end in ends) - min(begin for begin, _ in ends))
    found = {name: median(each) for name, each in taken.items()}
    simulated = {"during": step_seconds(during, costs, seconds), "after": after_all(base, costs, seconds)}
    alone = max(timed(base, costs).now)
    return {
        "during_seconds": found["during"],
        "after_seconds": found["after"],
        "simulated_during_seconds": simulated["during"],
        "simulated_after_seconds": simulated["after"],
        "without_sums_seconds": alone,
        "sums_seconds": max(sum(s for m, s in seconds.items() if m.source == r) for r in range(PIPELINE)),
        "saved": 1 - found["during"] / found["after"],
        "simulated_saved": 1 - simulated["during"] / simulated["after"],
        "hidden": hidden(found["after"], found["during"], alone),
        "error_percent": {name: 100 * (simulated[name] / found[name] - 1) for name in found},
    }


def hidden(after: float, during: float, alone: float) -> float:
    """The share of what the sums add to a step that goes where they stand among the passes."""
    return (after - during) / (after - alone) if after > alone else 0.0


def planned(
    case: LinkCase, seed: int, messages: Mapping[str, float]
) -> tuple[Schedule, Costs, dict[Message, float]]:
    """The schedule, the seconds of its passes, drawn for the seed, and of each sum on the link."""
    setting = Setting(SEQUENCE)
    shape = shape_of_case(case)
    layout = layout_of(case.schedule, PIPELINE, chunks=case.chunks, barriers=1)
    layers = even_layers(shape.layers, layout.last_stage + 1)
    rows = [shape.vocabulary // PIPELINE] * PIPELINE
    costs = pass_costs(shape, setting, read_hardware(HARDWARE), layout, layers, rows, replicas=REPLICAS)
    draw = Random(seed)
    factors = [1 + draw.uniform(-JITTER, JITTER) for _ in range(PIPELINE)]
    drawn = {name: _times(factors, getattr(costs, name)) for name in PASS_COSTS}
    costs = replace(costs, **drawn, **messages)
    schedule = build(case.schedule, PIPELINE, MICROBATCHES, chunks=case.chunks, barriers=1, costs=costs)
    share = (REPLICAS - 1) / REPLICAS * setting.gradient / LINK
    sums = with_reductions(lower(schedule), tied=case.tied).reductions
    return schedule, costs, {m: share * group_parameters(shape, layout, layers, rows, m) for m in sums}


def shape_of_case(case: LinkCase) -> Shape:
    """The model's shape, with one matrix at both ends if that is the case."""
    return replace(shape_of(read_spec(preset(MODEL) or {})), tied=case.tied)


def _times(factors: Sequence[float], cost: Any) -> Any:
    """A cost by rank, each rank's numbers times its factor."""
    return [
        [factor * each for each in item] if isinstance(item, tuple) else factor * item
        for factor, item in zip(factors, cost, strict=True)
    ]


def after_all(program: Any, costs: Costs, seconds: Mapping[Message, float]) -> float:
    """The simulated step in which each rank's sums begin when its own passes are done."""
    own = [sum(s for m, s in seconds.items() if m.source == rank) for rank in range(PIPELINE)]
    return max(end + each for end, each in zip(timed(program, costs).now, own, strict=True))


def line(row: dict[str, Any]) -> str:
    errors = row["error_percent"]
    return (
        f"{row['schedule']:22} seed {row['seed']}: after all passes {row['after_seconds']:.3f} s, among them "
        f"{row['during_seconds']:.3f} s ({100 * row['saved']:.1f} % less, {100 * row['hidden']:.0f} % of the sums' time); "
        f"simulated {errors['after']:+.1f} and {errors['during']:+.1f} % off"
    )
