"""Checks and times on one GPU everything that a GPU changes, and writes one JSON: python benchmarks/gpu.py --json FILE.

For each shape of a vocabulary shard: error of lp, dX and dW against fp64 beside plain PyTorch's in the same dtype, time of S and
T against the matrix products measured in the same run, and peak memory. `--device cpu --small` tries the script itself.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

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
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    if options.json:
        Path(options.json).write_text(
            json.dumps({"device": name, "torch": torch.__version__, "rows": rows}, indent=1)
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
