"""`pinisi bench vocabulary`: times S and T of one shard against the matrix rate, and other ways to the same gradients beside
them.

All that is compared is measured in turns, in one run.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pinisi.base.allocator import keep_freed_memory
from pinisi.base.errors import ConfigError
from pinisi.base.results import STDOUT, write_result
from pinisi.bench import peers
from pinisi.bench.peak import peak_bytes
from pinisi.vocabulary.head import HeadShard
from pinisi.vocabulary.head_pass import HeadPass

DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "bfloat16", "float16")}
HEADINGS = (
    "dtype",
    "barriers",
    "T",
    "h",
    "V_r",
    "s_ms",
    "u_ms",
    "t_ms",
    "s_rate",
    "t_rate",
    "rate",
    "with_u",
)
CHECKED = (256, 512, 4099)  # T, h, V_r at most where errors are taken on a CPU


class HeadShape(NamedTuple):
    """T, h, V_r."""

    tokens: int
    hidden: int
    rows: int


# arXiv 2411.05288, section 6: p and h of its three models, the vocabularies and sequences of each.
PAPER = [
    HeadShape(tokens, hidden, vocabulary // ranks)
    for ranks, hidden in ((8, 3072), (16, 4096), (32, 5120))
    for vocabulary in (2**15, 2**16, 2**17, 2**18)
    for tokens in (2048, 4096)
]
# (V, h) of Qwen3 0.6B, 8B and 32B, Llama 3 8B and 70B, Gemma 3 4B and 27B, from their configurations; 8 ranks.
MODELS = [
    HeadShape(4096, hidden, -(-vocabulary // 8))
    for vocabulary, hidden in (
        (151_936, 1024),
        (151_936, 4096),
        (151_936, 5120),
        (128_256, 4096),
        (128_256, 8192),
        (262_208, 2560),
        (262_208, 5376),
    )
]
SHAPES = {"paper": PAPER, "models": MODELS}


class Stopwatch:
    """Seconds by name, with the device idle before and after: the median over rounds. busy: the machine does other work, which
    only adds; what counts is the fastest round, on a CPU in seconds that its threads worked."""

    def __init__(self, device: torch.device, busy: bool = False) -> None:
        self.device, self.busy = device, busy
        self.times: dict[str, list[float]] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        self._settle()
        begin = self._clock()
        result = work()
        self._settle()
        self.times.setdefault(name, []).append(self._clock() - begin)
        return result

    def seconds(self, name: str) -> float:
        taken = self.times[name][1:]  # the first round warms up
        return min(taken) if self.busy else statistics.median(taken)

    def _clock(self) -> float:
        if self.busy and self.device.type == "cpu":
            return time.process_time() / torch.get_num_threads()
        return time.perf_counter()

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def bare_products(watch: Stopwatch, case: peers.Case) -> Callable[[], None]:
    """What the three products of a head take alone, in the model's dtype, as "logits", "dx" and "dw"."""
    x, weight = case.x, case.weight
    logits, dx, dw = x.new_empty(len(x), len(weight)), torch.empty_like(x), torch.empty_like(weight)

    def run() -> None:
        watch.time("logits", lambda: torch.mm(x, weight.t(), out=logits))
        watch.time("dx", lambda: torch.mm(logits, weight, out=dx))
        watch.time("dw", lambda: torch.mm(logits.t(), x, out=dw))

    return run


def measure(
    dtype: torch.dtype,
    barriers: int,
    shape: HeadShape,
    rounds: int,
    device: torch.device,
    busy: bool = False,
    budget: int | None = None,
) -> dict[str, Any]:
    """S, T and the bare matrix products of the same shapes, one after the other.

    s_rate, t_rate, rate: time of the matrix products alone / time of S, T, both. u_ms: what comes between them, lp from the
    gathered statistics and U, which the schedule has on a thread or stream of its own; with_u: the rate if it were theirs. Half
    of the tokens have their target on another shard.
    """
    case = peers.random_case(*shape, dtype, device)
    targets, loss = case.targets * 2, case.loss
    head = HeadShard(case.weight, case.gradient, 0, barriers=barriers, budget=budget)
    watch = Stopwatch(device, busy)
    products = bare_products(watch, case)

    def between(head_pass: HeadPass) -> None:
        head.combine(head_pass, head_pass.statistics.unsqueeze(0))
        if barriers == 1:
            head.u(head_pass, loss)

    for _ in range(rounds + 1):
        products()
        head_pass = watch.time("s", partial(head.s, case.x, targets))
        watch.time("u", partial(between, head_pass))
        watch.time("t", partial(head.t, head_pass, loss))
    s, u, t = watch.seconds("s"), watch.seconds("u"), watch.seconds("t")
    bare_s = watch.seconds("logits") + (watch.seconds("dx") if barriers == 1 else 0.0)
    bare = sum(watch.seconds(name) for name in ("logits", "dx", "dw"))
    flops = 6 * shape.tokens * shape.hidden * shape.rows
    return {
        **_sizes(dtype, shape),
        "barriers": barriers,
        "s_ms": s * 1e3,
        "u_ms": u * 1e3,
        "t_ms": t * 1e3,
        "s_rate": bare_s / s,
        "t_rate": (bare - bare_s) / t,
        "rate": bare / (s + t),
        "with_u": bare / (s + u + t),
        "flops": flops / (s + t),
        "matrix_flops": flops / bare,
    }


def compare(
    dtype: torch.dtype,
    shape: HeadShape,
    rounds: int,
    device: torch.device,
    busy: bool = False,
    names: tuple[str, ...] = (),
    shards: int = 1,
) -> list[dict[str, Any]]:
    """Every form that runs here: time in turns of drawn order (busy: each one's fastest, whatever ran before it), share of the
    matrix rate, peak bytes beside x, weight and the gradient that HeadShard adds to, errors against fp64 (on a CPU at a smaller
    shape). sum_ms: with dW added to that gradient, in fp32, as several microbatches need it; HeadShard always does. shards: the
    others, which know none, get the rows of so many at once, and every token's target, of which ours then has one in so many;
    rate and us_per_row, of sum_ms, count them."""
    case = whole = peers.random_case(*shape, dtype, device)
    if shards > 1:
        whole = peers.random_case(shape.tokens, shape.hidden, shards * shape.rows, dtype, device)
        case = replace(case, targets=whole.targets)
    watch = Stopwatch(device, busy)
    products = bare_products(watch, case)
    runs = {
        name: (form, case if peers.is_ours(name) else whole)
        for name, form in peers.forms(case, names=names).items()
    }
    order, draws = list(runs), random.Random(0)
    for _ in range(rounds + 1):
        products()
        # What ran before leaves the cache to a form, or does not, which is 3 to 7 % at the smallest shards.
        draws.shuffle(order)
        for name in order:
            form, of = runs[name]
            outcome = watch.time(name, partial(form, of))
            if outcome.dw is not of.gradient:
                watch.time(f"{name}, sum", partial(of.gradient.add_, outcome.dw))
    small = shape if device.type == "cuda" else HeadShape(*map(min, shape, CHECKED))
    checked = peers.random_case(*small, dtype, device, sure=True)
    wanted = peers.exact(checked)
    bare = sum(watch.seconds(name) for name in ("logits", "dx", "dw"))
    found = []
    for name, (_, of) in runs.items():
        checked.gradient.zero_()
        wrong = peers.errors(_once(name, checked), wanted)
        seconds = watch.seconds(name)
        added = watch.seconds(f"{name}, sum") if f"{name}, sum" in watch.times else 0.0
        found.append(
            {
                **_sizes(dtype, shape),
                "V_r": len(of.weight),
                "form": name,
                "ms": seconds * 1e3,
                "sum_ms": (seconds + added) * 1e3,
                "us_per_row": (seconds + added) * 1e6 / len(of.weight),
                "rate": bare / (seconds + added) * (len(of.weight) / shape.rows),
                "peak_bytes": peak_bytes(partial(_once, name, of), device),
                **{f"{what}_error": error for what, error in wrong.items()},
            }
        )
    return found


def _once(name: str, case: peers.Case) -> peers.Outcome:
    """With nothing that was kept from earlier calls."""
    return peers.forms(case, names=(name,))[name](case)


def _sizes(dtype: torch.dtype, shape: HeadShape) -> dict[str, Any]:
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "T": shape.tokens,
        "h": shape.hidden,
        "V_r": shape.rows,
    }


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if min(options.tokens, options.hidden, options.rounds, options.threads, options.whole, *options.rows) < 1:
        raise ConfigError(
            "Tokens, hidden, rows, rounds, threads and --whole must be 1 or more; give larger numbers."
        )
    device = torch.device(options.device)
    peers.forms(
        peers.random_case(1, 1, 1, torch.float32, device), names=options.forms
    )  # unknown: now, not later
    if device.type == "cpu":
        keep_freed_memory()
    results: dict[str, Any] = {"torch": torch.__version__, "device": _device_name(device)}
    results |= {"rows": [], "forms": []}
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        for name, row in _measured(options, device):
            results[name].append(row)
            if (
                options.json and str(options.json) != STDOUT
            ):  # anew with each row: a run that is stopped leaves those that it has
                write_result(options.json, json.dumps(results, indent=1) + "\n")
    finally:
        torch.set_num_threads(before)
    if str(options.json) == STDOUT:
        write_result(STDOUT, json.dumps(results, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pinisi bench vocabulary", description=__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rows", type=int, nargs="+", default=[24_576], help="V_r, one or more")
    parser.add_argument(
        "--shapes",
        choices=SHAPES,
        help="instead: the shards of arXiv 2411.05288, or of today's models on 8 ranks (for a GPU)",
    )
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    parser.add_argument("--barriers", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--busy",
        action="store_true",
        help="the machine does other work: the fastest round counts, not the median, on a CPU its threads' seconds",
    )
    parser.add_argument("--alone", action="store_true", help="S and T only, nothing beside them")
    parser.add_argument(
        "--forms", type=lambda text: tuple(text.split(";")), default=(), help="only these, by ';'"
    )
    parser.add_argument(
        "--whole",
        type=int,
        default=1,
        metavar="P",
        help="the forms that know no shards get the whole vocabulary of P of them, to be compared per row",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _measured(options: argparse.Namespace, device: torch.device) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was asked for, each row printed as it is done: ("rows" or "forms", row)."""
    yield from (("rows", row) for row in _shard_table(options, device))
    if not options.alone:
        yield from (("forms", row) for row in _form_table(options, device))


def _asked(options: argparse.Namespace) -> Iterator[tuple[torch.dtype, HeadShape]]:
    shapes = SHAPES.get(options.shapes) or [
        HeadShape(options.tokens, options.hidden, rows) for rows in options.rows
    ]
    return ((DTYPES[name], shape) for name in options.dtype for shape in shapes)


def _shard_table(options: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    print("  ".join(f"{heading:>8}" for heading in HEADINGS), "  GFLOP/s  matrix GFLOP/s")
    for dtype, shape in _asked(options):
        for barriers in options.barriers:
            row = measure(dtype, barriers, shape, options.rounds, device, options.busy)
            cells = (row[heading] for heading in HEADINGS)
            line = "  ".join(f"{c:8.3f}" if isinstance(c, float) else f"{c:>8}" for c in cells)
            print(line, f"{row['flops'] / 1e9:9.1f}  {row['matrix_flops'] / 1e9:14.1f}", flush=True)
            yield row


def _form_table(options: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    for dtype, shape in _asked(options):
        rows = compare(dtype, shape, options.rounds, device, options.busy, options.forms, options.whole)
        sizes = ", ".join(f"{key} = {value}" for key, value in _sizes(dtype, shape).items())
        print(f"\n{sizes}, forward and backward; errors against fp64")
        print(
            f"{'form':38}{'V_r':>8}{'ms':>10}{'with sum':>10}{'us a row':>10}{'rate':>8}{'peak MiB':>10}",
            *(f"{f'{w} error':>12}" for w in ("lp", "loss", "dx", "dw")),
        )
        for row in rows:
            wrong = (row.get(f"{what}_error") for what in ("lp", "loss", "dx", "dw"))
            print(
                f"{row['form']:38}{row['V_r']:8}{row['ms']:10.2f}{row['sum_ms']:10.2f}{row['us_per_row']:10.3f}",
                f"{row['rate']:7.3f}{row['peak_bytes'] / 2**20:10.1f}",
                *(f"{'-' if error is None else f'{error:.1e}':>12}" for error in wrong),
                flush=True,
            )
        yield from rows
