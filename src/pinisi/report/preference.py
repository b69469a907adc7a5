"""Shows what a run on pairs of answers measured of its steps: margins, accuracy, lengths, log-ratios to the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinisi.report.charts import Line, line_chart, thin
from pinisi.report.numbers import is_number

if TYPE_CHECKING:  # it reads timelines, and what makes other pages shall not load schedules
    from pinisi.report.files import RunFiles

# of a panel: its name, its unit, and its lines: (name in "measures", what it is called)
PANELS = (
    ("margin", "nats", (("margin", "chosen above rejected"),)),
    ("accuracy", "share of pairs", (("accuracy", "share of pairs"),)),
    ("length", "tokens", (("chosen_tokens", "chosen"), ("rejected_tokens", "rejected"))),
    (
        "log-ratio to the reference",
        "nats",
        (("chosen_log_ratio", "chosen"), ("rejected_log_ratio", "rejected")),
    ),
    ("divergence from the reference", "nats per token", (("kl", "estimate"),)),
)
Points = list[tuple[float, float]]


def preference(run: RunFiles) -> dict[str, Any]:
    """A small chart for each of PANELS, by step, with the means of held-out pairs as dots."""
    found = [panel for name, unit, lines in PANELS if (panel := _panel(run, name, unit, lines)) is not None]
    if not found:
        return {"missing": "metrics.jsonl measures no pairs of answers."}
    names = [("c1", "chosen, or all pairs"), ("c2", "rejected")]
    return {"legend": names, "panels": found}


def _panel(run: RunFiles, name: str, unit: str, lines: tuple[tuple[str, str], ...]) -> dict[str, Any] | None:
    drawn = []
    for number, (key, called) in enumerate(lines, 1):
        points = [(line["step"], line["measures"][key]) for line in run.training if _has(line, key)]
        drawn.append(Line(called, thin(points, 80)[0], str(number)))
        drawn.append(Line(f"{called}, held out", _held_out(run, key), str(number), dots=True))
    first = drawn[0].points
    if not first:
        return None
    chart = line_chart(
        [line for line in drawn if line.points],
        width=280,
        height=150,
        unit=unit,
        label=f"{name} of pairs by step",
        small=True,
    )
    return {"name": name, "unit": unit, "final": f"{first[-1][1]:.3g}", "chart": chart}


def _has(line: dict[str, Any], key: str) -> bool:
    measures = line.get("measures")
    return isinstance(measures, dict) and is_number(measures.get(key))


def _held_out(run: RunFiles, key: str) -> Points:
    """Means over the languages' pairs of each evaluation that has them."""
    found = []
    for line in run.evaluations:
        entries = [
            each
            for each in line["evaluation"].values()
            if is_number(each.get(key)) and is_number(each.get("tokens"))
        ]
        count = sum(each["tokens"] for each in entries)
        if count:
            found.append((line["step"], sum(each[key] * each["tokens"] for each in entries) / count))
    return found
