"""Decoder layers compiled by torch.compile, against one process with the same Hugging Face model."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.engine.compiled import CompiledLayer, check_compiled
from pinisi.engine.gradients import WeightGradients, attach_buffer, defer_weight_gradients
from pinisi.models import RandomWeights, build_stage, make_context, read_spec
from tests.distributed.cases import TOLERANCE, Case, batches, check_cases, config_of
from tests.effort import FULL, only_full

BACKEND = "aot_eager"  # traces and differentiates as inductor does, without its kernels
ARCHITECTURES = ["qwen2", "llama", "gemma2", "mistral", "qwen3", "gemma3_text", "phi3", "olmo2"]


@pytest.fixture(autouse=True)
def forget_graphs():
    yield
    torch._dynamo.reset()


@only_full
@pytest.mark.parametrize("schedule", ["zb-h1", "1f1b", "zbv"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_of_compiled_layers_equals_one_process(pool, architecture, dtype, schedule):
    case = Case(schedule=schedule, architecture=architecture, dtype=dtype, compiler=BACKEND, microbatches=3)
    check_cases(pool, [case])


def test_a_step_with_W_apart_of_compiled_layers_equals_one_process(pool):
    check_cases(pool, [Case(schedule="zb-h1", barriers=0, compiler=BACKEND, microbatches=2)])


def _step(case: Case, *, compiled: bool, split: bool) -> list[torch.Tensor]:
    """Outputs, gradients of inputs, and of weights: a microbatch with W apart where `split`, then one with both in one."""
    spec = read_spec(config_of(case) | {"num_hidden_layers": 2}, attention=case.attention)
    stage = build_stage(spec, range(2), RandomWeights(spec, 0, case.dtype), dtype=case.dtype, norm=False)
    later = WeightGradients() if split else None
    if later is not None:
        defer_weight_gradients(stage, later)
    if compiled:
        stage.layers = [CompiledLayer(layer, BACKEND, later) for layer in stage.layers]
    if case.recompute:
        stage.layers = [_checkpointed(layer) for layer in stage.layers]
    buffers = {p: attach_buffer(p) for p in stage.parameters()}
    found = []
    for number, batch in enumerate(batches(case)[:2]):
        context = make_context(spec, batch.documents, batch.positions, case.dtype)
        random = torch.Generator().manual_seed(number)
        x = torch.randn(2, 11, spec.hidden, dtype=case.dtype, generator=random).requires_grad_()
        output = stage(x, context)
        if later is not None and number == 0:
            later.collect(0)
        output.square().sum().backward()
        if later is not None and number == 0:
            later.stop()
            linear = stage.model.layers["0"].mlp.down_proj.weight
            assert not buffers[linear].any(), "a B made a weight's gradient"
            with torch.no_grad():
                later.run(0, buffers)
        found += [output.detach(), x.grad]
    with torch.no_grad():
        found.append(stage(x, context))
    return found + list(buffers.values())


def _checkpointed(layer):
    def run(hidden, context):
        return torch.utils.checkpoint.checkpoint(layer, hidden, context, use_reentrant=False)

    return run


@pytest.mark.parametrize(
    ("attention", "split"),
    list(product(["dense", "blocks"], [True, False])) if FULL else [("dense", True), ("blocks", False)],
)
@pytest.mark.parametrize("recompute", [False, True] if FULL else [True])
@pytest.mark.parametrize("dtype", [torch.float64, *([torch.bfloat16, torch.float32] if FULL else [])])
@pytest.mark.parametrize("architecture", ARCHITECTURES if FULL else ["gemma2"])
def test_compiled_layers_give_what_plain_ones_give(architecture, dtype, attention, recompute, split):
    case = Case(architecture=architecture, dtype=dtype, attention=attention, recompute=recompute)
    plain, compiled = (_step(case, compiled=compiled, split=split) for compiled in (False, True))
    limit = TOLERANCE.get(dtype, 2e-2)
    for a, b in zip(plain, compiled, strict=True):
        assert float((a - b).norm()) <= limit * float(a.norm())


def test_a_model_with_dropout_is_refused():
    spec = read_spec(config_of(Case()) | {"attention_dropout": 0.1})
    with pytest.raises(ConfigError, match=r"set runtime\.compile = 'none'"):
        check_compiled(spec, BACKEND)


def test_a_missing_cpp_compiler_is_named_before_a_rank_starts(monkeypatch):
    from torch._inductor import config

    spec = read_spec(config_of(Case()))
    monkeypatch.delenv("CXX", raising=False)
    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler on a CPU, and none was found \(apt"):
            check_compiled(spec, "inductor")
        check_compiled(spec, BACKEND)


def test_a_layer_that_cannot_be_compiled_is_named():
    case = Case()
    spec = read_spec(config_of(case))
    stage = build_stage(spec, range(1, 2), RandomWeights(spec, 0, case.dtype), dtype=case.dtype)

    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    (batch, *_), layer = batches(case), CompiledLayer(stage.layers[0], broken)
    context = make_context(spec, batch.documents, batch.positions, case.dtype)
    with pytest.raises(ConfigError, match="layer 1 can't be compiled"):
        layer(torch.zeros(2, 11, spec.hidden, dtype=case.dtype), context)
