"""One step of a pipeline against one process with the same Hugging Face model: what both sides run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Objective, OptimizerSettings, Placement, Ranks
from pinisi.losses import cross_entropy_with
from pinisi.models import ModelSpec, RandomWeights, read_spec, reference_inputs
from pinisi.parallel.communicator import Communicator
from pinisi.schedule import Kind, Pass, Schedule, build, layout_of
from pinisi.vocabulary import Shards

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}
EPSILON = 1e-5  # Sailor2's; Adam with a tiny one turns the rounding noise of a vanishing gradient into steps


@dataclass(frozen=True)
class Case:
    """One setting. `rows`: even, uneven, or one (a rank that holds a single row). `split`: every BW as B, then W later."""

    ranks: int = 2
    schedule: str = "1f1b"
    barriers: int = 1
    tied: bool = True
    vocabulary: int = 211
    microbatches: int = 4
    architecture: str = "qwen2"
    dtype: torch.dtype = torch.float64
    ignored: str = "some"  # none, some, or a whole microbatch
    packed: bool = True
    rows: str = "even"
    recompute: bool = False
    head_budget: int | None = None  # bytes
    split: bool = False
    padding: int | None = None
    steps: int = 1
    seed: int = 0
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    attention: str = "auto"
    moments: torch.dtype | None = None
    compiler: str | None = None  # torch.compile's, for decoder layers


SLIDING = {"gemma2", "mistral", "gemma3_text"}


def possible(case: Case) -> Case:
    """The case with what its schedule asks for: dualpipev two microbatches a rank, interlaced a split vocabulary; B and W are
    apart already in some."""
    if case.schedule == "dualpipev":
        case = replace(case, microbatches=max(case.microbatches, 2 * case.ranks))
    if case.schedule == "interlaced":
        case = replace(case, barriers=max(case.barriers, 1))
    if case.architecture.startswith(
        "gemma"
    ):  # a padding token's row of zeros: its gradient through the norms of some
        case = replace(case, padding=None)  # layers is inf * 0 in transformers' model, too
    return case


def config_of(case: Case) -> dict:
    """A small model of 5 layers, so that 2, 3 and 4 ranks have uneven stages; more where there are more stages."""
    stages = layout_of(case.schedule, case.ranks).last_stage + 1
    config = {
        "model_type": case.architecture,
        "vocab_size": case.vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": max(5, stages),
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "tie_word_embeddings": case.tied,
        "initializer_range": 0.2,
        "pad_token_id": case.padding,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if case.architecture in SLIDING:
        config["sliding_window"] = 5
    if case.architecture == "gemma2":
        config |= {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 8}
    return config


def batches(case: Case, step: int = 0) -> list[Microbatch]:
    """m microbatches [2, 11] of random tokens; documents of random lengths where packed."""
    random = torch.Generator().manual_seed(1000 * case.seed + step)
    result = []
    for i in range(case.microbatches):
        tokens = torch.randint(0, case.vocabulary, (2, 12), generator=random)
        starts = torch.rand((2, 11), generator=random) < (0.3 if case.packed else 0.0)
        starts[:, 0] = False
        documents = starts.cumsum(1) + torch.tensor([[0], [50]])
        targets = tokens[:, 1:].clone()
        if case.packed:
            targets[:, :-1][documents[:, 1:] != documents[:, :-1]] = IGNORE
        if case.ignored != "none":
            targets[torch.rand(targets.shape, generator=random) < 0.4] = IGNORE
        if case.ignored == "microbatch" and i == 0 and case.microbatches > 1:
            targets[:] = IGNORE
        positions = torch.arange(11).expand(2, 11)
        languages = torch.randint(0, 3, (2, 1), generator=random).expand(2, 11)
        result.append(Microbatch(tokens[:, :-1].contiguous(), targets, documents, positions, languages))
    return result


def schedule_of(case: Case) -> Schedule:
    schedule = build(case.schedule, case.ranks, case.microbatches, barriers=case.barriers)
    return split_backward(schedule) if case.split else schedule


def split_backward(schedule: Schedule) -> Schedule:
    """Every BW as a B, and its W one pass later."""
    order = []
    for passes in schedule.order:
        row: list[Pass] = []
        late: list[Pass] = []
        for p in passes:
            row.append(p._replace(kind=Kind.B) if p.kind is Kind.BW else p)
            row += late
            late = [p._replace(kind=Kind.W)] if p.kind is Kind.BW else []
        order.append(tuple(row + late))
    return Schedule(schedule.name + "-split", schedule.layout, schedule.microbatches, tuple(order))


def shards_of(case: Case) -> Shards:
    v, p = case.vocabulary, case.ranks
    if case.rows == "even" or p == 1:
        return Shards.even(v, p)
    if case.rows == "one":
        return Shards.weighted(v - 1, [0] + [1] * (p - 1)).__class__.from_list(
            [0, 1, *(1 + o for o in Shards.even(v - 1, p - 1).to_list()[1:])]
        )
    return Shards.weighted(v, [1 + 2 * r for r in range(p)])


def reference_model(spec: ModelSpec, case: Case) -> torch.nn.Module:
    """transformers' own whole model with the same start."""
    model = AutoModelForCausalLM.from_config(
        spec.config, dtype=case.dtype, attn_implementation=spec.attention
    )
    weights = RandomWeights(spec, case.seed, case.dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights.get(name))
    return model.train()


def reference_gradients(
    spec: ModelSpec,
    model: torch.nn.Module,
    batch: list[Microbatch],
    dtype: torch.dtype,
    smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> float:
    """Cross-entropy over the step's targets, microbatch by microbatch; gradients land in the parameters. With z_loss also
    the squared log-sum-exp at each target."""
    total = sum(b.target_count for b in batch)
    loss = 0.0
    for b in batch:
        logits = model(**reference_inputs(spec, b.tokens, b.documents, b.positions, dtype)).logits
        logits, targets = logits.flatten(0, 1), b.targets.flatten()
        value = F.cross_entropy(
            logits, targets, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
        )
        value = (value + z_loss * logits.logsumexp(1)[targets != IGNORE].square().sum()) / total
        value.backward()
        loss += value.item()
    return loss


def engine_of(
    case: Case,
    spec: ModelSpec,
    communicator: Communicator,
    *,
    data_group: dist.ProcessGroup | None = None,
    tied_group: dist.ProcessGroup | None = None,
    seed: int = 0,
    frozen: bool = False,
    sharded: bool = False,
    **objective,
) -> Engine:
    """objective: of `Objective`, where a test wants another than the case's."""
    smoothed = cross_entropy_with(spec.vocabulary, case.label_smoothing, case.z_loss)
    return Engine(
        spec,
        RandomWeights(spec, case.seed, case.dtype),
        Ranks(communicator, data_group, tied_group),
        Placement(schedule_of(case), shards=shards_of(case)),
        numerics=Numerics(
            case.dtype,
            activation_checkpointing=case.recompute,
            compiler=case.compiler,
            head_budget=case.head_budget,
            seed=seed,
        ),
        objective=Objective(**{"loss": smoothed, "languages": 3, **objective}),
        optimizer=OptimizerSettings(max_grad_norm=0.05, eps=EPSILON, sharded=sharded, moments=case.moments),
        frozen=frozen,
    )


def assemble(engine: Engine, what: str) -> dict[str, torch.Tensor]:
    """name -> whole gradient or parameter, put together from every rank's slots, each name once."""
    mine = [(s.name, s.box.offset, s.counted, getattr(s, what).detach().clone()) for s in engine.slots]
    everyone: list = [None] * engine.communicator.size
    dist.all_gather_object(everyone, mine, group=engine.communicator.world)
    pieces: dict[str, list] = {}
    for rank in everyone:
        for name, start, counted, tensor in rank:
            if counted:
                pieces.setdefault(name, []).append((start, tensor))
    return {n: torch.cat([t for _, t in sorted(found, key=lambda x: x[0])]) for n, found in pieces.items()}


def worst(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> tuple[float, str]:
    """The largest relative error (norm of the difference / norm) over the parameters, and where."""
    if found.keys() != wanted.keys():
        return float("inf"), f"names differ: {sorted(found.keys() ^ wanted.keys())}"
    errors = {n: _relative(found[n].detach().double(), w.detach().double()) for n, w in wanted.items()}
    where = max(errors, key=errors.__getitem__)
    return errors[where], where


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-30))


class Reference:
    """One process: the whole model and torch's AdamW."""

    def __init__(self, spec: ModelSpec, case: Case) -> None:
        self.spec, self.case, self.model = spec, case, reference_model(spec, case)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in self.model.parameters() if p.ndim > 1], "weight_decay": 0.1},
                {"params": [p for p in self.model.parameters() if p.ndim == 1], "weight_decay": 0.0},
            ],
            betas=(0.9, 0.95),
            eps=EPSILON,
        )

    def gradients(self, batch: list[Microbatch]) -> float:
        self._optimizer.zero_grad()
        case = self.case
        return reference_gradients(
            self.spec, self.model, batch, case.dtype, case.label_smoothing, case.z_loss
        )

    def update(self, rate: float) -> float:
        """The gradients' norm before it is clipped."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        return norm.item()


def run_case(
    case: Case, rank: int, communicator: Communicator, tied_group: dist.ProcessGroup | None
) -> str | None:
    """Runs one case on the ranks of `communicator`; None if all agrees, else what did not first, as rank 0 sees it: it alone
    runs the reference, and all ranks go on to the end, since what they have is put together by all."""
    case = possible(case)
    spec = read_spec(config_of(case), attention=case.attention)
    layout = schedule_of(case).layout
    ends_apart = case.barriers == 0 and case.tied and layout.first_rank != layout.last_rank
    engine = engine_of(case, spec, communicator, tied_group=tied_group if ends_apart else None)
    reference = Reference(spec, case) if rank == 0 else None
    limit, faults = TOLERANCE[case.dtype], []
    for step in range(case.steps):
        batch, rate = batches(case, step), 1e-2 / (step + 1)
        result = engine.gradients(batch)
        found = assemble(engine, "gradient") if case.steps == 1 else {}
        norm = engine.update(result, rate)
        if reference is None:
            continue
        loss = reference.gradients(batch)
        if not abs(result.loss - loss) <= limit * abs(loss):
            faults.append(f"step {step}: loss {result.loss}, reference {loss}")
        if case.steps == 1:
            error, where = worst(found, {n: p.grad for n, p in reference.model.named_parameters()})
            if not error <= limit:
                faults.append(f"gradient of {where} is off by {error:.2e} > {limit:.0e}")
        wanted = reference.update(rate)
        if not abs(norm - wanted) <= 1e3 * limit * norm:
            faults.append(f"step {step}: norm {norm}, reference {wanted}")
    found = assemble(engine, "parameter") if case.steps > 1 else {}
    if reference is not None and case.steps > 1:
        error, where = worst(found, dict(reference.model.named_parameters()))
        if not error <= 100 * limit:
            faults.append(f"after {case.steps} steps {where} is off by {error:.2e}")
    return faults[0] if faults else None


def run_cases(world, cases: list[Case]) -> list[str | None]:
    """On every rank of the pool: what is wrong with each case."""
    return [
        run_case(case, world.rank, world.communicators[case.ranks], world.ends[case.ranks])
        if world.rank < case.ranks
        else None
        for case in cases
    ]


def check_cases(pool, cases: list[Case]) -> None:
    results = pool.run("tests.distributed.cases:run_cases", cases)
    wrong = [f"{case}: {found}" for case, found in zip(cases, results[0], strict=True) if found]
    assert not wrong, "\n".join(wrong)
