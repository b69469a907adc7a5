"""Checks that come before any time on a GPU: attention backends, every schedule on one device's streams, races; see `gpu.py`.

Each gives rows with "ok" true or false, or with "not_run" and the reason where this machine can't run it, or "refused" where a
backend isn't for a model.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_step import one_rank, to_device
from torch.nn import functional as F

from pinisi.base.errors import ModelError, ScheduleError
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Placement, Ranks
from pinisi.models import (
    ARCHITECTURES,
    ModelSpec,
    RandomWeights,
    build_stage,
    make_context,
    read_spec,
    reference_inputs,
)
from pinisi.models.attention.backends import BACKENDS, DENSE, HALF
from pinisi.parallel.communicator import Communicator
from pinisi.schedule import build, layout_of, names

WORSE = 2.0  # times dense attention's own error in the same dtype, which a backend's may have
LIMITS = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
}  # of a schedule's gradients, relative to the whole model's
MICROBATCHES = 4


def small_spec(architecture: str, attention: str = "auto", layers: int = 2) -> ModelSpec:
    """A model of which every architecture has a form: wide enough for the kernels of a GPU."""
    config = {
        "model_type": architecture,
        "vocab_size": 521,
        "hidden_size": 256,
        "intermediate_size": 320,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 512,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
        "initializer_range": 0.1,
    }
    if architecture in ("gemma2", "gemma3_text", "mistral"):
        config["sliding_window"] = 24
    if architecture == "gemma2":
        config |= {"attn_logit_softcapping": 20.0, "query_pre_attn_scalar": 64}
    return read_spec(config, attention=attention)


def packed_row(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Documents [1, s] of odd lengths in one row, and each token's position in its own."""
    lengths, left = [], tokens
    for wish in (37, 5, 61, 1, 90):
        lengths.append(min(wish, left))
        left -= lengths[-1]
    lengths = [n for n in [*lengths, left] if n]
    documents = torch.cat([torch.full((n,), at) for at, n in enumerate(lengths)])
    return documents[None], torch.cat([torch.arange(n) for n in lengths])[None]


def attended(
    architecture: str, attention: str, dtype: torch.dtype, device: torch.device
) -> list[torch.Tensor]:
    """A stage's output and its input's gradient in fp64 on the host. Raises ModelError where the backend isn't for this model,
    dtype or device."""
    spec = small_spec(architecture, attention)
    drawn = RandomWeights(spec, 3, torch.float64)
    stage = build_stage(spec, range(2), drawn, dtype=dtype, device=device, norm=False)
    documents, positions = packed_row(256)
    random = torch.Generator().manual_seed(5)
    x = torch.randn(1, 256, spec.hidden, generator=random, dtype=torch.float64)
    weight = torch.randn(x.shape, generator=random, dtype=torch.float64).to(device, dtype)
    x = x.to(device, dtype).requires_grad_()
    context = make_context(spec, documents, positions, dtype, device)
    output = stage(x, context)
    (output * weight).sum().backward()
    assert x.grad is not None
    return [output.detach().double().cpu(), x.grad.double().cpu()]


def attention_rows(device: torch.device) -> Iterator[dict[str, Any]]:
    """Every backend × architecture × dtype against dense attention in fp64, beside dense attention in the same dtype."""
    for architecture in sorted(ARCHITECTURES):
        exact = attended(architecture, DENSE, torch.float64, torch.device("cpu"))
        for dtype in (torch.float32, HALF[1]):
            plain = worst_error(attended(architecture, DENSE, dtype, device), exact)
            for name in BACKENDS:
                row = {"what": "attention", "backend": name, "model": architecture, "dtype": str(dtype)}
                if name == DENSE:
                    continue
                if lacking := BACKENDS[name].lacks(small_spec(architecture).attention_features):
                    yield row | {"refused": f"it has no {lacking}"}
                    continue
                try:
                    found = worst_error(attended(architecture, name, dtype, device), exact)
                except ModelError as error:
                    yield row | {"not_run": str(error)}
                    continue
                limit = max(WORSE * plain, 10 * torch.finfo(torch.float32).eps)
                yield row | {"error": found, "error_dense": plain, "ok": found <= limit}


def worst_error(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    """The larger relative error of an output and a gradient."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))


def schedule_batch(spec: ModelSpec) -> list[Microbatch]:
    """Microbatches of packed rows, of which some tokens have no target."""
    random, result = torch.Generator().manual_seed(2), []
    documents, positions = packed_row(128)
    for _ in range(MICROBATCHES):
        ids = torch.randint(0, spec.vocabulary, (1, 129), generator=random)
        targets = ids[:, 1:].clone()
        targets[torch.rand(targets.shape, generator=random) < 0.3] = -100
        result.append(
            Microbatch(ids[:, :-1].contiguous(), targets, documents, positions, torch.zeros_like(documents))
        )
    return result


def whole_gradients(
    spec: ModelSpec, data: list[Microbatch], dtype: torch.dtype, device: torch.device
) -> dict[str, torch.Tensor]:
    """What transformers' own model and autograd give on the same device, by name, in fp64 on the host."""
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_config(spec.config, dtype=dtype, attn_implementation=spec.attention)
    whole, weights = whole.to(device), RandomWeights(spec, 0, dtype)
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            parameter.copy_(weights.get(name))
    total = sum(b.target_count for b in data)
    for b in data:
        given = reference_inputs(spec, b.tokens, b.documents, b.positions, dtype)
        logits = whole(**{k: to_device(v, device) for k, v in given.items()}).logits.flatten(0, 1)
        (F.cross_entropy(logits, b.targets.flatten().to(device), reduction="sum") / total).backward()
    return {name: p.grad.double().cpu() for name, p in whole.named_parameters()}


def schedule_rows(device: torch.device) -> Iterator[dict[str, Any]]:
    """A step of every schedule × barriers on one rank, whose passes, messages and sums stand on their own streams."""
    with one_rank(device):
        communicator = Communicator.connect([[0]], device)
        assert communicator is not None
        for dtype, limit in LIMITS.items():
            spec = small_spec("qwen2", layers=4)
            data = schedule_batch(spec)
            wanted = whole_gradients(spec, data, dtype, device)
            for name in names():
                for barriers in (0, 1, 2):
                    row = {"what": "schedule", "schedule": name, "barriers": barriers, "dtype": str(dtype)}
                    try:
                        schedule = build(name, 1, MICROBATCHES, barriers=barriers)
                        assert layout_of(name, 1, barriers=barriers).last_stage < spec.layers
                    except ScheduleError:  # there is none with so many barriers
                        continue
                    engine = Engine(
                        spec,
                        RandomWeights(spec, 0, dtype),
                        Ranks(communicator),
                        Placement(schedule),
                        numerics=Numerics(dtype, device),
                    )
                    engine.gradients(data)  # twice, so that streams meet buffers that are used again
                    engine.skip()
                    engine.gradients(data)
                    error = gradient_error(engine, wanted)
                    yield row | {"error": error, "ok": error <= limit}


def gradient_error(engine: Engine, wanted: dict[str, torch.Tensor]) -> float:
    """The largest relative error of any tensor's gradient."""
    found = {slot.name: slot.gradient.double().cpu() for slot in engine.slots}
    assert found.keys() == wanted.keys()
    return max(float((found[name] - each).norm() / each.norm()) for name, each in wanted.items())


def race_rows(device: torch.device) -> Iterator[dict[str, Any]]:
    """Steps under torch's sanitizer of CUDA streams, in a process of its own, which must be told so before CUDA begins."""
    row: dict[str, Any] = {"what": "races"}
    if device.type != "cuda":
        yield row | {"not_run": f"torch.cuda._sanitizer follows streams of CUDA, and this is {device.type}"}
        return
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), "schedules", device.type],
        env={**os.environ, "TORCH_CUDA_SANITIZER": "1"},
        capture_output=True,
        text=True,
    )
    yield row | {"ok": done.returncode == 0, "said": "" if done.returncode == 0 else done.stderr[-2000:]}


CHECKS = {"attention": attention_rows, "schedules": schedule_rows, "races": race_rows}


if __name__ == "__main__":
    raise SystemExit(any(not each.get("ok", True) for each in CHECKS[sys.argv[1]](torch.device(sys.argv[2]))))
