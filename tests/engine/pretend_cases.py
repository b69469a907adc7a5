"""What a rank does on the pretended device: every kind of step with one engine, and planted faults."""

from __future__ import annotations

import importlib
import multiprocessing as mp
import traceback
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Objective, OptimizerSettings, Placement, Ranks
from pinisi.losses import clipped_ratio, cross_entropy_with, loss_named, weighted_cross_entropy
from pinisi.models import RandomWeights, read_spec
from pinisi.parallel.communicator import Communicator
from pinisi.schedule import build, layout_of
from tests.distributed.cases import Case, batches, config_of, possible
from tests.engine import pretend

RANKS = 3
LOSSES: dict[str, Any] = {
    "weighted": weighted_cross_entropy,
    "smoothed": cross_entropy_with(61, 0.1, 1e-3),
    "preference": loss_named("dpo", beta=0.4),
    "ratio": partial(clipped_ratio, clip=0.2),
}


@dataclass(frozen=True)
class PretendCase:
    """One rank of three, and what it runs."""

    rank: int = 0
    schedule: str = "1f1b"
    barriers: int = 1
    recompute: bool = False
    work: str = "gradients"  # gradients, evaluate, log_probs, hidden_states
    loss: str = "weighted"
    dtype: torch.dtype = torch.float32
    fault: str | None = None  # a name of FAULTS


def _with_data(batch: Microbatch, loss: str) -> Microbatch:
    shape = batch.tokens.shape
    if loss == "preference":
        sequences = torch.tensor([0, 1]).repeat_interleave(shape[0] * shape[1] // 2 or 1)
        sequences = torch.cat([sequences, sequences[-1:]])[: shape[0] * shape[1]].view(shape)
        return replace(batch, loss_data={"sequences": sequences, "reference": torch.zeros(2)})
    if loss == "ratio":
        return replace(batch, loss_data={"old": torch.zeros(shape), "advantages": torch.ones(shape)})
    return replace(batch, weights=torch.ones(shape))


def engine_on_the_device(case: PretendCase, spec: Any, microbatches: int) -> Engine:
    communicator = Communicator.connect([list(range(RANKS))], pretend.DEVICE)
    assert communicator is not None
    schedule = build(case.schedule, RANKS, microbatches, barriers=case.barriers)
    tied = None
    if not case.barriers and schedule.layout.first_rank != schedule.layout.last_rank:
        tied = dist.new_group([schedule.layout.first_rank, schedule.layout.last_rank])
    return Engine(
        spec,
        RandomWeights(spec, 0, case.dtype),
        Ranks(communicator, tied_group=tied),
        Placement(schedule),
        numerics=Numerics(case.dtype, pretend.DEVICE, activation_checkpointing=case.recompute),
        objective=Objective(loss=LOSSES[case.loss], languages=3),
        optimizer=OptimizerSettings(max_grad_norm=0.05),
    )


def _planted(fault: str | None) -> AbstractContextManager[None]:
    return FAULTS[fault].planted() if fault else nullcontext()


def run_case(case: PretendCase) -> int:
    """Runs it; returns how many operations the device was given. Raises what the device finds wrong."""
    small = possible(
        Case(ranks=RANKS, schedule=case.schedule, barriers=case.barriers, vocabulary=61, microbatches=2)
    )
    stages = layout_of(case.schedule, RANKS).last_stage + 1
    spec = read_spec(config_of(small) | {"num_hidden_layers": stages})
    batch = [_with_data(b, case.loss) for b in batches(small)]
    with pretend.pretend_rank(case.rank, RANKS) as mode, _planted(case.fault):
        engine = engine_on_the_device(case, spec, len(batch))
        before = mode.operations
        if case.work == "gradients":
            engine.update(engine.gradients(batch, record=True), 1e-3)
        else:
            getattr(engine, case.work)(batch[:1])
        return mode.operations - before


class Fault(NamedTuple):
    """A line of Pinisi's in another form. where: "module:Class.function" that has the line. found: file and beginning of the line
    at which the device finds it, where that isn't the line itself."""

    where: str
    line: str
    instead: str
    found: tuple[str, str] | None = None

    @property
    def place(self) -> str:
        """File and number of the line at which it is found, as `pretend.place` says it."""
        path = self.where.partition(":")[0].removeprefix("pinisi.").replace(".", "/") + ".py"
        path, line = self.found or (path, self.line)
        lines = (pretend.PACKAGE / path).read_text().splitlines()
        numbers = [at for at, text in enumerate(lines, 1) if text.strip().startswith(line)]
        assert len(numbers) == 1, f"{path} has {len(numbers)} lines {line!r}"
        return f"{path}:{numbers[0]} "

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Puts the function in its place, made of the module's text with the other line, numbers of lines unchanged."""
        module, _, name = self.where.partition(":")
        owner: Any = importlib.import_module(module)
        path, text = str(owner.__file__), Path(str(owner.__file__)).read_text()
        assert text.count(self.line) == 1, f"{path} has {text.count(self.line)} times {self.line!r}"
        namespace: dict[str, Any] = dict(vars(owner))
        exec(compile(text.replace(self.line, self.instead), path, "exec"), namespace)
        *parents, leaf = name.split(".")
        other: Any = SimpleNamespace(**namespace)
        for parent in parents:
            owner, other = getattr(owner, parent), getattr(other, parent)
        whole = vars(owner)[leaf]
        setattr(owner, leaf, vars(other)[leaf])
        try:
            yield
        finally:
            setattr(owner, leaf, whole)


_WORKER, _HEAD = "pinisi.engine.worker:PipelineWorker", "pinisi.engine.head_work:HeadWork"
_BUFFER = "return torch.empty(shape, dtype=self.parts.dtype, device=self.device)"
_S, _B = "self._alive += microbatch.head_bytes", "gradient, leaf.grad = leaf.grad, None"
FAULTS = {
    "item in S": Fault(f"{_HEAD}.s", _S, f"microbatch.x.sum().item(); {_S}"),
    "bool in S": Fault(f"{_HEAD}.s", _S, f"bool(given.targets.sum() > 0); {_S}"),
    "nonzero in S": Fault(f"{_HEAD}.s", _S, f"given.targets.nonzero(); {_S}"),
    "a mask in S": Fault(f"{_HEAD}.s", _S, f"microbatch.x[given.targets >= 0]; {_S}"),
    "list in B": Fault(f"{_WORKER}._backward", _B, f"{_B}; gradient.flatten()[:3].tolist()"),
    "copy to the host in B": Fault(f"{_WORKER}._backward", _B, f"{_B}; gradient.cpu()"),
    "copy from the host in B": Fault(
        f"{_WORKER}._backward", _B, f"{_B}; torch.tensor([1.0], device=self.device)"
    ),
    "item inside autograd": Fault(
        "pinisi.engine.gradients:_DeferredLinear.backward",
        "(x,), weight = ctx.saved_tensors, ctx.weight",
        "(x,), weight = ctx.saved_tensors, ctx.weight; dy.sum().item()",
    ),
    "a wait in B": Fault(
        f"{_WORKER}._backward", _B, f"{_B}; torch.get_device_module(self.device).synchronize()"
    ),
    "a buffer on the host": Fault(
        f"{_WORKER}._empty", _BUFFER, "return torch.empty(shape, dtype=self.parts.dtype)"
    ),
    "positions on the host": Fault(
        "pinisi.engine.prepared:Preparation._owned",
        "return [torch.nonzero(owner == r).flatten().to(self.device) for",
        "return [torch.nonzero(owner == r).flatten() for",
        ("engine/worker.py", "return given.ids.reshape(-1)[given.positions_by_rank[self.rank]]"),
    ),
    "rows on the host": Fault(
        "pinisi.engine.parts:_end_slots",
        "tensor = weights.get(name, rows).to(device=device, dtype=dtype)",
        "tensor = weights.get(name, rows).to(dtype=dtype)",
        ("vocabulary/embedding.py", "return self.weight.index_select(0, ids - self.rows.start)"),
    ),
}


def serve(pipe: Connection) -> None:
    """Runs what it is sent, until the pipe is closed: (None, operations) or (the error's text, 0)."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
    pretend.install()
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((None, run_case(case)))
        except Exception:
            pipe.send((traceback.format_exc(), 0))


class PretendProcess:
    """A process that has the device, since torch can't forget it."""

    def __init__(self) -> None:
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, case: PretendCase) -> tuple[str | None, int]:
        self._pipe.send(case)
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()
