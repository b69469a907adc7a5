"""Checks and times on one GPU everything that a GPU changes, and writes one JSON: python benchmarks/gpu.py --json FILE.

For each shape of a vocabulary shard: error of lp, dX and dW against fp64 beside plain PyTorch's in the same dtype, time of S and
T against the matrix products measured in the same run, and peak memory. Then a whole step of the engine on one rank (streams,
collectives, optimizer and all) against the same Hugging Face model: gradients, seconds, peak memory. `--device cpu --small`
tries the script itself.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

from pinisi.data.batches import Microbatch
from pinisi.engine.comm import Communicator, init_process_group
from pinisi.engine.engine import Engine
from pinisi.engine.launch import port_to_use
from pinisi.models import ModelSpec, RandomWeights, read_spec, reference_inputs
from pinisi.schedule import build
from pinisi.vocabulary import HeadShard

# (tokens, hidden, V, p): the paper's shard sizes (arXiv 2411.05288, section 6) and Qwen3, Llama 3, Gemma 3 at p = 8.
SHAPES = [(2048, 3072, v, 8) for v in (32768, 131072, 262144)] + [
    (4096, 4096, 262144, 16),
    (4096, 5120, 262144, 32),
]
SHAPES += [(4096, 4096, 151936, 8), (4096, 4096, 128256, 8), (4096, 3840, 262208, 8)]


def seconds(work, device: torch.device, repeats: int) -> float:
    taken = []
    for _ in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return median(taken[2:])


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def errors(device: torch.device, dtype: torch.dtype, barriers: int) -> dict[str, float]:
    """One shard that is the whole vocabulary, at sizes that divide nothing; the reference is fp64 autograd."""
    torch.manual_seed(0)
    weight = (torch.randn(1009, 252, device=device) * 0.2).to(dtype)
    x = torch.randn(123, 252, device=device).to(dtype)
    targets = torch.randint(0, 1009, (123,), device=device)

    def autograd(kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        a, w = x.to(kind).requires_grad_(), weight.to(kind).requires_grad_()
        lp = -F.cross_entropy(a @ w.T, targets, reduction="none")
        (-lp.sum()).backward()
        return lp.detach(), a.grad, w.grad

    gradient = torch.zeros_like(weight, dtype=torch.float32)
    head = HeadShard(weight, gradient, 0, barriers=barriers)
    kept = head.s(x, targets)
    lp = head.combine(kept, kept.statistics[None]).lp
    dx = head.u(kept) if barriers == 1 else None
    part = head.t(kept, torch.ones_like(lp))
    exact, plain = autograd(torch.float64), autograd(dtype)
    ours = (lp, dx if dx is not None else part, gradient)
    row = {f"{n}_error": relative(a, b) for n, a, b in zip(("lp", "dx", "dw"), ours, exact, strict=True)}
    return row | {
        f"{n}_plain": relative(a, b) for n, a, b in zip(("lp", "dx", "dw"), plain, exact, strict=True)
    }


def timing(device: torch.device, dtype: torch.dtype, barriers: int, shape: tuple, repeats: int) -> dict:
    tokens, hidden, vocabulary, ranks = shape
    rows = vocabulary // ranks
    weight = (torch.randn(rows, hidden, device=device) * 0.02).to(dtype)
    x = torch.randn(tokens, hidden, device=device).to(dtype)
    targets = torch.randint(0, rows, (tokens,), device=device)
    logits = (x @ weight.T).contiguous()
    matrix = seconds(lambda: (x @ weight.T, logits @ weight, logits.T @ x), device, repeats)
    head = HeadShard(weight, torch.zeros_like(weight, dtype=torch.float32), 0, barriers=barriers)
    g = torch.ones(tokens, device=device)

    def both() -> None:
        kept = head.s(x, targets)
        head.combine(kept, kept.statistics[None])
        if barriers == 1:
            head.u(kept)
        head.t(kept, g)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    taken = seconds(both, device, repeats)
    peak = torch.cuda.max_memory_allocated() - before if device.type == "cuda" else None
    work = 6 * tokens * hidden * rows
    return {
        "seconds": taken,
        "tflops": work / taken / 1e12,
        "matrix_tflops": work / matrix / 1e12,
        "of_matrix": matrix / taken,
        "extra_bytes": peak,
    }


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
    engine = Engine(spec, RandomWeights(spec, 0, dtype), communicator, schedule, dtype=dtype, device=device)
    result = engine.gradients(data)
    found = {slot.name: slot.gradient.double().cpu() for slot in engine.slots}
    engine.optimizer.zero()
    ours = seconds(lambda: (engine.gradients(data), engine.optimizer.zero()), device, 2 if small else 5)
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
            given = {k: _to(v, device) for k, v in given.items()}
            logits = whole(**given).logits.flatten(0, 1).float()
            value = F.cross_entropy(logits, b.targets.flatten().to(device), reduction="sum") / total
            value.backward()
            loss += value.detach()
        return float(loss)

    loss = plain()
    wanted = {name: p.grad.double().cpu() for name, p in whole.named_parameters()}
    theirs = seconds(lambda: (whole.zero_grad(set_to_none=False), plain()), device, 2 if small else 5)
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


def _to(value: object, device: torch.device) -> object:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return {k: _to(v, device) for k, v in value.items()} if isinstance(value, dict) else value


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="one small shape")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; --device cpu --small tries the script itself")
    device = torch.device(options.device)
    shapes = [(64, 128, 4096, 8)] if options.small else SHAPES
    rows = []
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for barriers in (1, 2):
            rows.append(
                {"what": "errors", "dtype": str(dtype), "barriers": barriers}
                | errors(device, dtype, barriers)
            )
            for shape in shapes if dtype is torch.bfloat16 else shapes[:1]:
                found = timing(device, dtype, barriers, shape, 3 if options.small else 10)
                rows.append(
                    {"what": "time", "dtype": str(dtype), "barriers": barriers, "shape": shape} | found
                )
            for row in rows[-len(shapes) - 1 :]:
                print(row, flush=True)
    os.environ |= {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port_to_use(None)),
    }
    init_process_group(None, device)
    for dtype in (torch.float32, torch.bfloat16):
        for barriers in (0, 1, 2):
            row = {"what": "step", "dtype": str(dtype), "barriers": barriers}
            rows.append(row | whole_step(device, dtype, barriers, options.small))
            print(rows[-1], flush=True)
    torch.distributed.destroy_process_group()
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    if options.json:
        Path(options.json).write_text(
            json.dumps({"device": name, "torch": torch.__version__, "rows": rows}, indent=1)
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
