"""Checks and times on one GPU everything that a GPU changes, and writes one JSON: python benchmarks/gpu.py --json FILE.

Checks come first, and where one fails, the script ends with 1:
- attention: varlen, flex and blocks against dense attention, for every architecture, packed documents, windows, soft caps.
- schedules: a step of each schedule and number of barriers on one rank's streams against the Hugging Face model.
- races: those steps under torch's sanitizer of CUDA streams. What this machine can't run says "not_run", and why.
- errors: lp, dX and dW of the head with each implementation of `vocabulary/kernels`, against fp64 and beside plain PyTorch in
  the same dtype, where the model is unsure and sure, with soft-cap, scale and bias; sizes that divide nothing.

Then times:
- kernels: time and bytes per second of each element-wise function, Triton's beside torch's.
- shards: S and T of the shards of arXiv 2411.05288 and of today's models, beside plain torch, torch's linear_cross_entropy,
  Liger and cut-cross-entropy, as far as they are installed: time, FLOP/s, the share of the matrix rate measured in the same
  turns, peak memory, errors.
- steps: the engine on one rank (streams, collectives, optimizer and all) beside the same Hugging Face model.

`--device cpu --small` tries the script itself; with TRITON_INTERPRET=1 the Triton kernels too.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from gpu_checks import CHECKS
from gpu_step import one_rank, whole_step
from torch.nn import functional as F

from pinisi.bench import peers
from pinisi.bench.peak import peak_bytes
from pinisi.bench.vocabulary import MODELS, PAPER, HeadShape
from pinisi.losses import LossValue
from pinisi.vocabulary import HeadShard
from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.kernels import Targets, kernels_for, use
from pinisi.vocabulary.tiles import Curve

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def implementations(device: torch.device) -> list[str]:
    usable = find_spec("triton") is not None and (device.type == "cuda" or INTERPRETED)
    return ["triton", "torch"] if usable else ["torch"]


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turns(
    runs: dict[str, Callable[[], object]], device: torch.device, rounds: int, calls: int
) -> dict[str, float]:
    """Seconds of one call: the median over rounds, in each of which every run has its turn of `calls` calls."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            settle(device)
            start = time.perf_counter()
            for _ in range(calls):
                run()
            settle(device)
            taken[name].append((time.perf_counter() - start) / calls)
    return {name: median(times[1:]) for name, times in taken.items()}


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def hard_case(device: torch.device, dtype: torch.dtype, sure: bool) -> tuple[torch.Tensor, ...]:
    """x, weight, bias, targets; sure: p_y about .9999. Every ninth token is ignored."""
    draws = torch.Generator(device).manual_seed(1)
    x = torch.randn(123, 252, generator=draws, device=device)
    weight = torch.randn(1009, 252, generator=draws, device=device) / 252**0.5
    bias = torch.randn(1009, generator=draws, device=device) / 10
    targets = torch.randint(0, 1009, (123,), generator=draws, device=device)
    if sure:
        x += 18 * weight[targets]
    targets[::9] = -100
    return x.to(dtype), weight.to(dtype), bias.to(dtype), targets


def errors(device: torch.device, dtype: torch.dtype, barriers: int, sure: bool, curve: Curve) -> dict:
    """The rows over two shards; the reference is fp64 autograd."""
    x, weight, bias, targets = hard_case(device, dtype, sure)

    def autograd(kind: torch.dtype) -> tuple[torch.Tensor, ...]:
        a, w = x.to(kind).requires_grad_(), weight.to(kind).requires_grad_()
        l = F.linear(a, w, bias.to(kind)) * curve.scale
        l = l if curve.softcap is None else curve.softcap * torch.tanh(l / curve.softcap)
        wide = l if kind == torch.float64 else l.float()
        lp = -F.cross_entropy(wide, targets, reduction="none")
        (-lp.sum()).backward()
        return lp.detach(), a.grad, w.grad

    gradient = torch.zeros_like(weight, dtype=torch.float32)
    parts = [slice(0, 300), slice(300, 1009)]
    heads = [
        HeadShard(
            weight[part], gradient[part], part.start, bias=bias[part],
            bias_gradient=torch.zeros_like(bias[part], dtype=torch.float32),
            curve=curve, barriers=barriers,
        )
        for part in parts
    ]  # fmt: skip
    kept = [head.s(x, targets) for head in heads]
    gathered = torch.stack([one.statistics for one in kept])
    seen = [head.combine(one, gathered) for head, one in zip(heads, kept, strict=True)]
    lp = seen[0].lp
    loss = LossValue(-lp.sum(), -torch.ones_like(lp))
    parts_of_dx = [
        head.u(one, loss) if barriers == 1 else None for head, one in zip(heads, kept, strict=True)
    ]
    from_t = [head.t(one, loss) for head, one in zip(heads, kept, strict=True)]
    ours = (lp, sum(parts_of_dx if barriers == 1 else from_t).to(dtype), gradient)
    exact, plain = autograd(torch.float64), autograd(dtype)
    row: dict = {}
    for name, found, theirs, wanted in zip(("lp", "dx", "dw"), ours, plain, exact, strict=True):
        row |= {f"{name}_error": relative(found, wanted), f"{name}_plain": relative(theirs, wanted)}
    limits = [max(row[f"{name}_plain"], torch.finfo(torch.float32).eps) for name in ("lp", "dx", "dw")]
    row["no_worse"] = all(
        row[f"{n}_error"] <= limit for n, limit in zip(("lp", "dx", "dw"), limits, strict=True)
    )
    return row


def error_rows(device: torch.device) -> Iterator[dict]:
    for name in implementations(device):
        for dtype in DTYPES:
            for barriers in (1, 2):
                for sure, curve in ((False, Curve()), (True, Curve()), (False, Curve(0.7, 5.0))):
                    row = {"what": "errors", "kernels": name, "dtype": str(dtype), "barriers": barriers}
                    row |= {"sure": sure, "scale": curve.scale, "softcap": curve.softcap}
                    with use(name):
                        yield row | errors(device, dtype, barriers, sure, curve)


def kernel_rows(device: torch.device, shape: HeadShape, rounds: int, calls: int) -> Iterator[dict]:
    """Each element-wise function in bf16, with the bytes that it can't do without."""
    tokens, hidden, rows = shape
    x, scratch = torch.randn(tokens, hidden, device=device).bfloat16(), Scratch()
    weight = torch.randn(rows, hidden, device=device).bfloat16()
    z = torch.randn(tokens, rows, device=device).bfloat16()
    product, vector = torch.randn(tokens, hidden, device=device), torch.rand(tokens, device=device)
    gradient = torch.zeros(rows, hidden, device=device)
    # as in a pipeline of 8: one target in eight is this shard's
    targets = Targets(torch.randint(0, 8 * rows, (tokens,), device=device), 0, rows)
    own = int(targets.own.sum())
    gathered = torch.rand(8, 3, tokens, device=device)
    statistics = gathered[0].clone()
    tile, vectors = z.nbytes, vector.nbytes
    bytes_of = {
        "exponentiate": 2 * tile,
        "exponentiate, soft-cap": 2 * tile,
        "target_logits": 4 * own * hidden,
        "combine": gathered.nbytes + 3 * vectors,
        "coefficients": 11 * vectors,
        "factor": 4 * vectors,
        "finish": 2 * product.nbytes + 2 * own * hidden,
        "scaled": 2 * x.nbytes,
        "add_target_rows": own * hidden * 10,
    }
    runs: dict[str, Callable[[], object]] = {}
    for name in implementations(device):
        with use(name):
            k = kernels_for(x)
        combined, _ = k.combine(gathered, targets)
        runs |= {
            f"{name}:exponentiate": lambda k=k: k.exponentiate_(
                z, z, targets, 0, statistics, None, Curve(), scratch
            ),
            f"{name}:exponentiate, soft-cap": lambda k=k: k.exponentiate_(
                z, z, targets, 0, statistics, None, Curve(1.0, 30.0), scratch
            ),
            f"{name}:target_logits": lambda k=k: k.target_logits(
                x, weight, None, targets, statistics, Curve(), scratch
            ),
            f"{name}:combine": lambda k=k: k.combine(gathered, targets),
            f"{name}:coefficients": lambda k=k, c=combined: k.coefficients(
                targets, c, statistics, vector, 1.0, vector
            ),
            f"{name}:factor": lambda k=k, c=combined: k.factor(vector, c, vector, 1.0),
            f"{name}:finish": lambda k=k: k.finished(product, weight, targets, vector, vector, scratch),
            f"{name}:scaled": lambda k=k: k.scaled(x, vector, scratch),
            f"{name}:add_target_rows": lambda k=k: k.add_target_rows_(
                gradient, None, x, targets, vector, scratch
            ),
        }
    for name, taken in in_turns(runs, device, rounds, calls).items():
        kernels, function = name.split(":")
        row = {"what": "kernel", "kernels": kernels, "function": function, "shape": shape}
        yield row | {"seconds": taken, "gb_per_second": bytes_of[function] / taken / 1e9}


def forms_of(case: peers.Case) -> dict[str, Callable[[], peers.Outcome]]:
    """Ours with each implementation, and everything else that is installed."""
    runs: dict[str, Callable[[], peers.Outcome]] = {}
    for name, form in peers.forms(case).items():
        for kernels in implementations(case.x.device) if name.startswith("pinisi") else [None]:

            def run(form=form, kernels=kernels) -> peers.Outcome:
                if kernels is None:
                    return form(case)
                with use(kernels):
                    return form(case)

            runs[name if kernels is None else f"{name}, {kernels}"] = run
    return runs


def shard_rows(
    device: torch.device, dtype: torch.dtype, shape: HeadShape, rounds: int, calls: int
) -> Iterator[dict]:
    case = peers.random_case(*shape, dtype, device, sure=True)
    x, weight = case.x, case.weight
    logits = x @ weight.T
    runs = forms_of(case)
    broken = {}
    for name, run in list(runs.items()):  # a peer that can't do this shape or version must not end the others
        try:
            run()
        except Exception as error:
            if name.startswith("pinisi"):
                raise
            broken[name] = f"{type(error).__name__}: {error}"
            del runs[name]
    products = {"matrix": lambda: (x @ weight.T, logits @ weight, logits.T @ x)}
    taken = in_turns(products | runs, device, rounds, calls)
    peaks = {name: peak_bytes(run, device) for name, run in runs.items()}
    wanted, work = peers.exact(case), 6 * shape.tokens * shape.hidden * shape.rows
    for name, run in runs.items():
        case.gradient.zero_()
        wrong = {f"{what}_error": error for what, error in peers.errors(run(), wanted).items()}
        row = {"what": "shard", "form": name, "dtype": str(dtype), "shape": shape, "seconds": taken[name]}
        row |= {"tflops": work / taken[name] / 1e12, "matrix_tflops": work / taken["matrix"] / 1e12}
        row |= {"of_matrix": taken["matrix"] / taken[name], "peak_bytes": peaks[name]}
        yield row | wrong
    for name, why in broken.items():
        yield {"what": "shard", "form": name, "dtype": str(dtype), "shape": shape, "failed": why[:300]}


def step_rows(device: torch.device, small: bool) -> Iterator[dict]:
    with one_rank(device):
        for dtype in (torch.float32, torch.bfloat16):
            for barriers in (0, 1, 2):
                row = {"what": "step", "dtype": str(dtype), "barriers": barriers}
                yield row | whole_step(device, dtype, barriers, small)


def all_rows(device: torch.device, small: bool, parts: list[str]) -> Iterator[dict]:
    shapes = [HeadShape(64, 128, 512)] if small else PAPER + MODELS
    rounds, calls = (1, 1) if small else (5, 10)
    for name, check in CHECKS.items():
        if name in parts:
            yield from check(device)
    if "errors" in parts:
        yield from error_rows(device)
    if "kernels" in parts:
        for shape in shapes[:1] if small else (HeadShape(2048, 3072, 4096), HeadShape(4096, 4096, 16384)):
            yield from kernel_rows(device, shape, rounds, calls)
    if "shards" in parts:
        for dtype in DTYPES:
            for shape in shapes if dtype == torch.bfloat16 else shapes[-1:]:
                yield from shard_rows(device, dtype, shape, rounds, calls)
    if "steps" in parts:
        yield from step_rows(device, small)


def printed(row: dict) -> str:
    cells = (f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items() if v is not None)
    return "  ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="one small shape")
    all_parts = [*CHECKS, "errors", "kernels", "shards", "steps"]
    parser.add_argument("--parts", nargs="+", choices=all_parts, default=all_parts)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; --device cpu --small tries the script itself")
    device = torch.device(options.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    rows = []
    for row in all_rows(device, options.small, options.parts):
        rows.append(row)
        print(printed(row), flush=True)
        if options.json:  # after each row, so that what was measured outlives an error
            found = {"device": name, "torch": torch.__version__, "rows": rows}
            Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    worse = [row for row in rows if row["what"] == "errors" and not row["no_worse"]]
    wrong = [row for row in rows if row.get("ok") is False]
    for row in worse:
        print("larger errors than plain PyTorch's:", printed(row))
    for row in wrong:
        print("WRONG:", printed(row))
    if skipped := sum("not_run" in row for row in rows):
        print(f"{skipped} checks were not run here; their rows say why")
    return 1 if worse or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
