"""A whole step of the engine on one device against the same Hugging Face model under plain autograd; see `gpu.py`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
from torch.nn import functional as F

from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Placement, Ranks
from pinisi.launch.supervisor import port_to_use
from pinisi.models import ModelSpec, RandomWeights, read_spec, reference_inputs
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import build


@contextmanager
def one_rank(device: torch.device) -> Iterator[None]:
    """Makes this process the only rank of a group, and what it was before when done: later runs of it start ranks of their own."""
    before = dict(os.environ)
    os.environ |= {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port_to_use(None)),
    }
    init_process_group(None, device)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def seconds(work, device: torch.device, repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return median(taken[1:])


def model(small: bool) -> ModelSpec:
    """A body of a few layers under Qwen's whole vocabulary."""
    hidden = 128 if small else 2048
    return read_spec(
        {
            "model_type": "qwen2",
            "vocab_size": 4099 if small else 151936,
            "hidden_size": hidden,
            "intermediate_size": 3 * hidden,
            "num_hidden_layers": 2 if small else 8,
            "num_attention_heads": hidden // 64,
            "num_key_value_heads": hidden // 64,
            "tie_word_embeddings": True,
        }
    )


def batch(spec: ModelSpec, tokens: int, microbatches: int) -> list[Microbatch]:
    random = torch.Generator().manual_seed(0)
    result = []
    for _ in range(microbatches):
        ids = torch.randint(0, spec.vocabulary, (1, tokens + 1), generator=random)
        documents = (torch.arange(tokens)[None] >= tokens // 3).long()
        zeros = torch.zeros_like(documents)
        positions = torch.arange(tokens)[None]
        result.append(
            Microbatch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), documents, positions, zeros)
        )
    return result


def whole_step(device: torch.device, dtype: torch.dtype, barriers: int, small: bool) -> dict:
    """The engine on one rank beside the same model under plain autograd, microbatch by microbatch."""
    from transformers import AutoModelForCausalLM

    spec, microbatches = model(small), 4
    data = batch(spec, 64 if small else 2048, microbatches)
    total = sum(b.target_count for b in data)
    communicator = Communicator.connect([[0]], device)
    assert communicator is not None
    schedule = build("zb-h1" if barriers == 2 else "1f1b", 1, microbatches, barriers=barriers)
    peaks = {}
    _reset_peak(device)
    engine = Engine(
        spec,
        RandomWeights(spec, 0, dtype),
        Ranks(communicator),
        Placement(schedule),
        numerics=Numerics(dtype, device),
    )
    result = engine.gradients(data)
    found = {slot.name: slot.gradient.double().cpu() for slot in engine.slots}
    engine.optimizer.zero()
    ours = seconds(lambda: (engine.gradients(data), engine.optimizer.zero()), device, 1 if small else 5)
    peaks["ours"] = _peak(device)
    engine = None
    _reset_peak(device)
    whole = AutoModelForCausalLM.from_config(spec.config, dtype=dtype, attn_implementation=spec.attention).to(
        device
    )
    weights = RandomWeights(spec, 0, dtype)
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            parameter.copy_(weights.get(name))

    def plain() -> float:
        loss = 0.0
        for b in data:
            given = reference_inputs(spec, b.tokens, b.documents, b.positions, dtype)
            given = {k: to_device(v, device) for k, v in given.items()}
            logits = whole(**given).logits.flatten(0, 1).float()
            value = F.cross_entropy(logits, b.targets.flatten().to(device), reduction="sum") / total
            value.backward()
            loss += value.detach()
        return float(loss)

    loss = plain()
    wanted = {name: p.grad.double().cpu() for name, p in whole.named_parameters()}
    theirs = seconds(lambda: (whole.zero_grad(set_to_none=False), plain()), device, 1 if small else 5)
    peaks["plain"] = _peak(device)
    far = sum(float((found[n] - wanted[n]).square().sum()) for n in wanted)
    size = sum(float(g.square().sum()) for g in wanted.values())
    return {
        "schedule": schedule.name,
        "loss": result.loss,
        "loss_plain": loss,
        "gradient_difference": (far / size) ** 0.5,
        "tokens_per_second": total / ours,
        "tokens_per_second_plain": total / theirs,
        "peak_bytes": peaks,
    }


def to_device(value: object, device: torch.device) -> object:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return {k: to_device(v, device) for k, v in value.items()} if isinstance(value, dict) else value


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else None
