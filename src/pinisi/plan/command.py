"""`pinisi plan CONFIG --ranks N --hardware H`: the ranking as a table, as JSON, one row explained, a configuration written."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinisi import config as configuration
from pinisi.config import RunConfig
from pinisi.errors import ConfigError
from pinisi.models import ModelSpec, read_spec
from pinisi.plan.hardware import GIB, PRESETS, read_hardware
from pinisi.plan.planner import Plan, Request, Row, make_plan, row_dict
from pinisi.plan.presets import preset, preset_names
from pinisi.plan.shape import shape_of
from pinisi.plan.work import Setting, head_layers, model_flops
from pinisi.report.explore import write_explorer
from pinisi.report.trace import Entry, trace

_DTYPES = ("bfloat16", "float32", "float64", "float16")


@dataclasses.dataclass(frozen=True)
class Source:
    """What CONFIG turned out to be; run is None unless it is a Pinisi TOML."""

    name: str
    spec: ModelSpec
    run: RunConfig | None
    model: dict[str, Any]  # of [model] in a configuration that is written


def read_source(text: str) -> Source:
    """A Pinisi TOML, a Hugging Face config.json or folder, or a preset's name; raises ConfigError for anything else."""
    path = Path(text)
    if path.suffix == ".toml":
        run = configuration.load(path)
        model = dataclasses.asdict(run.model)
        return Source(path.stem, read_spec(run.model.source or run.model.config or {}), run, model)
    if path.is_dir():
        return Source(path.name, read_spec(path), None, {"source": str(path)})
    if path.suffix == ".json":
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} can't be read as a Hugging Face config: {error}") from None
        return Source(path.parent.name or path.stem, read_spec(values), None, {"config": values})
    values = preset(text)
    if values is None:
        raise ConfigError(
            f"'{text}' is no TOML file, config.json, model folder or preset: presets are {', '.join(preset_names())}"
        )
    return Source(text.lower(), read_spec(values), None, {"config": values})


def request_of(source: Source, options: argparse.Namespace) -> Request:
    """Options win over the configuration, which wins over defaults."""
    run, spec = source.run, source.spec
    longest = getattr(spec.config, "max_position_embeddings", None) or 4096
    ranks = options.ranks or (run.schedule.ranks if run else None)
    if ranks is None:
        raise ConfigError("how many ranks? give --ranks N")
    if ranks < 1:
        raise ConfigError(f"--ranks {ranks}: it must be at least 1")
    setting = Setting(
        sequence=options.sequence or (run.data.sequence if run else min(4096, longest)),
        microbatch=options.microbatch or (run.data.microbatch if run else 1),
        dtype=options.dtype or (run.model.dtype if run else "bfloat16"),
        recompute=options.recompute == "full" or bool(run and run.memory.recompute == "full"),
    )
    if min(setting.sequence, setting.microbatch) < 1:
        raise ConfigError("--sequence and --microbatch must be at least 1")
    microbatches = options.microbatches or ((run.schedule.microbatches,) if run else (4 * ranks, 8 * ranks))
    limit = options.memory_limit * GIB if options.memory_limit else None
    return Request(
        shape=shape_of(spec),
        setting=setting,
        hardware=read_hardware(options.hardware),
        ranks=ranks,
        microbatches=tuple(sorted(set(microbatches))),
        limit=limit,
        schedules=tuple(options.schedules or ()),
        seconds=options.seconds,
    )


# -- what is printed ------------------------------------------------------------------------------------------------------

_HEAD = (
    "row",
    "schedule",
    "barriers",
    "layers",
    "rows",
    "m",
    "recompute",
    "step s",
    "tokens/s",
    "MFU %",
    "bubble %",
)
_HEAD_MORE = ("above bound %", "peak GiB")
_WIDTHS = (3, 18, 9, 9, 9, 5, 10, 9, 11, 7, 9, 14, 9)


def format_plan(source: Source, plan: Plan, top: int) -> str:
    """The best `top` rows, and then what was set aside and what does not fit."""
    request = plan.request
    shape, setting, hardware = request.shape, request.setting, request.hardware
    lines = [
        f"{source.name}: {shape.parameters / 1e9:.2f}B parameters, {shape.layers} layers, vocabulary {shape.vocabulary:,}; "
        f"the head is {head_layers(shape, setting):.2f} layers' work",
        f"{request.ranks} x {hardware.name}, {request.room / GIB:.1f} GiB each; microbatches of {setting.microbatch} x "
        f"{setting.sequence} tokens in {setting.dtype}, {model_flops(shape, setting) / 1e12:.1f} TFLOP each",
        "",
        _line((*_HEAD, *_HEAD_MORE)),
    ]
    numbered = list(enumerate(plan.rows, 1))
    fitting = [(n, row) for n, row in numbered if row.status == "fits"]
    lines += [_row_line(n, row) for n, row in fitting[:top]]
    if not fitting:
        lines.append(
            "nothing fits: take more ranks, a shorter sequence, fewer sequences a microbatch, or more memory"
        )
    for status, title in (
        ("too large", "does not fit"),
        ("bounded", "can't be better than the best above"),
        ("not simulated", "not simulated"),
    ):
        rest = [(n, row) for n, row in numbered if row.status == status]
        if rest:
            lines += [
                "",
                f"{title}: {len(rest)}",
                *(_row_line(n, row) for n, row in rest[: max(3, top // 3)]),
            ]
    lines.append(
        f"\n{len(plan.rows)} ways in {plan.seconds:.1f} s; times are predictions from {hardware.source}"
    )
    return "\n".join(lines)


def _row_line(number: int, row: Row) -> str:
    c = row.candidate
    name = c.name + (f" x{c.chunks}" if c.chunks > 2 else "")
    cells = [
        str(number),
        name,
        str(c.barriers),
        c.split,
        c.rows_split if c.barriers else "-",
        str(c.microbatches),
    ]
    cells.append("full" if c.recompute else "none")
    if row.memory:
        cells += [
            f"{row.step:.4g}",
            f"{row.tokens_per_second:,.0f}",
            f"{100 * row.mfu:.1f}",
            f"{100 * row.bubble:.1f}",
        ]
        cells += [f"{100 * row.distance:.1f}", f"{max(row.peaks) / GIB:.1f}"]
    else:
        return _line((*cells, f">{c.bound:.4g}"), "  " + row.why)
    return _line(cells, "  " + row.why)


def _line(cells: Sequence[str], end: str = "") -> str:
    first, second, *rest = zip(cells, _WIDTHS, strict=False)  # a row may end early
    text = first[0].rjust(first[1]) + "  " + second[0].ljust(second[1])
    return (text + "".join(cell.rjust(width) for cell, width in rest) + end).rstrip()


def explain(plan: Plan, number: int) -> str:
    """One row in full: why it takes so long, and what fills each rank's memory."""
    if not 1 <= number <= len(plan.rows):
        raise ConfigError(f"--explain {number}: rows are 1 to {len(plan.rows)}")
    row = plan.rows[number - 1]
    c = row.candidate
    lines = [
        f"row {number}: {c.label}, {c.microbatches} microbatches, recompute {'full' if c.recompute else 'none'}: {row.status}"
    ]
    lines += [row.why] if row.why else []
    lines.append(f"layers per stage: {list(c.layers)}")
    if c.barriers:
        lines.append(f"vocabulary rows per rank: {list(c.rows)}")
    if not row.memory or row.timeline is None:
        return "\n".join([*lines, f"not simulated: its step takes at least {c.bound:.4g} s"])
    lines += [
        f"step {row.step:.4g} s, {100 * row.distance:.1f} % above the bound of {c.bound:.4g} s (the busiest rank's passes, and "
        "what lies before its first and after its last)",
        "",
        "rank  F ms  B ms  W ms  S ms  T ms  work ms  busy %  peak GiB  of which",
    ]
    work = c.costs.work(c.layout)
    seconds = c.costs.table(c.layout)
    for rank, stages in enumerate(c.layout.stages):
        times = [
            1e3 * sum(s for (kind, part), s in seconds.items() if kind == k and part in stages) for k in "FBW"
        ]
        times += [
            1e3 * sum(s for (kind, part), s in seconds.items() if kind == k and part == rank) for k in "ST"
        ]
        parts = sorted(row.memory[rank].parts.items(), key=lambda item: -item[1])
        lines.append(
            f"{rank:4d}"
            + "".join(f"{t:6.1f}" for t in times)
            + f"{1e3 * work[rank]:9.1f}{100 * (1 - row.timeline.bubble(rank)):8.1f}{row.peaks[rank] / GIB:10.1f}  "
            + ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts if size > 0.05 * GIB)
        )
    return "\n".join(lines)


# -- what is written ------------------------------------------------------------------------------------------------------


def plan_dict(source: Source, plan: Plan) -> dict[str, Any]:
    """The whole plan as plain values."""
    request = plan.request
    return {
        "model": source.name,
        "parameters": request.shape.parameters,
        "ranks": request.ranks,
        "hardware": request.hardware.name,
        "room_gb": request.room / GIB,
        "sequence": request.setting.sequence,
        "microbatch": request.setting.microbatch,
        "dtype": request.setting.dtype,
        "head_layers": head_layers(request.shape, request.setting),
        "seconds": plan.seconds,
        "rows": [row_dict(row) for row in plan.rows],
        "refused": [{"what": what, "why": why} for what, why in plan.refused],
    }


def entries_of(plan: Plan, rows: Sequence[Row]) -> list[Entry]:
    """The rows' timelines and memory curves, as report's explorer and Perfetto traces show them."""
    found = []
    for row in rows:
        c = row.candidate
        assert row.timeline is not None
        facts = (
            ("step", f"{row.step:.4g} s"),
            ("tokens/s", f"{row.tokens_per_second:,.0f}"),
            ("MFU", f"{100 * row.mfu:.1f} %"),
            ("above the bound", f"{100 * row.distance:.1f} %"),
            ("peak memory", f"{max(row.peaks) / GIB:.1f} GiB"),
            ("recompute", "full" if c.recompute else "none"),
        )
        title = f"{plan.rows.index(row) + 1}: {c.label}, {c.microbatches} microbatches"
        found.append(Entry(title, row.timeline, [m.curve for m in row.memory], facts))
    return found


def _shown(plan: Plan, explained: int | None) -> list[Row]:
    """The explained row, or the best row of each schedule, six at most."""
    if explained is not None:
        return [row for row in plan.rows[explained - 1 : explained] if row.timeline is not None]
    best: dict[tuple[str, int], Row] = {}
    for row in plan.rows:
        if row.timeline is not None:
            best.setdefault((row.candidate.name, row.candidate.barriers), row)
    return list(best.values())[:6]


def run_config(source: Source, plan: Plan, row: Row, shards: str) -> str:
    """TOML of a run as the row has it: CONFIG's own with another [schedule], or a new one."""
    c = row.candidate
    setting = plan.request.setting
    if setting.dtype == "float16":
        raise ConfigError(
            "nothing was written: training runs in bfloat16, float32 or float64, not in float16"
        )
    dtype: Any = setting.dtype
    known = {field.name for field in dataclasses.fields(configuration.Pipeline)}
    values: dict[str, Any] = {
        "ranks": plan.request.ranks,
        "microbatches": c.microbatches,
        "name": c.name,
        "barriers": c.barriers,
        "layers": list(c.layers),
        "rows": list(c.rows) if c.barriers and len(set(c.rows)) > 2 else "even",
        "chunks": c.chunks if c.chunks > 2 else None,
    }
    schedule = configuration.Pipeline(**{k: v for k, v in values.items() if k in known and v is not None})
    memory = configuration.Memory(recompute="full" if c.recompute else "none")
    if source.run is not None:
        data = dataclasses.replace(source.run.data, sequence=setting.sequence, microbatch=setting.microbatch)
        run = dataclasses.replace(source.run, data=data, schedule=schedule, memory=memory)
        run = dataclasses.replace(run, model=dataclasses.replace(run.model, dtype=dtype))
    else:
        run = RunConfig(
            run=configuration.Run(folder=f"runs/{source.name}", steps=1000),
            model=configuration.Model(**source.model, dtype=dtype),
            data=configuration.Data(shards=shards, sequence=setting.sequence, microbatch=setting.microbatch),
            schedule=schedule,
            optimizer=configuration.Optimizer(learning_rate=3e-4, warmup=100),
            memory=memory,
        )
    configuration.validate(run)
    return configuration.dump(run)


# -- the command ----------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pinisi plan`."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a Pinisi TOML, a Hugging Face config.json or folder, or a preset: " + ", ".join(preset_names()),
    )
    parser.add_argument(
        "--ranks", type=int, metavar="N", help="ranks of the pipeline; the TOML's if left out"
    )
    parser.add_argument(
        "--hardware",
        default="H100",
        metavar="H",
        help=f"{', '.join(PRESETS)}, or a TOML or JSON file (default: %(default)s)",
    )
    parser.add_argument("--memory-limit", type=_positive, metavar="GB", help="GiB that a rank may have")
    parser.add_argument("--sequence", type=int, metavar="S", help="tokens of a sequence")
    parser.add_argument("--microbatch", type=int, metavar="B", help="sequences of a microbatch")
    parser.add_argument(
        "--microbatches",
        type=_numbers,
        metavar="M[,M]",
        help="numbers of microbatches to try (default: 4N and 8N)",
    )
    parser.add_argument("--dtype", choices=_DTYPES, help="of weights and activations (default: bfloat16)")
    parser.add_argument(
        "--recompute",
        choices=("none", "full"),
        help="full: recompute everywhere; else only where needed to fit",
    )
    parser.add_argument(
        "--schedules", type=lambda text: text.split(","), metavar="NAME[,NAME]", help="only these"
    )
    parser.add_argument(
        "--seconds", type=_positive, default=20.0, help="time for simulating (default: %(default)g)"
    )
    parser.add_argument("--top", type=int, default=12, help="rows to print (default: %(default)s)")
    parser.add_argument("--explain", type=int, metavar="ROW", help="this row in full")
    parser.add_argument("--json", metavar="FILE", help="write the plan there")
    parser.add_argument(
        "--html", metavar="FILE", help="write timelines and memory curves as a page to look into"
    )
    parser.add_argument("--trace", metavar="FILE", help="write the same timelines for ui.perfetto.dev")
    parser.add_argument(
        "--write",
        metavar="FILE",
        help="write the best row (or the explained one) as a TOML for `pinisi train`",
    )
    parser.add_argument(
        "--shards", default="runs/shards", help="[data] shards of what --write makes (default: %(default)s)"
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return value


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers of at least 1, such as 32,64")
    return tuple(int(word) for word in text.split(","))


def run(options: argparse.Namespace) -> int:
    """`pinisi plan`; returns the exit status: 0, or 1 where nothing fits."""
    source = read_source(options.config)
    plan = make_plan(request_of(source, options), _progress if sys.stderr.isatty() else None)
    if sys.stderr.isatty():
        print("\x1b[2K", end="\r", file=sys.stderr)
    print(
        explain(plan, options.explain)
        if options.explain is not None
        else format_plan(source, plan, options.top)
    )
    if options.json:
        _write(options.json, json.dumps(plan_dict(source, plan), indent=1) + "\n")
    shown = entries_of(plan, _shown(plan, options.explain))
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
    fits = plan.rows[0].status == "fits"
    if options.write:
        chosen = plan.rows[(options.explain or 1) - 1]
        if chosen.status == "too large":
            raise ConfigError(f"nothing was written: {chosen.candidate.label} does not fit: {chosen.why}")
        _write(options.write, run_config(source, plan, chosen, options.shards))
        print(f"written: {options.write}")
    return 0 if fits else 1


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} can't be written ({error.strerror})") from None


def _progress(done: int, total: int, label: str) -> None:
    print(f"\x1b[2K{done}/{total}  {label}", end="\r", file=sys.stderr, flush=True)
