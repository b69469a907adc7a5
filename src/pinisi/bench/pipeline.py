"""`pinisi bench pipeline`: times one model run in five ways, in one process group and in interleaved rounds.

torch's own 1F1B (torch.distributed.pipelining), our 1F1B with 0 barriers on the same stages, the best redistribution of
layers, and the vocabulary passes with 1 and 2 barriers. Same model, same batch, same number of threads; torch's schedule
runs the very stage modules that ours runs. Medians over rounds in which each way has its turn.

The limit of a way is the busiest rank's passes x m + fill, from the medians of the pass times of the measured steps
themselves, in which all ranks were busy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
import torch.distributed as dist
from torch.nn import functional as F

from pinisi.bench import processes
from pinisi.costs import Setting as Microbatches
from pinisi.costs import head_layers, redistributed_layers, shape_of
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.executor import gather_timeline
from pinisi.engine.measure import measured_costs
from pinisi.engine.parts import split_layers
from pinisi.engine.settings import Numerics, Placement, Ranks
from pinisi.models import ModelSpec, RandomWeights, build_stage, make_context, read_spec
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import Costs, Kind, Layout, Schedule, Timeline, build, layout_of
from pinisi.train import memory
from pinisi.train.planned import work_costs
from pinisi.vocabulary import Shards

WAYS = {
    "torch": "torch 1F1B",
    "0": "ours, 0 barriers",
    "redistributed": "ours, 0 barriers, layers redistributed",
    "1": "ours, 1 barrier",
    "2": "ours, 2 barriers",
}


@dataclass(frozen=True)
class BenchSetting:
    """A model and a step. The default's head weighs as much as its eight layers together."""

    ranks: int = 2
    hidden: int = 512
    layers: int = 8
    vocabulary: int = 49152
    sequence: int = 512
    microbatches: int = 8
    rounds: int = 5
    dtype: str = "float32"

    def spec(self) -> ModelSpec:
        return read_spec(
            {
                "model_type": "qwen2",
                "vocab_size": self.vocabulary,
                "hidden_size": self.hidden,
                "intermediate_size": self.hidden * 8 // 3,
                "num_hidden_layers": self.layers,
                "num_attention_heads": max(1, self.hidden // 64),
                "num_key_value_heads": max(1, self.hidden // 64),
                "max_position_embeddings": self.sequence,
                "tie_word_embeddings": False,
            }
        )

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    @property
    def tokens(self) -> int:
        return self.sequence * self.microbatches


class Bench:
    """One rank of the benchmark."""

    def __init__(self, setting: BenchSetting, seed: int = 0):
        self.setting, self.spec, self.seed = setting, setting.spec(), seed
        self.device = torch.device("cpu")
        init_process_group(None, self.device)
        self.rank = dist.get_rank()
        communicator = Communicator.connect([list(range(setting.ranks))], self.device)
        assert communicator is not None
        self.communicator = communicator
        random = torch.Generator().manual_seed(seed)
        shape = (1, setting.sequence + 1)
        zeros = torch.zeros((1, setting.sequence), dtype=torch.int64)
        self.batch = []
        for _ in range(setting.microbatches):
            tokens = torch.randint(0, setting.vocabulary, shape, generator=random)
            positions = torch.arange(setting.sequence)[None]
            self.batch.append(
                Microbatch(tokens[:, :-1].clone(), tokens[:, 1:].clone(), zeros, positions, zeros)
            )

    def make(self, way: str) -> Callable:
        """A function that runs one step (and zeroes the gradients outside of the clock): seconds, and a timeline if recorded."""
        return self._torch() if way == "torch" else self._ours(way)

    def engine(self, way: str) -> Engine:
        """One of our ways, by a digit its barriers."""
        setting = self.setting
        barriers = int(way) if way.isdigit() else 0
        layout = layout_of("1f1b", setting.ranks, barriers=barriers)
        given = None
        if way == "redistributed":  # by floating-point work: the last rank holds the whole head
            given = redistributed_layers([1.0] * setting.layers, setting.ranks, 0.0, head_work(setting))
        layers = split_layers(setting.layers, setting.ranks, given)
        rows = Shards.even(setting.vocabulary, setting.ranks)
        costs = work_costs(self.spec, layout, layers, rows, setting.sequence)
        schedule = build("1f1b", setting.ranks, setting.microbatches, barriers=barriers, costs=costs)
        return Engine(
            self.spec,
            RandomWeights(self.spec, self.seed, setting.torch_dtype),
            Ranks(self.communicator),
            Placement(schedule, given, rows),
            numerics=Numerics(setting.torch_dtype),
        )

    def _ours(self, way: str) -> Callable:
        engine = self.engine(way)

        def step(record: bool):
            dist.barrier()
            start = time.perf_counter()
            result = engine.gradients(self.batch, record=record)
            dist.barrier()
            seconds = time.perf_counter() - start
            engine.optimizer.zero()
            timeline = gather_timeline(engine.schedule, result.spans, self.communicator) if record else None
            return seconds, timeline, result.loss

        return step

    def _torch(self) -> Callable:
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B

        setting, rank = self.setting, self.rank
        first, last = rank == 0, rank == setting.ranks - 1
        layers = split_layers(setting.layers, setting.ranks)[rank]
        weights = RandomWeights(self.spec, 0, setting.torch_dtype)
        module = build_stage(
            self.spec, layers, weights, dtype=setting.torch_dtype, embedding=first, head=last
        )
        one = self.batch[0]
        context = make_context(
            self.spec, one.documents, one.positions, dtype=setting.torch_dtype, device=self.device
        )

        class WithContext(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.stage = module

            def forward(self, x):
                return self.stage(x, context)

        stage = PipelineStage(WithContext(), rank, setting.ranks, self.device)

        def loss(output, target):
            return (
                F.cross_entropy(output.flatten(0, 1).float(), target.flatten(), reduction="sum")
                / setting.tokens
            )

        schedule = Schedule1F1B(stage, setting.microbatches, loss_fn=loss, scale_grads=False)
        ids = torch.cat([b.tokens for b in self.batch])
        targets = torch.cat([b.targets for b in self.batch])

        def step(record: bool):
            losses: list[torch.Tensor] = []
            dist.barrier()
            start = time.perf_counter()
            if first and last:
                schedule.step(ids, target=targets, losses=losses, return_outputs=False)
            elif first:
                schedule.step(ids, return_outputs=False)
            elif last:
                schedule.step(target=targets, losses=losses, return_outputs=False)
            else:
                schedule.step(return_outputs=False)
            dist.barrier()
            seconds = time.perf_counter() - start
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.grad.zero_()
            return seconds, None, float(sum(losses)) if losses else None

        return step


def head_work(setting: BenchSetting) -> float:
    """The head's work in layers."""
    return head_layers(shape_of(setting.spec()), Microbatches(setting.sequence))


def limit(costs: Costs, schedule: Schedule) -> float:
    """Seconds: the busiest rank's passes x m + fill. A rank's fill are the F of the stages before its own, which its first
    microbatch waits for, and their BW, which wait for its last; the limit is the largest sum over ranks."""
    layout = schedule.layout
    work, layers = costs.work(layout), layer_work(costs, layout)
    return max(n * schedule.microbatches + sum(layers[:rank]) for rank, n in enumerate(work))


def balanced(costs: Costs, schedule: Schedule) -> float:
    """Seconds of a step in which the same work is spread evenly: all ranks' passes / p x m, and the same fill."""
    layout = schedule.layout
    p = layout.ranks
    return sum(costs.work(layout)) / p * schedule.microbatches + sum(layer_work(costs, layout)) * (p - 1) / p


def layer_work(costs: Costs, layout: Layout) -> list[float]:
    """Per rank, the F and BW of one microbatch."""
    seconds = costs.table(layout)
    return [sum(seconds[Kind.F, s] + seconds[Kind.BW, s] for s in stages) for stages in layout.stages]


def measure_speed(setting: BenchSetting, ways: Sequence[str]) -> dict[str, dict]:
    bench = Bench(setting)
    steps = {way: bench.make(way) for way in ways}
    if bench.rank == 0:
        print(f"one step of each way to warm up, then {setting.rounds} rounds, then memory", flush=True)
    for step in steps.values():
        step(False)  # the first step pays for memory and kernels
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    lines: dict[str, list[Timeline]] = {way: [] for way in ways}
    losses: dict[str, float] = {}
    began = time.perf_counter()
    for round_ in range(setting.rounds):
        for way in ways if round_ % 2 == 0 else reversed(ways):
            took, timeline, loss = steps[way](way != "torch")
            seconds[way].append(took)
            if timeline is not None:
                lines[way].append(timeline)
            if loss is not None:
                losses[way] = loss
        if bench.rank == 0:
            left = (time.perf_counter() - began) / (round_ + 1) * (setting.rounds - round_ - 1)
            print(f"round {round_ + 1} of {setting.rounds}, {left / 60:.1f} min left", flush=True)
    everyone = gather_json(losses)
    result = {}
    for way in ways:
        row: dict = {"seconds": median(seconds[way]), "rounds": seconds[way]}
        row["tokens_per_second"] = setting.tokens / row["seconds"]
        row["loss"] = next((found[way] for found in reversed(everyone) if way in found), None)
        if lines[way]:
            bounds = [limit(measured_costs(t), t.schedule) for t in lines[way]]
            row["limit_seconds"] = median(bounds)
            row["of_limit"] = median(b / s for b, s in zip(bounds, seconds[way], strict=True))
            row["balance"] = median(
                balanced(measured_costs(t), t.schedule) / b for t, b in zip(lines[way], bounds, strict=True)
            )
            row["bubbles"] = [median(t.bubble(r) for t in lines[way]) for r in range(setting.ranks)]
        result[way] = row
    return result


def measure_memory(setting: BenchSetting, ways: Sequence[str]) -> dict[str, list[int]]:
    """Peak bytes of each rank above what the process held before the model: parameters, gradients and one step's passes."""
    import ctypes
    import gc

    bench = Bench(setting)
    result = {}
    for way in ways:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        memory.mark()
        step = bench.make(way)
        step(False)
        step(False)
        everyone = gather_json(memory.peak())
        result[way] = everyone
        del step
    return result


WORK = {"speed": measure_speed, "memory": measure_memory}


def run(setting: BenchSetting, ways: Sequence[str]) -> dict:
    """Starts the ranks twice (speed, then memory, where memory goes back to the system as it is freed); returns the rows."""
    found = {}
    for what in WORK:
        arguments = ["--what", what, "--ways", ",".join(ways)]
        for name, value in vars(setting).items():
            arguments += [f"--{name}", str(value)]
        freed = (
            {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"} if what == "memory" else {}
        )
        found[what] = processes.measured("pipeline", arguments, setting.ranks, freed)
    return {
        "setting": vars(setting),
        "rows": [
            {"way": way, "name": WAYS[way], **found["speed"][way], "peak_bytes": found["memory"][way]}
            for way in ways
        ],
    }


def table(result: dict) -> str:
    """The rows as text: ratios are to torch's 1F1B where it ran, else to the first row."""
    rows = result["rows"]
    base = rows[0]["seconds"]
    lines = [
        f"{'way':40} {'tokens/s':>9} {'speed-up':>8} {'limit':>9} {'of limit':>8} {'loss':>9}  peak MiB per rank"
    ]
    tokens = result["setting"]["sequence"] * result["setting"]["microbatches"]
    for row in rows:
        part = " " * 18
        if "of_limit" in row:
            part = f"{tokens / row['limit_seconds']:9.0f} {100 * row['of_limit']:7.1f}%"
        peaks = " ".join(f"{b / 2**20:7.0f}" for b in row["peak_bytes"])
        loss = f"{row['loss']:9.4f}" if row["loss"] is not None else " " * 9
        lines.append(
            f"{row['name']:40} {row['tokens_per_second']:9.0f} {base / row['seconds']:7.2f}x {part} {loss}  {peaks}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench pipeline", description=__doc__.split("\n\n")[0])
    for name, value in vars(BenchSetting()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    parser.add_argument("--ways", default=",".join(WAYS), help="of " + ", ".join(WAYS))
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--what", choices=WORK, help=argparse.SUPPRESS)
    processes.add_argument(parser)
    options = parser.parse_args(list(arguments))
    setting = BenchSetting(**{name: getattr(options, name) for name in vars(BenchSetting())})
    ways = [way for way in options.ways.split(",") if way]
    if unknown := [way for way in ways if way not in WAYS]:
        parser.error(f"unknown ways {unknown}: choose from {', '.join(WAYS)}")
    if processes.is_rank(options):
        return processes.work_as_rank(options, lambda: WORK[options.what](setting, ways))
    result = run(setting, ways)
    s = setting
    print(
        f"p = {s.ranks}, {s.layers} layers of {s.hidden}, V = {s.vocabulary}, {s.sequence} tokens x {s.microbatches}, "
        f"{s.dtype}, 1 thread a rank, head = {head_work(s):.1f} layers; medians of {s.rounds} rounds"
    )
    print(table(result))
    print(
        "limit: tokens/s if the busiest rank never waited but for the first microbatch to come and the last to go"
    )
    processes.write_json(options.json, result)
    return 0
