"""Shows what a run watches: how each language stands against its best, what was seen of each component, norms of gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pinisi.report import numbers
from pinisi.report.charts import Line, line_chart
from pinisi.report.numbers import is_number

if TYPE_CHECKING:  # it reads timelines, and what makes other pages shall not load schedules
    from pinisi.report.files import RunFiles

WIDTH = 1080  # of a chart over the whole page, in SVG units
MOST_LINES = 7  # of a chart: the languages that lost most
KEYS = ("worse", "noise", "since")
Standing = dict[str, Any]


def good_standing(entry: Standing) -> bool:
    """Tells whether an entry has what the page needs."""
    return all(is_number(entry[key]) for key in KEYS) and isinstance(entry["alarm"], bool)


def standings(run: RunFiles) -> list[tuple[int, dict[str, Standing]]]:
    """(step, by language or task how it stands) of each evaluation that says so, by step."""
    found: dict[int, dict[str, Standing]] = {}
    for line in (*run.evaluations, *run.tasks):
        if line.get("standing"):
            found.setdefault(line["step"], {}).update(line["standing"])
    return sorted(found.items())


def alarms(run: RunFiles) -> list[str]:
    """Says what the last evaluation found to be forgotten, as lines."""
    found = standings(run)
    if not found:
        return []
    step, last = found[-1]
    names = [f"{name} {100 * each['worse']:+.1f} %" for name, each in last.items() if each["alarm"]]
    return [f"Step {step}: being forgotten: {', '.join(names)}."] if names else []


def forgetting(run: RunFiles) -> dict[str, Any]:
    """How far each language and task is behind its best evaluation before, by step and in units of noise."""
    found = standings(run)
    if not found:
        return {"missing": "No evaluation says yet how languages stand."}
    step, last = found[-1]
    order = sorted(last, key=lambda name: -last[name]["worse"])
    shown = order[:MOST_LINES]
    lines = [
        Line(name, [(at, 100 * each[name]["worse"]) for at, each in found if name in each], str(k), dots=True)
        for k, name in enumerate(shown, 1)
    ]
    chart = line_chart(
        lines, width=WIDTH, height=240, unit="per cent", label="loss of languages against their best, by step"
    )
    return {
        "step": step,
        "legend": [(f"c{k}", name) for k, name in enumerate(shown, 1)],
        "left_out": len(order) - len(shown),
        "chart": chart,
        "rows": [_standing_row(name, last[name]) for name in order],
        "events": list(_events(run)),
    }


def _standing_row(name: str, entry: Standing) -> list[str]:
    worse, noise = entry["worse"], entry["noise"]
    return [
        name,
        "forgotten" if entry["alarm"] else "",
        f"{100 * worse:+.2f} %",
        f"{100 * noise:.2f} %",
        f"{worse / noise:.1f}" if noise else "",
        f"{entry['since']}",
    ]


def _events(run: RunFiles) -> Iterator[str]:
    """Says which steps were left out or gone back behind."""
    for line in run.events:
        if "rewind" in line:
            event = line["rewind"]
            yield f"Step {event['step']}: {event['why']}; went back to step {event['back_to']}."
        else:
            yield f"Step {line['step']} left out: {line['skipped']}."


def components(run: RunFiles) -> dict[str, Any]:
    """What was seen of each component so far."""
    if not run.components:
        return {"missing": "metrics.jsonl doesn't count what was drawn."}
    step, last = run.components[-1]["step"], run.components[-1]["components"]
    whole = sum(each["tokens"] for each in last.values()) or 1
    rows = [
        [
            name,
            numbers.count(each["tokens"]),
            f"{100 * each['tokens'] / whole:.1f} %",
            f"{each['epochs']:.2f}",
            numbers.memory(each["bytes"]),
        ]
        for name, each in last.items()
    ]
    return {"step": step, "rows": rows}


def gradients(run: RunFiles) -> dict[str, Any]:
    """The norm of the whole gradient by step, and of each stage's part where the run tells it."""
    points = [
        (line["step"], line["gradient_norm"]) for line in run.training if is_number(line.get("gradient_norm"))
    ]
    if not points:
        return {"missing": "metrics.jsonl has no norms of gradients."}
    parts: dict[str, list[tuple[float, float]]] = {}
    for line in run.training:
        for name, value in line.get("gradient_norms", {}).items():
            parts.setdefault(name, []).append((line["step"], value))
    lines = [Line("whole gradient", points, "1")]
    shown = list(parts.items())[:MOST_LINES]
    lines += [Line(name, values, str(k)) for k, (name, values) in enumerate(shown, 2)]
    chart = line_chart(lines, width=WIDTH, height=220, unit="norm", label="norm of the gradient by step")
    return {
        "legend": [(f"c{k}", line.name) for k, line in enumerate(lines, 1)],
        "left_out": len(parts) - len(shown),
        "chart": chart,
    }
