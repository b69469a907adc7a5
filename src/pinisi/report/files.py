"""Reads what a run left in its folder, with patience: a torn line or a missing file is named, never fatal.

    config.toml      the configuration, as pinisi.base.settings.dump writes it
    metrics.jsonl    a line per step {"step", "loss", "tokens", "seconds", "tokens_per_second",
                     "learning_rate", "gradient_norm", "gradient_norms": {stage: norm}, "mfu", "total_loss",
                     "losses": {language: loss}, "measures": {name: mean over pairs},
                     "extra_head_losses": [loss]} and, between them,
                     {"step", "evaluation": {language: {"loss", "tokens", "bytes"}}} and
                     {"step", "tasks": {name: {"language", "items", "chance", "scores": {measure: [value, low, high]}}}}
                     (both with "standing": {name: {"worse", "noise", "since", "alarm"}} behind the first),
                     {"step", "components": {name: {"tokens", "epochs", "bytes"}}}, {"step", "skipped": why} and
                     {"step", "rewind": {"step", "back_to", "why"}}
    timeline.json    {"step", "schedule", "predicted", "measured"} (the last two: Timeline.to_dict)
    memory.json      {"ranks": [{"rank", "parts": {name: bytes}, "peak": bytes}]}
    comparison.json  [{"name", "tokens_per_second", "peak": [bytes per rank], "ratio"}], or that under "rows"

Losses are nats per token (natural logarithm), of cross-entropy alone but for total_loss; bytes in an evaluation are
UTF-8 bytes of its text.
"""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError, PinisiError
from pinisi.report.numbers import is_number
from pinisi.report.watching import good_standing
from pinisi.schedule import Timeline

TRAINING_KEYS = ("loss", "tokens", "seconds", "tokens_per_second")


@dataclass
class RunFiles:
    """The contents of a run's folder; a part that is missing is None or empty, and `notes` says why."""

    folder: Path
    config: dict[str, Any] | None = None
    config_text: str = ""
    training: list[dict[str, Any]] = field(default_factory=list)  # by step, each step once
    evaluations: list[dict[str, Any]] = field(default_factory=list)  # by step, each step once
    tasks: list[dict[str, Any]] = field(default_factory=list)  # by step, each step once
    components: list[dict[str, Any]] = field(default_factory=list)  # what was drawn, by step, each step once
    events: list[dict[str, Any]] = field(
        default_factory=list
    )  # steps left out or gone back behind, as they came
    timeline_step: int | None = None
    predicted: Timeline | None = None
    measured: Timeline | None = None
    memory: list[dict[str, Any]] = field(default_factory=list)
    comparison: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)  # file name -> what is wrong with it

    def languages(self) -> list[str]:
        """Every language of the training and evaluation lines, in order of name."""
        seen = {name for line in self.training for name in line.get("losses", {})}
        return sorted(seen | {name for line in self.evaluations for name in line["evaluation"]})


def read_run(folder: Path) -> RunFiles:
    """Read a run's folder. Raises DataError if there is no such folder."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; give the folder of a run (run.folder in its configuration)."
        )
    run = RunFiles(folder)
    read_config(run)
    read_metrics(run)
    read_timeline(run)
    read_memory(run)
    read_comparison(run)
    return run


def read_text(run: RunFiles, name: str) -> str | None:
    """A file's text; None, and a note, where it can't be had."""
    try:
        return (run.folder / name).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        run.notes[name] = f"{name} is missing from the run's folder."
    except OSError as error:
        run.notes[name] = f"{name} cannot be read ({error.strerror})."
    return None


def read_json(run: RunFiles, name: str) -> Any:
    """A file's JSON value; None, and a note, where it can't be had."""
    text = read_text(run, name)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        run.notes[name] = f"{name} is not valid JSON ({error})."
        return None


def read_config(run: RunFiles) -> None:
    run.config_text = read_text(run, "config.toml") or ""
    try:
        run.config = tomllib.loads(run.config_text) if run.config_text else None
    except tomllib.TOMLDecodeError as error:
        run.notes["config.toml"] = f"config.toml is not valid TOML ({error})."


def read_metrics(run: RunFiles) -> None:
    """Training and evaluation lines; of a step written twice (the run was resumed) the later one counts."""
    text = read_text(run, "metrics.jsonl")
    training: dict[int, dict] = {}
    evaluations: dict[int, dict] = {}
    tasks: dict[int, dict] = {}
    components: dict[int, dict] = {}
    bad = []
    for number, line in enumerate((text or "").splitlines(), 1):
        if not line.strip():
            continue
        record = parse_metrics_line(line)
        if record is None:
            bad.append(number)
        elif "evaluation" in record:
            evaluations[record["step"]] = record
        elif "tasks" in record:
            tasks[record["step"]] = record
        elif "components" in record:
            components[record["step"]] = record
        elif "rewind" in record or "skipped" in record:
            run.events.append(record)
        else:
            training[record["step"]] = record
    run.training = [training[step] for step in sorted(training)]
    run.evaluations = [evaluations[step] for step in sorted(evaluations)]
    run.tasks = [tasks[step] for step in sorted(tasks)]
    run.components = [components[step] for step in sorted(components)]
    if bad:
        lines = f"line {bad[0]} is" if len(bad) == 1 else f"lines {', '.join(map(str, bad))} are"
        run.notes["metrics.jsonl"] = f"metrics.jsonl: {lines} torn or not a metric, and left out."


def parse_metrics_line(line: str) -> dict[str, Any] | None:
    """A line's record if it has what the report needs, else None."""
    try:
        record = json.loads(line)
        evaluated = record.get("evaluation")
        if evaluated is not None:
            good = all(is_number(entry["loss"]) for entry in evaluated.values())
            rest = (entry.get(key, 0) for entry in evaluated.values() for key in ("tokens", "bytes"))
            good = good and all(map(is_number, rest))
        elif "tasks" in record:
            good = all(map(good_task, record["tasks"].values()))
        elif "components" in record:
            keys = ("tokens", "epochs", "bytes")
            good = all(is_number(each[key]) for each in record["components"].values() for key in keys)
        elif "rewind" in record:
            good = all(key in record["rewind"] for key in ("step", "back_to", "why"))
        elif "skipped" in record:
            good = True
        else:
            good = all(is_number(record[key]) for key in TRAINING_KEYS)
            good = good and all(map(is_number, record.get("extra_head_losses", [])))
            good = good and all(map(is_number, record.get("gradient_norms", {}).values()))
            good = good and is_number(record.get("mfu", 0))
        good = good and all(map(good_standing, record.get("standing", {}).values()))
        return record if good and isinstance(record["step"], int) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def good_task(task: dict[str, Any]) -> bool:
    """Tells whether a task's entry has what the report needs."""
    scores = [number for score in task["scores"].values() for number in score]
    right_sizes = all(len(score) == 3 for score in task["scores"].values())
    return bool(scores) and right_sizes and all(map(is_number, [*scores, task["items"], task["chance"]]))


def read_timeline(run: RunFiles) -> None:
    data = read_json(run, "timeline.json")
    if data is None:
        return
    try:
        if not isinstance(data.get("step"), int | None):
            raise TypeError(f"its step is {data['step']!r}")
        run.timeline_step = data.get("step")
        run.predicted = Timeline.from_dict(data["predicted"]) if data.get("predicted") else None
        run.measured = Timeline.from_dict(data["measured"]) if data.get("measured") else None
    except (PinisiError, KeyError, TypeError, AttributeError, ValueError) as error:
        run.notes["timeline.json"] = f"timeline.json holds no timeline ({error})."


def read_memory(run: RunFiles) -> None:
    data = read_json(run, "memory.json")
    if data is None:
        return
    try:
        numbers = [
            n for item in data["ranks"] for n in (*item["parts"].values(), item.get("peak")) if n is not None
        ]
        if not all(map(is_number, numbers)):
            raise TypeError("a number of bytes is none")
        run.memory = [
            {"rank": int(item["rank"]), "parts": dict(item["parts"]), "peak": item.get("peak")}
            for item in sorted(data["ranks"], key=lambda item: item["rank"])
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        run.notes["memory.json"] = f"memory.json is not of the form that a run writes ({error!r})."


def read_comparison(run: RunFiles) -> None:
    """Optional: only a demo or a bench writes it."""
    data = read_json(run, "comparison.json")
    rows = data.get("rows") if isinstance(data, dict) else data
    if rows is None:
        return
    try:
        for row in rows:
            peaks = row.get("peak") or []
            values = [row.get(key) for key in ("tokens_per_second", "ratio") if row.get(key) is not None]
            if not all(map(is_number, [*values, *(peaks if isinstance(peaks, list) else [peaks])])):
                raise TypeError(f"the row of {row.get('name')!r} has a value that is no number")
        run.comparison = [{**row, "name": str(row["name"])} for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        run.notes["comparison.json"] = f"comparison.json is not of the form that a run writes ({error!r})."
