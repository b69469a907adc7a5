"""Shows what a run was asked while it was trained: a small chart for each task, and its first and last scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pinisi.report.charts import Line, line_chart, padded, thin

if TYPE_CHECKING:  # it reads timelines, and what makes other pages shall not load schedules
    from pinisi.report.files import RunFiles

LEVEL = "95 %"  # of the intervals that a run writes
Asked = list[tuple[int, dict[str, Any]]]  # (step, entry) of one task


def run_tasks(run: RunFiles) -> dict[str, Any]:
    """The tasks' scores by step; all panels have one scale."""
    names = list(dict.fromkeys(name for line in run.tasks for name in line["tasks"]))
    asked = {
        name: [(line["step"], line["tasks"][name]) for line in run.tasks if name in line["tasks"]]
        for name in names
    }
    if not asked:
        return {"missing": run.notes.get("metrics.jsonl", "metrics.jsonl has no tasks.")}
    scale = padded(
        [100 * number for found in asked.values() for _, each in found for number in _first(each)[1]]
    )
    first, last = run.tasks[0]["step"], run.tasks[-1]["step"]
    return {
        "level": LEVEL,
        "legend": [("c1", "right answers"), ("c8", "its interval"), ("soft", "chance")],
        "panels": [_panel(name, found, scale) for name, found in asked.items()],
        "before": "untrained" if first == 0 else f"step {first}",
        "after": f"step {last}",
        "rows": [row for name, found in asked.items() for row in _rows(name, found)],
    }


def _first(entry: dict[str, Any]) -> tuple[str, list[float]]:
    """A task's main measure, which is written first."""
    return next(iter(entry["scores"].items()))


def _panel(name: str, found: Asked, scale: tuple[float, float]) -> dict[str, Any]:
    values, lows, highs = (
        thin([(float(step), 100 * _first(each)[1][at]) for step, each in found], 80)[0] for at in range(3)
    )
    chance = [(float(step), 100 * each["chance"]) for step, each in found]
    lines = [
        Line("chance", [chance[0], chance[-1]], "soft"),
        Line("lowest", lows, "8"),
        Line("highest", highs, "8"),
        Line(_first(found[-1][1])[0], values, "1", dots=len(values) < 20),
    ]
    chart = line_chart(
        lines,
        width=280,
        height=150,
        unit="per cent",
        label=f"score of {name} by step",
        y_range=scale,
        small=True,
    )
    return {"name": name, "final": f"{values[-1][1]:.1f} %", "chart": chart}


def _rows(name: str, found: Asked) -> Iterator[list[str]]:
    before, after = found[0][1], found[-1][1]
    for measure, (value, low, high) in after["scores"].items():
        start = before["scores"].get(measure)
        yield [
            name,
            measure.replace("_", " "),
            f"{after['items']}",
            _percent(after["chance"]),
            _percent(start[0]) if start else "",
            _percent(value),
            f"{100 * low:.1f} to {100 * high:.1f} %",
        ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
