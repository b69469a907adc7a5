"""What a rank does on the pretended device: every kind of step with one engine, and planted faults."""

from __future__ import annotations

import importlib
import multiprocessing as mp
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Objective, OptimizerSettings, Placement, Ranks
from pinisi.losses import PreferenceLoss, clipped_ratio, cross_entropy_with, weighted_cross_entropy
from pinisi.models import RandomWeights, read_spec
from pinisi.parallel.communicator import Communicator
from pinisi.schedule import build, layout_of
from tests.distributed.cases import Case, batches, config_of, possible
from tests.engine import pretend

RANKS = 3
LOSSES: dict[str, Any] = {
    "weighted": weighted_cross_entropy,
    "smoothed": cross_entropy_with(61, 0.1, 1e-3),
    "preference": PreferenceLoss(0.4),
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


def run_case(case: PretendCase) -> int:
    """Runs it; returns how many operations the device was given. Raises what the device finds wrong."""
    small = possible(
        Case(ranks=RANKS, schedule=case.schedule, barriers=case.barriers, vocabulary=61, microbatches=2)
    )
    stages = layout_of(case.schedule, RANKS).last_stage + 1
    spec = read_spec(config_of(small) | {"num_hidden_layers": stages})
    batch = [_with_data(b, case.loss) for b in batches(small)]
    with pretend.pretend_rank(case.rank, RANKS) as mode, FAULTS[case.fault]():
        engine = engine_on_the_device(case, spec, len(batch))
        before = mode.operations
        if case.work == "gradients":
            engine.update(engine.gradients(batch, record=True), 1e-3)
        else:
            getattr(engine, case.work)(batch[:1])
        return mode.operations - before


def _replaced(path: str, make: Callable[[Any], Any]) -> Callable[[], Any]:
    """A fault: a function of Pinisi's in another form. path: "module:Class.function"."""

    @contextmanager
    def planted() -> Iterator[None]:
        module, _, name = path.partition(":")
        owner: Any = importlib.import_module(module)
        *parents, leaf = name.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        whole = getattr(owner, leaf)
        setattr(owner, leaf, make(whole))
        try:
            yield
        finally:
            setattr(owner, leaf, whole)

    return planted


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _reading(whole: Any) -> Any:
    def s(self: Any, microbatch: Any) -> None:
        microbatch.x.sum().item()
        whole(self, microbatch)

    return s


FAULTS: dict[str | None, Callable[[], Any]] = {
    None: _nothing,
}


def serve(pipe: Connection) -> None:
    """Runs what it is sent, until the pipe is closed: (None, operations) or (the error's text, 0)."""
    torch.set_num_threads(1)
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
        self._process.join(10)
