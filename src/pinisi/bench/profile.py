"""Times a model's passes on the devices at hand, all of them busy at once: for `pinisi plan --hardware measure`.

A process per device (on a CPU per rank that has its cores) runs real steps of small pieces of the model, each a pipeline of
its own of one rank: one layer and three, a shard of the vocabulary's rows and half of it, the undivided ends. The engine is
the one that trains, so passes are timed with all that they do; what a step does between its passes counts as part of S (of F
with 0 barriers). Two sizes give what a pass takes at all and what each layer or row adds. Weights and tokens are random.
"""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pinisi.base.errors import CommunicationError, ConfigError
from pinisi.bench.profiled import device_name, hardware_of, summary
from pinisi.costs import Hardware, Setting
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.executor import gather_timeline
from pinisi.engine.gradients import attach_buffer
from pinisi.engine.measure import pass_medians
from pinisi.engine.settings import Numerics, Placement, Ranks
from pinisi.launch.supervisor import launch, rank_main
from pinisi.models import ModelSpec, RandomWeights, read_spec
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import build
from pinisi.schedule.program import Message, MessageChannel
from pinisi.train.building import device_here

_MICROBATCHES = 3  # of a measured step
_SECONDS = 6.0  # about as long a piece is measured
_ROUNDS = (3, 6)  # steps of a piece, at least and at most, behind one that warms up
_RING = 2**22  # fp32 numbers in the all-reduce that is timed
_LARGE = 2**20  # numbers, at least, in the message that a link's rate is taken from
# What stands for links where a single device is at hand: (bytes / s, seconds) within a machine and between machines.

Seconds = dict[str, float]


@dataclass(frozen=True)
class Piece:
    """What is run as a model of its own: barriers, layers and vocabulary rows."""

    barriers: int
    layers: int
    rows: int


def profile(
    spec: ModelSpec,
    setting: Setting,
    ranks: int,
    *,
    threads: int = 1,
    report: Callable[[str], None] = print,
) -> Hardware:
    """Measures on this machine what a plan for so many ranks needs. Raises CommunicationError if a process fails."""
    if setting.dtype == "float16":
        raise ConfigError("training runs in bfloat16, float32 or float64: nothing can be measured in float16")
    cuda = torch.cuda.is_available()
    devices = torch.cuda.device_count() if cuda else max(1, (os.cpu_count() or 1) // threads)
    processes = min(ranks, devices)
    report(f"measuring with {processes} process{'es' * (processes > 1)} at once on {device_name(cuda)} ...")
    folder = Path(tempfile.mkdtemp(prefix="pinisi-measure-"))  # stays if a rank fails: its log is there
    request = {
        "config": spec.config.to_dict(),
        "attention": spec.attention_choice,
        "setting": {k: getattr(setting, k) for k in ("sequence", "microbatch", "dtype")},
        "rows": max(2, -(-spec.vocabulary // ranks)),
        "threads": threads,
        "out": str(folder / "measured.json"),
    }
    where = folder / "request.json"
    where.write_text(json.dumps(request, default=str))
    if launch(["plan", str(where), "--as-rank"], processes, folder, threads=threads):
        raise CommunicationError(f"the passes could not be measured: logs are in {folder}")
    found = json.loads((folder / "measured.json").read_text())
    shutil.rmtree(folder)
    hardware = hardware_of(spec, setting, found, processes, devices)
    for line in summary(hardware, found["rows"]):
        report(line)
    return hardware


# -- one process ------------------------------------------------------------------------------------------------------


def as_rank(request: Path) -> int:
    """One process of `profile`."""
    return rank_main(lambda: _as_rank(json.loads(request.read_text())))


def _as_rank(request: dict[str, Any]) -> int:
    torch.set_num_threads(request["threads"])
    device = device_here()
    init_process_group(None, device)
    rank, world = dist.get_rank(), dist.get_world_size()
    alone = Communicator.connect([[r] for r in range(world)], device)
    together = Communicator.connect([list(range(world))], device)
    assert alone is not None and together is not None
    spec = read_spec(request["config"], attention=request["attention"])
    setting = Setting(**request["setting"])
    bench = _Bench(spec, setting, alone, device)
    found: dict[str, Any] = bench.measured(request["rows"])
    found |= {"links": _links(spec, setting, together, device), "matrix": _matrix_rate(setting, device)}
    found |= {"copy": _copy_rate(device), "rows": request["rows"]}
    everyone = gather_json(found)
    if rank == 0:
        Path(request["out"]).write_text(json.dumps(_medians(everyone)))
    dist.barrier()
    dist.destroy_process_group()
    return 0


def _medians(values: list[Any]) -> Any:
    """The median over processes of every number in equal trees of dicts and lists."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _medians([v[key] for v in values]) for key in first}
    if isinstance(first, list | tuple):
        return [_medians(list(column)) for column in zip(*values, strict=True)]
    return first if isinstance(first, int) else median(values)


class _Bench:
    """Times pieces of one model on one device."""

    def __init__(self, spec: ModelSpec, setting: Setting, communicator: Communicator, device: torch.device):
        self.spec, self.setting, self.communicator, self.device = spec, setting, communicator, device
        self.dtype: torch.dtype = getattr(torch, setting.dtype)

    def measured(self, rows: int) -> dict[str, Any]:
        """The figures of `Measured`, in lists."""
        half = max(1, rows // 2)
        whole = min(self.spec.vocabulary, 2 * rows)
        few, many = self.timed(Piece(1, 1, rows)), self.timed(Piece(1, 3, half))
        two, two_half = self.timed(Piece(2, 1, rows)), self.timed(Piece(2, 1, half))
        undivided = self.timed(Piece(0, 1, whole))
        lookup, dense = self._dense_embedding(whole)
        scale = self.spec.vocabulary / whole  # what is done for each row of it
        head = [undivided["F"] + undivided["other"] - few["F"] - lookup, undivided["B"] - few["B"] - dense]
        return {
            "forward": line_through(1, few["F"], 3, many["F"]),
            "backward": line_through(1, few["B"], 3, many["B"]),
            "weight": line_through(1, few["W"], 3, many["W"]),
            "s1": line_through(rows, few["S"] + few["other"], half, many["S"] + many["other"]),
            "t1": line_through(rows, few["T"], half, many["T"]),
            "s2": line_through(rows, two["S"] + two["other"], half, two_half["S"] + two_half["other"]),
            "t2": line_through(rows, two["T"], half, two_half["T"]),
            "whole_head": [*(max(0.0, n) * scale for n in head), 0.0],
            "whole_embedding": [lookup, dense * scale],
            "lookup": few["E"],
            "accumulate": few["G"],
            "update": few["update"],
        }

    def timed(self, piece: Piece) -> Seconds:
        """Seconds of each kind of pass, of what a microbatch takes beside them ("other"), and of the optimizer per
        parameter ("update")."""
        spec = cut(self.spec, piece)
        schedule = build("zb-h1", 1, _MICROBATCHES, barriers=piece.barriers)  # B and W apart
        engine = Engine(
            spec,
            RandomWeights(spec, 0, self.dtype),
            Ranks(self.communicator),
            Placement(schedule),
            numerics=Numerics(self.dtype, self.device),
        )
        batch = [self._microbatch(spec.vocabulary, i) for i in range(_MICROBATCHES)]
        parameters = sum(slot.parameter.numel() for slot in engine.slots)
        found: list[Seconds] = []
        rounds, done = _ROUNDS[1], 0
        dist.barrier()
        while done <= rounds:
            began = self._now()
            result = engine.gradients(batch, record=True)
            step = self._now() - began
            timeline = gather_timeline(schedule, result.spans, self.communicator)
            began = self._now()
            engine.optimizer.squared_norm()
            norm = self._now() - began
            engine.optimizer.step(1e-6, 1.0)
            engine.optimizer.zero()
            updated = self._now() - began
            seconds = {kind.value: n for (kind, _), n in pass_medians(timeline).items()}
            seconds["other"] = max(0.0, step - timeline.busy(0) - norm) / _MICROBATCHES
            seconds["update"] = updated / parameters
            if done:
                found.append(seconds)  # the first step pays for memory and kernels
            else:
                rounds = max(_ROUNDS[0], min(_ROUNDS[1], math.ceil(_SECONDS / (step + updated))))
            done += 1
        del engine
        gc.collect()
        # the least of the steps: what else runs on the machine only adds
        return {key: min(row[key] for row in found) for key in found[0]}

    def _microbatch(self, vocabulary: int, seed: int) -> Microbatch:
        """Random tokens in documents of about a third of a sequence: packed, so that attention takes a mask."""
        b, s = self.setting.microbatch, self.setting.sequence
        random = torch.Generator().manual_seed(seed)
        tokens = torch.randint(vocabulary, (b, s + 1), generator=random)
        documents = (torch.arange(s) * 3 // s).expand(b, s).contiguous()
        return Microbatch(
            tokens[:, :-1].clone(),
            tokens[:, 1:].clone(),
            documents,
            torch.arange(s).expand(b, s).contiguous(),
            torch.zeros((b, s), dtype=torch.int64),
        )

    def _dense_embedding(self, rows: int) -> tuple[float, float]:
        """Lookup in an undivided embedding, and its gradient of all rows."""
        weight = nn.Parameter(torch.zeros(rows, self.spec.hidden, dtype=self.dtype, device=self.device))
        attach_buffer(weight)
        ids = self._microbatch(rows, 0).tokens.to(self.device)
        forward, backward = [], []
        for _ in range(5):
            began = self._now()
            found = nn.functional.embedding(ids, weight)
            middle = self._now()
            found.backward(torch.ones_like(found))
            forward.append(middle - began)
            backward.append(self._now() - middle)
        return median(forward[1:]), median(backward[1:])

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def cut(spec: ModelSpec, piece: Piece) -> ModelSpec:
    """The model with fewer layers and rows."""
    values = spec.config.to_dict()
    types = values.get("layer_types")
    if types:
        values["layer_types"] = [types[i % len(types)] for i in range(piece.layers)]
    values |= {"num_hidden_layers": piece.layers, "vocab_size": piece.rows, "pad_token_id": None}
    return read_spec(values, attention=spec.attention_choice)


def line_through(a: int, seconds_a: float, b: int, seconds_b: float) -> list[float]:
    """(fixed, each) of the line through two points, neither below 0."""
    each = (seconds_a - seconds_b) / (a - b) if a != b else seconds_a / a
    each = min(max(each, 0.0), seconds_a / a)
    return [seconds_a - a * each, each]


# -- links and rates --------------------------------------------------------------------------------------------------


def _links(
    spec: ModelSpec, setting: Setting, together: Communicator, device: torch.device
) -> dict[str, float]:
    """Of one message between neighbours: seconds of the shortest, bytes per second of a large one; bytes per second
    that each rank sends in an all-reduce. Nothing with a single process."""
    if together.size == 1:
        return {}
    dtype = getattr(torch, setting.dtype)
    large = torch.zeros(max(setting.tokens * spec.hidden, _LARGE), dtype=dtype, device=device)
    short, long = _message_seconds(together, large[:1]), _message_seconds(together, large)
    ring = torch.zeros(_RING, device=device)
    seconds = _repeated(lambda: dist.all_reduce(ring), device)
    sent = 2 * (together.size - 1) / together.size * ring.nbytes
    rate = large.nbytes / max(long - short, long / 2)
    return {"latency": short, "rate": rate, "ring": sent / seconds}


def _message_seconds(together: Communicator, tensor: torch.Tensor) -> float:
    """From rank 0 to rank 1 and back, halved; the others wait."""
    other = torch.empty_like(tensor)

    def there_and_back() -> None:
        if together.rank > 1:
            return
        for turn in (0, 1):
            message = Message(MessageChannel.ACTIVATION, turn, turn, 1 - turn)
            mine = together.rank == turn
            work = together.send(message, tensor) if mine else together.receive(message, other)
            if work is not None:
                work.wait()

    return _repeated(there_and_back, tensor.device) / 2


def _repeated(work: Callable[[], Any], device: torch.device, times: int = 9) -> float:
    taken = []
    for _ in range(times + 1):
        dist.barrier()
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def _matrix_rate(setting: Setting, device: torch.device) -> float:
    """FLOP/s of a large product, the best of a few."""
    n = 8192 if device.type == "cuda" else 1024
    a = torch.randn(n, n, device=device).to(getattr(torch, setting.dtype))
    best = min(_repeated(lambda: a @ a, device, 1) for _ in range(5))
    return 2 * n**3 / best


def _copy_rate(device: torch.device) -> float:
    """Bytes of memory per second, read and written."""
    a = torch.zeros(2**26 if device.type == "cuda" else 2**24, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / _repeated(lambda: b.copy_(a), device, 5)
