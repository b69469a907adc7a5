"""Adapters under the pipeline against peft's on one process with the same Hugging Face model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from unittest.mock import patch

import peft
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ConfigError
from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Objective, OptimizerSettings, Placement, Ranks
from pinisi.losses import WithEntropy, weighted_cross_entropy
from pinisi.models import (
    AdaptedWeights,
    MergedWeights,
    RandomWeights,
    adapter_shapes,
    read_spec,
    with_adapters,
)
from pinisi.models.adapter_folder import PREFIX
from pinisi.schedule import layout_of
from tests.distributed.cases import (
    Case,
    assemble,
    batches,
    config_of,
    possible,
    reference_gradients,
    schedule_of,
    worst,
)
from tests.effort import only_full

ARCHITECTURES = ["qwen2", "llama", "gemma2", "mistral", "qwen3", "gemma3_text", "phi3", "olmo2"]


@dataclass(frozen=True)
class AdapterCase:
    """A case of the pipeline, and its adapters."""

    case: Case
    targets: tuple[str, ...] = ()
    rank_stabilised: bool = False


class DrawnAdapters:
    """Weights with adapters of which no matrix is zero, so that every gradient says something."""

    def __init__(self, spec, case: Case):
        self.base = AdaptedWeights(spec, RandomWeights(spec, case.seed, case.dtype), case.seed, case.dtype)
        self._shapes = adapter_shapes(spec)

    def names(self):
        return self.base.names()

    def get(self, name, rows=None):
        if ".lora_B." not in name:
            return self.base.get(name, rows)
        random = torch.Generator().manual_seed(sum(map(ord, name)))
        return torch.randn(self._shapes[name], generator=random, dtype=torch.float64).to(self.base.dtype) / 9


def spec_of(given: AdapterCase):
    case = possible(given.case)
    spec = read_spec(config_of(case), attention=case.attention)
    return with_adapters(spec, 3, alpha=5, targets=given.targets, rank_stabilised=given.rank_stabilised)


def engine_of(given: AdapterCase, communicator, tied_group=None, **objective) -> Engine:
    case = possible(given.case)
    spec = spec_of(given)
    layout = schedule_of(case).layout
    apart = case.barriers == 0 and case.tied and layout.first_rank != layout.last_rank
    return Engine(
        spec,
        DrawnAdapters(spec, case),
        Ranks(communicator, tied_group=tied_group if apart else None),
        Placement(schedule_of(case)),
        numerics=Numerics(case.dtype, activation_checkpointing=case.recompute, compiler=case.compiler),
        objective=Objective(**{"loss": weighted_cross_entropy, "languages": 3, **objective}),
        optimizer=OptimizerSettings(max_grad_norm=0.05, eps=1e-5),
    )


def peft_model(given: AdapterCase):
    """peft's own, with the same numbers; also which parameter has which name."""
    case, spec = possible(given.case), spec_of(given)
    weights = DrawnAdapters(spec, case)
    model = AutoModelForCausalLM.from_config(
        spec.config, dtype=case.dtype, attn_implementation=spec.attention
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights.get(name))
    linear = given.targets or "all-linear"
    config = peft.LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=linear if isinstance(linear, str) else list(linear),
        use_rslora=given.rank_stabilised,
        task_type="CAUSAL_LM",
    )
    adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    named = {}
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                plain = name.replace(".default.", ".").removeprefix(PREFIX)
                parameter.copy_(weights.get(plain))
                named[plain] = parameter
    return adapted.train(), named


def differs(given: AdapterCase, rank: int, communicator, tied_group) -> str | None:
    """Runs a step on the ranks of `communicator`; what differs from one process with peft, as rank 0 sees it."""
    case = possible(given.case)
    engine = engine_of(given, communicator, tied_group)
    batch = batches(case)
    before = assemble(engine, "parameter")
    result = engine.gradients(batch)
    found = assemble(engine, "gradient")
    engine.update(result, 1e-2)
    after = assemble(engine, "parameter")
    trained = sum(tensor.numel() for kept in engine.optimizer.state() for tensor in kept.values())
    if trained != 3 * sum(slot.parameter.numel() for slot in engine.slots):
        return f"the optimizer of rank {rank} holds {trained} numbers"
    if rank:
        return None
    model, named = peft_model(given)
    loss = reference_gradients(spec_of(given), model, batch, case.dtype)
    if not abs(result.loss - loss) <= 1e-11 * abs(loss):
        return f"loss {result.loss}, peft {loss}"
    error, where = worst(found, {name: p.grad for name, p in named.items()})
    if not error <= 1e-11:
        return f"gradient of {where} is off by {error:.2e}"
    still = [name for name in before if torch.equal(before[name], after[name])]
    return f"no update of {still}" if still else None


def run_differs(world, cases: list[AdapterCase]) -> list[str | None]:
    return [
        differs(given, world.rank, world.communicators[given.case.ranks], world.ends[given.case.ranks])
        if world.rank < given.case.ranks
        else None
        for given in cases
    ]


def check(pool, cases: list[AdapterCase]) -> None:
    results = pool.run("tests.distributed.test_adapters:run_differs", cases, seconds=900)
    wrong = [f"{c}: {found}" for c, *each in zip(cases, *results, strict=True) for found in each if found]
    assert not wrong, "\n".join(wrong)


def test_gradients_of_adapters_equal_pefts_on_one_process(pool):
    drawn = [
        AdapterCase(Case(ranks=2, schedule="zb-h1", barriers=1, microbatches=3)),
        AdapterCase(Case(ranks=2, barriers=2, tied=False, architecture="phi3", microbatches=2)),
        AdapterCase(
            Case(ranks=2, barriers=0, architecture="gemma2", microbatches=2, recompute=True),
            ("q_proj", "down_proj"),
            rank_stabilised=True,
        ),
        AdapterCase(Case(ranks=1, barriers=1, architecture="qwen3", microbatches=1, attention="blocks")),
    ]
    check(pool, drawn)


@only_full
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_schedule_and_number_of_barriers(pool, architecture):
    cases = [
        AdapterCase(
            Case(ranks, schedule, barriers, tied, architecture=architecture, microbatches=3, packed=True)
        )
        for ranks, (schedule, barriers), tied in product(
            (1, 2),
            (("1f1b", 0), ("1f1b", 1), ("zb-h1", 2), ("zbv", 1), ("interleaved-1f1b", 0)),
            (True, False),
        )
    ]
    cases += [replace(each, case=replace(each.case, compiler="aot_eager")) for each in cases[4:6]]
    check(pool, cases)


def alone_and_packed(world, given: AdapterCase) -> float:
    """How far the gradients of two documents in one row are from the sum of those of each alone; on rank 0."""
    case = given.case
    if world.rank >= case.ranks:
        return 0.0
    random = torch.Generator().manual_seed(3)
    texts = [torch.randint(0, case.vocabulary, (n + 1,), generator=random) for n in (7, 4)]

    def row(of: list[torch.Tensor]) -> Microbatch:
        tokens, targets = torch.cat([t[:-1] for t in of])[None], torch.cat([t[1:] for t in of])[None]
        documents = torch.cat([torch.full((len(t) - 1,), k) for k, t in enumerate(of)])[None]
        positions = torch.cat([torch.arange(len(t) - 1) for t in of])[None]
        return Microbatch(tokens, targets, documents, positions, torch.zeros_like(tokens))

    single, to, softmax, found = torch.Tensor.float, torch.Tensor.to, F.softmax, []

    def wide(x: torch.Tensor) -> torch.Tensor:
        return x if x.dtype is torch.float64 else single(x)

    def kept(x: torch.Tensor, *args, **options) -> torch.Tensor:
        return x if x.dtype is torch.float64 and args[:1] == (torch.float32,) else to(x, *args, **options)

    def double(x: torch.Tensor, *args, dtype=None, **options) -> torch.Tensor:
        return softmax(x, *args, dtype=x.dtype if x.dtype is torch.float64 else dtype, **options)

    for batch in ([row(texts)], [row(texts[:1])], [row(texts[1:])]):
        engine = engine_of(given, world.communicators[case.ranks])
        # norms are taken in fp32 otherwise, which shows the last bit of a row's other sums
        with (
            patch.object(torch.Tensor, "float", wide),
            patch.object(torch.Tensor, "to", kept),
            patch.object(F, "softmax", double),
        ):
            result = engine.gradients(batch)
        count = sum(int((b.targets != IGNORE).sum()) for b in batch)
        found.append({name: count * each for name, each in assemble(engine, "gradient").items()})
        assert result.targets == count
    packed, first, second = found
    return worst(packed, {name: first[name] + second[name] for name in packed})[0]


@pytest.mark.parametrize("attention", ["dense", "blocks"])
@pytest.mark.parametrize(
    "architecture",
    ["gemma3_text", *[pytest.param(a, marks=only_full) for a in ARCHITECTURES if a != "gemma3_text"]],
)
def test_packed_documents_do_not_leak_through_adapters(pool, architecture, attention):
    given = AdapterCase(Case(ranks=2, architecture=architecture, attention=attention, microbatches=1))
    assert pool.run("tests.distributed.test_adapters:alone_and_packed", given)[0] <= 1e-11


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_merged_weights_are_pefts(rank_stabilised):
    given = AdapterCase(Case(), ("q_proj", "down_proj"), rank_stabilised)
    weights, spec = DrawnAdapters(spec_of(given), given.case), spec_of(given)
    merged = MergedWeights(spec, weights.base.base, weights.get)
    wanted = dict(peft_model(given)[0].merge_and_unload().named_parameters())
    assert set(merged.names()) == set(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(merged.get(name), tensor.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(
            merged.get(name, range(2, 5)), tensor.detach()[2:5], rtol=1e-12, atol=1e-14
        )


def test_targets_without_adapters_are_refused_by_name():
    spec = read_spec(config_of(Case()))
    for name in ("lm_head", "embed_tokens", "model.embed_tokens"):
        with pytest.raises(ConfigError, match=f"{name}, whose rows are split over the ranks"):
            with_adapters(spec, 4, targets=[name])
    with pytest.raises(ConfigError, match=r"'qkv_proj', which is no linear layer .*: q_proj, k_proj, v_proj"):
        with_adapters(spec, 4, targets=["q_proj", "qkv_proj"])
    assert with_adapters(spec, 4).adapters.targets == (
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )


def test_losses_of_the_whole_distribution_are_refused():
    from pinisi.engine.distill import check_objective

    spec = with_adapters(read_spec(config_of(Case())), 4)
    with pytest.raises(ConfigError, match=r"adapters are trained by losses that read log-probabilities"):
        check_objective(spec, layout_of("1f1b", 2), Objective(loss=WithEntropy(bonus=0.1)), None)


def test_the_start_is_the_same_for_any_split_and_changes_nothing():
    spec = with_adapters(read_spec(config_of(Case())), 4)
    weights = AdaptedWeights(spec, RandomWeights(spec, 1), 1)
    again = AdaptedWeights(spec, RandomWeights(spec, 1), 1)
    names = list(adapter_shapes(spec))
    assert len(names) == 2 * 7 * spec.layers
    for name in names:
        found = weights.get(name)
        assert torch.equal(found, again.get(name)) and torch.equal(found[1:3], weights.get(name, range(1, 3)))
        assert not found.any() if ".lora_B." in name else 0 < found.abs().max() <= 1 / found.shape[1] ** 0.5
    drawn = [weights.get(name) for name in names if ".lora_A." in name and "q_proj" in name]
    assert not torch.equal(drawn[0], drawn[1])
    other = AdaptedWeights(spec, RandomWeights(spec, 1), 2)
    assert not torch.equal(other.get(names[0]), weights.get(names[0]))
