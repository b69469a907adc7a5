"""Makes what each section of a run's page shows, a function per section: from the files of the run to values for run.html.

A section that has nothing to show gives {"missing": why}.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from pinisi.report import numbers
from pinisi.report.charts import Line, dumbbells, line_chart, padded, stacked_bars, thin
from pinisi.report.marks import NARROW
from pinisi.report.numbers import is_number

if TYPE_CHECKING:  # it reads timelines, and what makes other pages shall not load schedules
    from pinisi.report.files import RunFiles

WIDTH = 1080  # of a chart over the whole page, in SVG units
Points = list[tuple[float, float]]
View = dict[str, Any]


def absent(run: RunFiles, file: str, otherwise: str) -> View:
    """One line on why a section is empty."""
    return {"missing": run.notes.get(file, otherwise)}


def loss(run: RunFiles) -> View:
    """Loss in all, the held-out mean where the run was evaluated, and that of each extra head."""
    if not run.training:
        return absent(run, "metrics.jsonl", "metrics.jsonl has no training step yet.")
    points = [(line["step"], line["loss"]) for line in run.training]
    held_out = [
        (line["step"], mean_loss(line["evaluation"])) for line in run.evaluations if line["evaluation"]
    ]
    lines = [Line("training", points, "1"), Line("held out, mean of languages", held_out, "2", dots=True)]
    heads = extra_heads(run)
    lines += [Line(name, values, color) for name, color, values in heads]
    chart = line_chart(lines, width=WIDTH, height=340, unit="nats per token", label="loss by step")
    names = [("c1", averaged("training loss", points))]
    if held_out:
        names.append(("c2", "held-out loss, mean of languages"))
    names += [(f"c{color}", f"{name}, of the tokens further on") for name, color, _ in heads]
    return {"legend": names, "chart": chart}


def extra_heads(run: RunFiles) -> list[tuple[str, str, Points]]:
    """(name, colour, losses by step) of each extra head, of six at most: so many colours are left."""
    rows = [(line["step"], line.get("extra_head_losses", [])) for line in run.training]
    count = min(6, max(len(losses) for _, losses in rows))
    return [
        (f"extra head {k + 1}", str(k + 3), [(step, losses[k]) for step, losses in rows if k < len(losses)])
        for k in range(count)
    ]


def averaged(text: str, points: Sequence[tuple[float, float]]) -> str:
    size = thin(points)[1]
    return text if size == 1 else f"{text} (mean of {size} steps)"


def mean_loss(evaluation: dict[str, dict[str, Any]]) -> float:
    return sum(entry["loss"] for entry in evaluation.values()) / len(evaluation)


def languages(run: RunFiles) -> View:
    """A small chart per language, all on one scale."""
    curves = {name: trained(run, name) for name in run.languages()}
    points = {name: evaluated(run, name) for name in curves}
    curves = {name: thin(curve, 80)[0] for name, curve in curves.items() if curve or points[name]}
    if not curves:
        return absent(run, "metrics.jsonl", "metrics.jsonl has no loss by language yet.")
    scale = padded([y for name, curve in curves.items() for _, y in [*curve, *points[name]]])
    mean = thin([(r["step"], r["loss"]) for r in run.training], 80)[0]
    panels = [panel(name, curve, points[name], mean, scale) for name, curve in curves.items()]
    tested = any(points.values())
    names = [("c1", "training"), ("soft", "training, all languages")]
    if tested:
        names.insert(1, ("c2", "held out"))
    return {"panels": panels, "legend": names, "number": "held-out" if tested else "training"}


def trained(run: RunFiles, name: str) -> Points:
    return [(r["step"], r["losses"][name]) for r in run.training if is_number(r.get("losses", {}).get(name))]


def evaluated(run: RunFiles, name: str) -> Points:
    return [(r["step"], r["evaluation"][name]["loss"]) for r in run.evaluations if name in r["evaluation"]]


def panel(name: str, curve: Points, points: Points, mean: Points, scale: tuple[float, float]) -> View:
    """One language's chart and its last loss."""
    lines = [
        Line("all", mean, "soft"),
        Line("training", curve, "1"),
        Line("held out", points, "2", dots=True),
    ]
    label, unit = f"loss of {name} by step", "nats per token"
    chart = line_chart(lines, width=280, height=150, unit=unit, label=label, y_range=scale, small=True)
    return {"name": name, "final": f"{(points or curve)[-1][1]:.3f}", "chart": chart}


def held_out(run: RunFiles) -> View:
    """Untrained against trained, in bits per byte, as a chart and in numbers."""
    if not run.evaluations:
        return absent(run, "metrics.jsonl", "metrics.jsonl has no evaluation yet.")
    first, last = run.evaluations[0], run.evaluations[-1]
    before = "untrained" if first["step"] == 0 else f"step {first['step']}"
    after = f"step {last['step']}"
    shared = {
        name: (first["evaluation"][name], last["evaluation"][name])
        for name in last["evaluation"]
        if name in first["evaluation"]
    }
    pairs = [(name, numbers.bits_per_byte(b), numbers.bits_per_byte(a)) for name, (b, a) in shared.items()]
    rows = sorted(((name, b, a) for name, b, a in pairs if b and a), key=lambda row: row[2])
    ordered = sorted(shared.items(), key=lambda item: order(rows, item[0]))
    return {
        "before": before,
        "after": after,
        "chart": both_forms(rows, before, after) if rows else None,
        "rows": [held_out_row(name, b, a) for name, (b, a) in ordered],
        "once": len(run.evaluations) == 1,
    }


def both_forms(rows: Sequence[tuple[str, float, float]], before: str, after: str) -> View:
    wide, narrow = (
        dumbbells(rows, width=width, before=before, after=after) for width in (WIDTH // 2, NARROW)
    )
    return {"wide": wide, "narrow": narrow}


def held_out_row(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    losses = (f"{entry['loss']:.3f}" for entry in (before, after))
    bits = (three(numbers.bits_per_byte(entry)) for entry in (before, after))
    return [name, numbers.count(after.get("tokens", 0)), *losses, *bits]


def order(rows: Sequence[tuple[str, Any, Any]], name: str) -> int:
    """The table's order is the chart's."""
    return next((index for index, row in enumerate(rows) if row[0] == name), len(rows))


def three(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def throughput(run: RunFiles) -> View:
    if not run.training:
        return absent(run, "metrics.jsonl", "metrics.jsonl has no training step yet.")
    points = [(line["step"], line["tokens_per_second"]) for line in run.training]
    rates = sorted(y for _, y in points)
    top = rates[min(len(rates) - 1, int(len(rates) * 0.99))]
    unit = "tokens per second"
    chart = line_chart(
        [Line(unit, points, "3")],
        width=WIDTH,
        height=220,
        unit=unit,
        label="tokens per second by step",
        y_range=(0, max(top, *(y for _, y in thin(points)[0])) * 1.08),
    )
    middle, slowest = numbers.count(median(rates)), numbers.count(rates[0])
    return {"legend": [("c3", averaged(unit, points))], "chart": chart, "median": middle, "slowest": slowest}


def memory(run: RunFiles) -> View:
    if not run.memory:
        return absent(run, "memory.json", "memory.json names no rank.")
    parts = list(dict.fromkeys(part for item in run.memory for part in item["parts"]))
    rows = [
        [
            f"rank {item['rank']}",
            *(numbers.memory(item["parts"].get(part, 0)) for part in parts),
            numbers.memory(item["peak"]) if item["peak"] else "not measured",
        ]
        for item in run.memory
    ]
    chart = stacked_bars(run.memory, parts, width=WIDTH)
    key = [(f"c{number}", part) for number, part in enumerate(parts, 1)]
    return {"legend": key, "chart": chart, "parts": parts, "rows": rows}


def comparison(run: RunFiles) -> View:
    """Side by side with other ways to run the same model, where somebody measured them."""
    if not run.comparison:
        return absent(run, "comparison.json", "comparison.json has no rows.")
    fastest = max((row.get("tokens_per_second") or 0 for row in run.comparison), default=0) or 1
    return {"rows": [comparison_row(row, fastest) for row in run.comparison]}


def comparison_row(row: dict[str, Any], fastest: float) -> View:
    """Of many ranks the peaks' range is shown, with all of them for the pointer."""
    rate, ratio, peaks = row.get("tokens_per_second"), row.get("ratio"), row.get("peak")
    peaks = peaks if isinstance(peaks, list) else [] if peaks is None else [peaks]
    by_rank = " · ".join(map(numbers.memory, peaks))
    many = len(peaks) > 4
    return {
        "name": row["name"],
        "share": f"{100 * (rate or 0) / fastest:.1f}",
        "rate": numbers.count(rate) if rate else "not measured",
        "ratio": f"{ratio:.3f}" if is_number(ratio) else "",
        "peaks": f"{numbers.memory(min(peaks))} to {numbers.memory(max(peaks))}" if many else by_rank,
        "every_peak": by_rank if many else "",
        "fullest": numbers.memory(max(peaks)) if peaks else "",
    }


def configuration(run: RunFiles) -> View:
    """config.toml, a group a table."""
    lack = absent(run, "config.toml", "config.toml is empty.")
    if not run.config:
        return {"note": lack["missing"], "text": run.config_text} if run.config_text else lack
    plain = {name: value for name, value in run.config.items() if not isinstance(value, dict)}
    groups = ([("", plain)] if plain else []) + [(n, v) for n, v in run.config.items() if isinstance(v, dict)]
    return {"text": "", "groups": [(name, list(entries(values))) for name, values in groups]}


def entries(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys and values, inner tables with dotted keys."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from entries(value, f"{prefix}{name}.")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield prefix + name, shown.lower() if isinstance(value, bool) else shown
