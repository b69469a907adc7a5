"""Trains with the optimizer shared out over replicas and with a whole one on each, on the same ranks, and compares the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

from pinisi.data import Microbatch
from pinisi.engine import sharded
from pinisi.engine.emulate import LimitedLink
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Objective, OptimizerSettings, Placement, Ranks
from pinisi.models import RandomWeights, read_spec
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.mesh import Mesh
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import Message, MessageChannel, Op, build, lower
from pinisi.schedule.program import Program

PIPELINE = 2  # ranks of each replica
MICROBATCHES = 6  # of a step, over all replicas
STEPS = 4
VOCABULARY, HIDDEN, LAYERS, SEQUENCE = 211, 32, 5, 16
BUCKET = 16_000  # bytes, so that a rank has several
SLOW = 0.002  # seconds of each sum in the control, so that passes overtake it


@dataclass(frozen=True)
class ReplicaCase:
    """One way of training; the model is drawn anew for each seed."""

    schedule: str
    barriers: int
    tied: bool
    dtype: str

    @property
    def label(self) -> str:
        return f"{self.schedule}, {self.barriers} barriers, {'tied' if self.tied else 'untied'}, {self.dtype}"


CASES = (
    ReplicaCase("1f1b", 1, True, "float32"),
    ReplicaCase("zb-h1", 2, False, "float32"),
    ReplicaCase("zbv", 1, False, "bfloat16"),
    ReplicaCase("zbv", 0, True, "float64"),
    ReplicaCase("interleaved-1f1b", 1, True, "float64"),
    ReplicaCase("1f1b", 0, True, "bfloat16"),
)


def measure(ranks: int, seeds: Sequence[int]) -> dict[str, Any]:
    """On every rank: a row for each case and seed, the same on all."""
    device = torch.device("cpu")
    init_process_group("gloo", device)
    mesh = Mesh.connect({"pipeline": PIPELINE}, tied=(0, PIPELINE - 1))
    communicator = Communicator.connect(mesh.lines("pipeline"), device)
    assert communicator is not None and mesh.size("data") * PIPELINE == ranks
    place = Ranks(communicator, mesh.group("data"), mesh.tied)
    sharded.BUCKET = BUCKET
    rows = [_compared(case, seed, mesh, place) for case in CASES for seed in seeds]
    control = [_control(seed, mesh, place) for seed in seeds]
    return {"rows": rows, "control": control}


def _compared(case: ReplicaCase, seed: int, mesh: Mesh, place: Ranks) -> dict[str, Any]:
    """Whole optimizers, shared ones, and shared ones with all sums after the passes: weights, norms, bytes."""
    engines = {name: _engine(case, seed, place, name != "whole") for name in ("whole", "shared", "after")}
    engines["after"].program = lower(engines["after"].schedule)
    norms = {name: _train(engine, seed, mesh) for name, engine in engines.items()}
    whole = engines["whole"]
    mine = {
        "bits": all(_same_bits(whole, engine) for engine in engines.values())
        and len({*map(tuple, norms.values())}) == 1,
        "after_bits": _same_bits(engines["shared"], engines["after"]),
        "worst": max(_worst(whole, engine) for engine in engines.values()),
        "share": _state_bytes(engines["shared"]) / _state_bytes(whole),
        "sums": len([m for m in engines["shared"].program.reductions if m.source == whole.rank]),
    }
    everyone = gather_json(mine)
    return {
        "case": case.label,
        "dtype": case.dtype,
        "replicas": mesh.size("data"),
        "seed": seed,
        "bits": all(each["bits"] for each in everyone),
        "after_bits": all(each["after_bits"] for each in everyone),
        "worst": max(each["worst"] for each in everyone),
        "shares": [each["share"] for each in everyone],
        "sums": [each["sums"] for each in everyone],
    }


def _control(seed: int, mesh: Mesh, place: Ranks) -> dict[str, Any]:
    """Sums that are launched before the last pass that adds to them, on a slow link, must give other weights."""
    case = CASES[1]
    right, wrong = (_engine(case, seed, place, True) for _ in range(2))
    wrong.program = early(wrong.program)
    _train(right, seed, mesh)
    with slow_link(SLOW):
        _train(wrong, seed, mesh)
    same = all(gather_json(_same_bits(right, wrong)))
    return {"seed": seed, "differs": not same}


def early(program: Program) -> Program:
    """Each sum over replicas stands before the last pass of its rank that is none of the embedding's."""
    rows = []
    for code in program.instructions:
        sums = [x for x in code if _is_sum(x.what) and x.op is Op.LAUNCH]
        rest = [x for x in code if x not in sums]
        at = max(k for k, x in enumerate(rest) if x.op is Op.RUN and str(x.what.kind) in ("W", "BW", "B"))  # type: ignore[union-attr]
        rows.append((*rest[:at], *sums, *rest[at:]))
    return replace(program, instructions=tuple(rows))


def _is_sum(what: object) -> bool:
    return isinstance(what, Message) and what.channel is MessageChannel.REDUCE


@contextmanager
def slow_link(seconds: float) -> Iterator[None]:
    """Every reduce-scatter takes so long, one after the other, of what there is at its launch."""
    link, scatter = LimitedLink(1 / seconds), sharded._reduce_scatter

    def slow(out: torch.Tensor, given: torch.Tensor, group: dist.ProcessGroup, async_op: bool) -> Any:
        read = given.clone()
        return link.send(1, lambda: scatter(out, read, group=group, async_op=True).wait())

    sharded._reduce_scatter = slow
    try:
        yield
    finally:
        sharded._reduce_scatter = scatter


def _engine(case: ReplicaCase, seed: int, place: Ranks, shared: bool) -> Engine:
    spec = read_spec(
        {
            "model_type": "qwen2",
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "intermediate_size": 48,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": SEQUENCE,
            "tie_word_embeddings": case.tied,
            "initializer_range": 0.2,
        }
    )
    dtype = getattr(torch, case.dtype)
    replicas = 1 if place.data_group is None else dist.get_world_size(place.data_group)
    schedule = build(case.schedule, PIPELINE, MICROBATCHES // replicas, barriers=case.barriers)
    layout = schedule.layout
    apart = case.barriers == 0 and case.tied and layout.first_rank != layout.last_rank
    return Engine(
        spec,
        RandomWeights(spec, seed, dtype),
        place if apart else replace(place, tied_group=None),
        Placement(schedule),
        numerics=Numerics(dtype),
        objective=Objective(),
        optimizer=OptimizerSettings(max_grad_norm=0.05, eps=1e-5, sharded=shared),
    )


def _train(engine: Engine, seed: int, mesh: Mesh) -> list[float]:
    """Some steps, each replica with its microbatches; returns the gradients' norms."""
    norms = []
    m = engine.schedule.microbatches
    for step in range(STEPS):
        batch = random_step(1000 * seed + step)[mesh.coordinate("data") * m :][:m]
        norms.append(engine.update(engine.gradients(batch), 1e-2 / (step + 1)))
    return norms


def random_step(seed: int) -> list[Microbatch]:
    """A step's microbatches of random tokens."""
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, VOCABULARY, (MICROBATCHES, 2, SEQUENCE + 1), generator=random)
    same = torch.zeros(2, SEQUENCE, dtype=torch.long)
    positions = torch.arange(SEQUENCE).expand(2, SEQUENCE)
    return [Microbatch(t[:, :-1].contiguous(), t[:, 1:].contiguous(), same, positions, same) for t in tokens]


def _same_bits(a: Engine, b: Engine) -> bool:
    return all(torch.equal(x.parameter, y.parameter) for x, y in zip(a.slots, b.slots, strict=True))


def _worst(a: Engine, b: Engine) -> float:
    """The largest difference of a weight, relative to the largest weight of its tensor."""
    pairs = [
        (x.parameter.detach().double(), y.parameter.detach().double())
        for x, y in zip(a.slots, b.slots, strict=True)
    ]
    return max(float((x - y).abs().max() / x.abs().max()) for x, y in pairs if x.numel())


def _state_bytes(engine: Engine) -> int:
    """Of moments and, in 16 bit, master weights."""
    held = zip(engine.optimizer.state(), engine.optimizer.slots, strict=True)
    return sum(
        t.nbytes for kept, slot in held for t in kept.values() if t.data_ptr() != slot.parameter.data_ptr()
    )


def line(row: dict[str, Any]) -> str:
    shares = [100 * share for share in row["shares"]]
    return (
        f"{row['replicas']} replicas, {row['case']}, seed {row['seed']}: {'the same bits' if row['bits'] else 'other bits'}, worst "
        f"difference {row['worst']:.1e}; {min(shares):.1f} to {max(shares):.1f} % of the optimizer's bytes; "
        f"{'/'.join(map(str, row['sums'][:PIPELINE]))} sums a rank"
    )
