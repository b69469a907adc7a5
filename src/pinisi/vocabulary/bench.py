"""`pinisi bench vocabulary`: S and T of one shard against the matrix rate, measured in turns."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pinisi.errors import ConfigError
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.statistics import statistics_dtype

DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "bfloat16", "float16")}
HEADINGS = ("dtype", "barriers", "T", "h", "V_r", "s_ms", "t_ms", "s_rate", "t_rate", "rate")


class Stopwatch:
    """Seconds by name, with the device idle before and after."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        self._settle()
        begin = time.perf_counter()
        result = work()
        self._settle()
        self.seconds.setdefault(name, []).append(time.perf_counter() - begin)
        return result

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name][1:])  # the first round warms up

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(
    dtype: torch.dtype, barriers: int, tokens: int, hidden: int, rows: int, rounds: int, device: torch.device
) -> dict[str, Any]:
    """Medians over rounds of S, T and the bare matrix products of the same shapes, one after the other.

    s_rate, t_rate, rate: time of the matrix products alone / time of S, T, both. U is counted as part of S.
    """
    torch.manual_seed(0)
    x = torch.randn(tokens, hidden, device=device).to(dtype)
    weight = (torch.randn(rows, hidden, device=device) / hidden**0.5).to(dtype)
    gradient = torch.zeros(rows, hidden, device=device, dtype=statistics_dtype(dtype))
    targets = torch.randint(2 * rows, (tokens,), device=device)  # half of them another shard's
    g = torch.rand(tokens, device=device) / tokens
    head = HeadShard(weight, gradient, 0, barriers=barriers)
    logits, dx, dw = x.new_empty(tokens, rows), torch.empty_like(x), torch.empty_like(weight)
    watch = Stopwatch(device)

    def head_s() -> Any:
        head_pass = head.s(x, targets)
        head.combine(head_pass, head_pass.statistics.unsqueeze(0))
        if barriers == 1:
            head.u(head_pass)
        return head_pass

    for _ in range(rounds + 1):
        watch.time("logits", lambda: torch.mm(x, weight.t(), out=logits))
        watch.time("dx", lambda: torch.mm(logits, weight, out=dx))
        watch.time("dw", lambda: torch.mm(logits.t(), x, out=dw))
        head_pass = watch.time("s", head_s)
        watch.time("t", partial(head.t, head_pass, g))
    products = {name: watch.median(name) for name in ("logits", "dx", "dw")}
    s, t = watch.median("s"), watch.median("t")
    bare_s = products["logits"] + (products["dx"] if barriers == 1 else 0.0)
    bare = sum(products.values())
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "barriers": barriers,
        "T": tokens,
        "h": hidden,
        "V_r": rows,
        "s_ms": s * 1e3,
        "t_ms": t * 1e3,
        "s_rate": bare_s / s,
        "t_rate": (bare - bare_s) / t,
        "rate": bare / (s + t),
        "flops": 6 * tokens * hidden * rows / (s + t),
        "matrix_flops": 6 * tokens * hidden * rows / bare,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench vocabulary", description=__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rows", type=int, nargs="+", default=[24_576], help="V_r, one or more")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    parser.add_argument("--barriers", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args(argv)
    if min(options.tokens, options.hidden, options.rounds, options.threads, *options.rows) < 1:
        raise ConfigError("Tokens, hidden, rows, rounds and threads must be 1 or more; give larger numbers.")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        results = _table(options)
    finally:
        torch.set_num_threads(before)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"torch": torch.__version__, "rows": results}, indent=1) + "\n")
    return 0


def _table(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures every combination asked for and prints each as it is done."""
    print("  ".join(f"{heading:>8}" for heading in HEADINGS), "  GFLOP/s  matrix GFLOP/s")
    results = []
    for name in options.dtype:
        for rows in options.rows:
            for barriers in options.barriers:
                shape = (options.tokens, options.hidden, rows)
                row = measure(DTYPES[name], barriers, *shape, options.rounds, torch.device(options.device))
                results.append(row)
                cells = (row[heading] for heading in HEADINGS)
                line = "  ".join(f"{c:8.3f}" if isinstance(c, float) else f"{c:>8}" for c in cells)
                print(line, f"{row['flops'] / 1e9:9.1f}  {row['matrix_flops'] / 1e9:14.1f}", flush=True)
    return results
