"""Runs `pinisi plan CONFIG --ranks N --hardware H`: its options, and what it prints and writes."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pinisi import config as configuration
from pinisi.base import settings
from pinisi.base.errors import ConfigError
from pinisi.base.progress import ProgressBar
from pinisi.base.results import write_result
from pinisi.costs.hardware import GIB, PRESETS, Hardware, read_hardware
from pinisi.costs.presets import preset_names
from pinisi.costs.shape import shape_of
from pinisi.costs.work import Setting
from pinisi.models.attention import AUTO, DENSE
from pinisi.models.stored import stored_dtype
from pinisi.plan.candidates import Request
from pinisi.plan.planner import Plan, make_plan
from pinisi.plan.show import best_rows, entries_of, explain, format_plan, plan_dict
from pinisi.plan.source import ModelSource, read_source, run_config
from pinisi.report.explore import write_explorer
from pinisi.report.trace import trace

MEASURE = "measure"
_DTYPES = ("bfloat16", "float32", "float64", "float16")

# (source, setting, all ranks) -> hardware: how `--hardware measure` measures, which needs the engine
Measure = Callable[[ModelSource, Setting, int], Hardware]


def request_of(source: ModelSource, options: argparse.Namespace, measure: Measure | None = None) -> Request:
    """Options win over the configuration, which wins over defaults."""
    run, setting = source.run, setting_of(source, options)
    copies = (run.pipeline.data_parallel or 1) if run else 1
    ranks = options.ranks or (run.pipeline.ranks * copies if run else None)
    if ranks is None:
        raise ConfigError("how many ranks? give --ranks N, the number of all devices")
    if ranks < 1:
        raise ConfigError(f"--ranks {ranks}: it must be at least 1")
    shape = shape_of(source.spec)
    microbatches = options.microbatches or (
        (run.pipeline.microbatches * copies,) if run else (4 * ranks, 8 * ranks)
    )
    limit = options.memory_limit * GIB if options.memory_limit else None
    return Request(
        shape=shape,
        setting=setting,
        hardware=_hardware(source, setting, ranks, options, measure),
        ranks=ranks,
        microbatches=tuple(sorted(set(microbatches))),
        limit=limit,
        schedules=tuple(options.schedules or ()),
        barriers=options.barriers,
        replicas=_replicas(options.replicas, ranks, shape.layers, microbatches),
        seconds=options.seconds,
        sharded=options.sharded or (run is not None and run.optimizer.sharded),
        searches=options.search,
    )


def setting_of(source: ModelSource, options: argparse.Namespace) -> Setting:
    """What a microbatch is."""
    run = source.run
    longest = getattr(source.spec.config, "max_position_embeddings", None) or 4096
    setting = Setting(
        sequence=options.sequence or (run.data.sequence if run else min(4096, longest)),
        microbatch=options.microbatch or (run.data.microbatch_size if run else 1),
        dtype=options.dtype or (run.model.dtype or stored_dtype(source.spec) if run else "bfloat16"),
        recompute=(options.recompute or (run.memory.activation_checkpointing if run else "none")) == "full",
        head_budget=_head_budget(options.head_memory or (run.memory.head if run else "keep")),
        # what auto takes follows from documents that a plan doesn't know: it is counted as dense, which needs most
        attention=DENSE if source.spec.backend == AUTO else source.spec.backend,
        moments=options.moments or (run.optimizer.moments if run else "master"),
    )
    if min(setting.sequence, setting.microbatch) < 1:
        raise ConfigError("--sequence and --microbatch must be at least 1")
    return setting


def _head_budget(text: str) -> int | None:
    memory = configuration.MemorySection(head=text)
    for fault in memory.validate():
        raise ConfigError(f"--head-memory {text!r}: needed {fault.needed}")
    return memory.head_budget


def _replicas(
    asked: tuple[int, ...] | None, ranks: int, layers: int, microbatches: tuple[int, ...]
) -> tuple[int, ...]:
    """Those asked for, which must divide the ranks; or all that leave pipelines a layer per rank at least, and can share
    some number of microbatches evenly."""
    for replicas in asked or ():
        if ranks % replicas:
            near = [d for d in range(1, ranks + 1) if ranks % d == 0]
            raise ConfigError(
                f"--replicas {replicas}: {ranks} ranks can't be so many pipelines of one length: choose of {near}"
            )
    if asked:
        return asked
    every = [d for d in range(1, ranks + 1) if ranks % d == 0]
    useful = [d for d in every if ranks // d <= layers and any(m % d == 0 for m in microbatches)]
    return tuple(useful or every[:1])


def _hardware(
    source: ModelSource, setting: Setting, ranks: int, options: argparse.Namespace, measure: Measure | None
) -> Hardware:
    if options.hardware != MEASURE:
        hardware = read_hardware(options.hardware)
        if hardware.measured is not None:
            hardware.measured.check(shape_of(source.spec), setting)
    elif measure is None:
        raise ConfigError("--hardware measure works from the command line only: give a preset or a file")
    else:
        hardware = measure(source, setting, ranks)
    if options.save_hardware:
        _write(options.save_hardware, settings.dump(hardware))
        print(f"written: {options.save_hardware}")
    return hardware


# -- the command ----------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pinisi plan`."""
    parser.description = (
        "Ranks the ways of training a model on N devices by predicted tokens per second: pipeline and "
        "data-parallel replicas, schedule, barriers, layers per stage, vocabulary rows per rank, microbatches, "
        "recomputation. Nothing is started, but for --hardware measure, which times the passes here."
    )
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a Pinisi TOML, a Hugging Face config.json or folder, or a preset: " + ", ".join(preset_names()),
    )
    _add_machine(parser.add_argument_group("the machine"))
    _add_step(parser.add_argument_group("the step"))
    _add_optimizer(parser.add_argument_group("the optimizer"))
    _add_output(parser.add_argument_group("what is shown and written"))
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)  # of --hardware measure


def _add_machine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ranks", type=int, metavar="N", help="all devices; the TOML's if left out")
    group.add_argument(
        "--replicas",
        type=_numbers,
        metavar="D[,D]",
        help="data-parallel pipelines, each of N / D ranks (default: every D that divides N and leaves each rank a layer)",
    )
    group.add_argument(
        "--hardware",
        default="H100",
        metavar="H",
        help=f"{', '.join(PRESETS)}, a TOML or JSON file, or `{MEASURE}`: time this model's passes on this machine's "
        "devices (default: %(default)s)",
    )
    group.add_argument(
        "--save-hardware", metavar="FILE", help="write the hardware as a TOML that --hardware takes"
    )
    group.add_argument(
        "--memory-limit",
        type=_positive,
        metavar="GB",
        help="GiB that a rank may have (default: the device's)",
    )


def _add_step(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--sequence", type=int, metavar="S", help="tokens of a sequence (default: the TOML's, or 4096)"
    )
    group.add_argument(
        "--microbatch", type=int, metavar="B", help="sequences of a microbatch (default: the TOML's, or 1)"
    )
    group.add_argument(
        "--extra-heads",
        type=int,
        metavar="D",
        help="train so many heads beside the model's own, each a layer more on the last stage (default: the TOML's, or 0)",
    )
    group.add_argument(
        "--microbatches",
        type=_numbers,
        metavar="M[,M]",
        help="microbatches of a whole step, which the replicas share; several to compare (default: the TOML's, or 4N and 8N)",
    )
    group.add_argument(
        "--dtype", choices=_DTYPES, help="of weights and activations (default: the TOML's, or bfloat16)"
    )
    group.add_argument(
        "--recompute",
        choices=("none", "full"),
        help="full: everywhere; none: only where a way does not fit without (default: the TOML's, or none)",
    )
    group.add_argument(
        "--head-memory",
        metavar="SIZE",
        help="what S keeps for T: keep, recompute, or the most bytes of a microbatch, as '512 MiB' (default: the TOML's, or keep)",
    )
    group.add_argument(
        "--schedules",
        type=lambda text: text.split(","),
        metavar="NAME[,NAME]",
        help="only these (default: all)",
    )
    group.add_argument(
        "--barriers",
        type=_barriers,
        default=(0, 1, 2),
        metavar="N[,N]",
        help="only these; 0 is a whole head on the last rank (default: 0,1,2)",
    )
    group.add_argument(
        "--search",
        type=int,
        nargs="?",
        const=3,
        default=0,
        metavar="K",
        help="for the K best rows (3 if not said) look for an order of passes that is faster than the schedule's own, within "
        "the memory that is left; seconds each, half a minute for the largest tables",
    )


def _add_optimizer(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--sharded",
        action="store_true",
        help="share the optimizer out over the replicas, as optimizer.sharded does (default: the TOML's, or not)",
    )
    group.add_argument(
        "--moments",
        choices=("master", "bfloat16"),
        help="dtype of AdamW's moments: the master weights', or half of its bytes (default: the TOML's, or master)",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--seconds", type=_positive, default=20.0, help="time for simulating (default: %(default)g)"
    )
    group.add_argument("--top", type=int, default=12, help="rows to print (default: %(default)s)")
    group.add_argument("--explain", type=int, metavar="ROW", help="this row in full instead of the table")
    group.add_argument("--json", metavar="FILE", help="write the whole plan there; - is standard output")
    group.add_argument(
        "--html",
        metavar="FILE",
        help="write timelines and memory curves of the best rows as a page to look into",
    )
    group.add_argument("--trace", metavar="FILE", help="write the same timelines for ui.perfetto.dev")
    group.add_argument(
        "--write",
        metavar="FILE",
        help="write the best row (or the explained one) as a TOML for `pinisi train`",
    )
    group.add_argument(
        "--shards",
        default="runs/shards",
        metavar="FOLDER",
        help="[data] shards of what --write makes where CONFIG is no TOML (default: %(default)s)",
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return value


def _barriers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(",") if part in ("0", "1", "2"))
    if len(numbers) != len(text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: give some of 0, 1 and 2, such as 1,2")
    return numbers


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers of at least 1, such as 32,64")
    return tuple(int(word) for word in text.split(","))


def run(options: argparse.Namespace, measure: Measure | None = None) -> int:
    """`pinisi plan`; returns the exit status: 0, or 1 where nothing fits."""
    source = read_source(options.config, options.extra_heads)
    request = request_of(source, options, measure)
    with _SearchProgress(sys.stderr) as progress:
        plan = make_plan(request, progress)
    print(
        explain(plan, options.explain)
        if options.explain is not None
        else format_plan(source, plan, options.top)
    )
    _write_files(source, plan, options)
    return 0 if plan.rows[0].status == "fits" else 1


def _write_files(source: ModelSource, plan: Plan, options: argparse.Namespace) -> None:
    if options.json:
        _write(options.json, json.dumps(plan_dict(source, plan), indent=1) + "\n")
    shown = entries_of(plan, best_rows(plan, options.explain))
    if options.html:
        lead = f"{plan.request.ranks} x {plan.request.hardware.name}: predicted steps of the best ways to run {source.name}"
        try:
            write_explorer(
                options.html, f"Plan of {source.name}", shown, lead=lead, memory_limit=plan.request.room
            )
        except OSError as error:
            raise ConfigError(f"{options.html} can't be written ({error.strerror})") from None
    if options.trace:
        _write(options.trace, json.dumps(trace(shown), separators=(",", ":")))
    if options.write:
        chosen = plan.rows[(options.explain or 1) - 1]
        if chosen.status == "too large":
            raise ConfigError(f"nothing was written: {chosen.candidate.label} does not fit: {chosen.why}")
        table = None
        if chosen.searched and chosen.timeline is not None:
            table = str(Path(options.write).with_suffix(".schedule"))
            _write(table, chosen.timeline.schedule.to_text())
            print(f"written: {Path(table).absolute()}")
        text = run_config(source, plan.request, chosen.candidate, options.shards, table)
        _write(options.write, text)
        print(f"written: {Path(options.write).absolute()}")


def _write(path: str, text: str) -> None:
    try:
        write_result(path, text)
    except OSError as error:
        raise ConfigError(f"{path} can't be written ({error.strerror})") from None


class _SearchProgress:
    """Shows on a terminal how many ways of running are done, and which comes next."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: ProgressBar | None = None

    def __enter__(self) -> _SearchProgress:
        return self

    def __call__(self, done: int, total: int, label: str) -> None:
        self._bar = self._bar or ProgressBar(total, stream=self._stream)
        self._bar.at(done, label, total)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
