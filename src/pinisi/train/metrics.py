"""Writes a run's progress line and metrics.jsonl, and sends its numbers to boards."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from pinisi.base import json_text, settings
from pinisi.base.files import write_whole
from pinisi.base.progress import ProgressBar, say
from pinisi.config import RunConfig
from pinisi.engine.engine import StepResult
from pinisi.train.ahead import BatchesAhead
from pinisi.train.boards import Boards
from pinisi.train.spikes import Rewind
from pinisi.train.standing import Standing, alarm_text

TASKS = "tasks"  # the key of a line of tasks
COMPONENTS = "components"  # the key of a line of what was drawn


class StepRates(NamedTuple):
    """Holds how a step went besides its losses. mfu: the share of the machine's peak; None where that isn't known."""

    seconds: float
    learning_rate: float
    gradient_norm: float
    mfu: float | None = None


class Metrics:
    """Writes on the leader only; `start` drops what an earlier try wrote past the step that we resume from."""

    def __init__(self, folder: Path, leader: bool, config: RunConfig):
        self.folder, self.leader, self.config = folder, leader, config
        self.file: TextIO | None = None
        self.boards: Boards | None = None
        self.bar: ProgressBar | None = None
        self.began = self.first = 0.0
        self.last_line = 0.0
        self.counted = -1  # the step of the last line of components

    def start(self, step: int, rewinds: Sequence[Rewind] = ()) -> None:
        """Begins behind a step, with a line for each return to a checkpoint so far; also where a run has just gone back."""
        self.began, self.first = time.monotonic(), step
        if not self.leader:
            return
        self.close()
        self.counted = -1
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.toml").write_text(settings.dump(self.config), "utf-8")
        path = self.folder / "metrics.jsonl"
        lines = _lines(path) if step else []
        kept = [line for line in lines if _step(line) <= step and '"rewind"' not in line]
        kept += [json.dumps({"step": event.back_to, "rewind": asdict(event)}) for event in rewinds]
        if lost := lost_lines(lines, step):
            say(f"{path}: {lost}; the report shows the rest")
        write_whole(path, "".join(line + "\n" for line in kept))
        self.file = path.open("a", buffering=1)
        self.boards = Boards(self.config, step)
        self.bar = ProgressBar(self.config.steps, step)

    def training(
        self,
        step: int,
        result: StepResult,
        rates: StepRates,
        batches: BatchesAhead,
    ) -> None:
        if not self.leader:
            return
        seconds, used = rates.seconds, {} if rates.mfu is None else {"mfu": rates.mfu}
        losses = {
            name: s / n for name, (s, n) in zip(batches.languages, result.by_language, strict=True) if n
        }
        heads = (
            {"extra_head_losses": [s / max(1, n) for s, n in result.extra_heads]}
            if result.extra_heads
            else {}
        )
        self._write(
            {
                "step": step,
                "loss": result.cross_entropy,  # comparable between runs, whatever [loss] adds
                "total_loss": result.loss,
                "tokens": result.targets,
                "seconds": seconds,
                "tokens_per_second": result.targets / seconds,
                "learning_rate": rates.learning_rate,
                "gradient_norm": rates.gradient_norm,
                "gradient_norms": result.stage_norms,
                **used,
                "losses": losses,
                "bytes": result.bytes_sent,  # by channel, of a pipeline's ranks together
                "data": {"waited": batches.waited, "bytes": batches.bytes_read},  # seconds; of this rank
                **heads,
                **(
                    {"measures": result.measures} if result.measures else {}
                ),  # of the loss, such as margins of pairs
            }
        )
        if self.boards is not None:
            numbers = {
                "loss": result.cross_entropy,
                "total_loss": result.loss,
                "tokens_per_second": result.targets / seconds,
                "learning_rate": rates.learning_rate,
                "gradient_norm": rates.gradient_norm,
                **used,
                **{f"measures/{name}": value for name, value in result.measures.items()},
            }
            parts = {f"gradient_norm/{name}": value for name, value in result.stage_norms.items()}
            by_language = {f"loss/{name}": value for name, value in losses.items()}
            self.boards.write(step, numbers | by_language | parts)
        self._progress(step, result, seconds)

    def components(self, step: int, counters: Mapping[str, Mapping[str, float]]) -> None:
        """Writes how much of each component was drawn so far, once a step from the first on; says it at the end."""
        if not (self.leader and counters and step) or self.counted == step:
            return
        self.counted = step
        self._write({"step": step, COMPONENTS: counters})
        if step == self.config.steps:
            each = (
                f"{name} {c['tokens']:,.0f} tokens ({c['epochs']:.2f} epochs)" for name, c in counters.items()
            )
            say(f"step {step}  seen: {', '.join(each)}")

    def skipped(self, step: int, why: str, count: int) -> None:
        """Writes a step that made no update."""
        if not self.leader:
            return
        self._write({"step": step, "skipped": why})
        say(f"step {step} skipped ({count} so far): {why}")

    def _progress(self, step: int, result: StepResult, seconds: float) -> None:
        steps = self.config.steps
        now = time.monotonic()
        left = (now - self.began) / max(1, step - self.first) * (steps - step)
        text = (
            f"{_losses(result)}  {result.targets / seconds:,.0f} tokens/s  "
            f"{seconds:.2f} s/step  ETA {duration(left)}"
        )
        assert self.bar is not None
        self.bar.at(step, text)
        due = step % self.config.report.log_every == 0 and now - self.last_line >= 1.0
        if step == steps or (due and not self.bar.shown):
            self.last_line = now
            say(f"step {step}/{steps}  {text}")

    def evaluation(
        self, step: int, found: dict[str, dict], standings: Mapping[str, Standing] | None = None
    ) -> None:
        if not self.leader or not found:
            return
        standings = standings or {}
        self._write({"step": step, "evaluation": found, **_standing(standings)})
        mean = sum(entry["loss"] for entry in found.values()) / len(found)
        if self.boards is not None:
            each = {f"held_out_loss/{name}": entry["loss"] for name, entry in found.items()}
            self.boards.write(step, {"held_out_loss": mean} | each | _worse(standings))
        of = f" (mean of {len(found)} languages)" if len(found) > 1 else ""
        say(f"step {step}  held-out loss {mean:.4f}{of}")
        self._alarm(step, standings)

    def _alarm(self, step: int, standings: Mapping[str, Standing]) -> None:
        if text := alarm_text(standings):
            say(f"step {step}  {text}")

    def tasks(
        self, step: int, found: dict[str, dict], standings: Mapping[str, Standing] | None = None
    ) -> None:
        """Writes what tasks were answered: {name: {"language", "items", "chance", "scores": {measure: [value, low, high]}}}."""
        if not self.leader:
            return
        standings = standings or {}
        self._write({"step": step, TASKS: found, **_standing(standings)})
        if self.boards is not None:
            each = ((name, *pair) for name, task in found.items() for pair in task["scores"].items())
            shares = {f"tasks/{name}/{measure}": score[0] for name, measure, score in each}
            self.boards.write(step, shares | _worse(standings))
        for name, task in found.items():
            measure, (value, low, high) = next(iter(task["scores"].items()))
            shown = f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            say(f"step {step}  {name} {measure} {shown} of {task['items']} items")
        self._alarm(step, standings)

    def _write(self, record: dict) -> None:
        assert self.file is not None
        self.file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            self.file.close()
        if self.boards is not None:
            self.boards.close()
        self.bar = self.file = self.boards = None


def _losses(result: StepResult) -> str:
    """A step's loss, and of pairs what says more."""
    if not {"accuracy", "margin"} <= result.measures.keys():
        return f"loss {result.cross_entropy:.4f}"
    return f"loss {result.loss:.4f}  accuracy {result.measures['accuracy']:.2f}  margin {result.measures['margin']:.3f}"


def _standing(standings: Mapping[str, Standing]) -> dict[str, Any]:
    """What a line says besides of what is forgotten."""
    return {"standing": {name: each._asdict() for name, each in standings.items()}} if standings else {}


def _worse(standings: Mapping[str, Standing]) -> dict[str, float]:
    """The same for boards."""
    return {f"worse/{name}": each.worse for name, each in standings.items()}


def has_record(folder: Path, step: int, key: str) -> bool:
    """Tells whether a run's metrics have a line of a step with such a key."""
    found = (json.loads(line) for line in _lines(folder / "metrics.jsonl") if _step(line) == step)
    return any(key in record for record in found)


def lacks_evaluation(config: RunConfig, step: int, held_out: bool) -> bool:
    """Tells whether a run has no evaluation of a step: one that was killed behind its last save. held_out: whether it has held-out
    text."""
    folder = Path(config.run.folder)
    asks = config.evaluation.tasks is not None or config.watch.few_shot > 0
    wanted = [*(["evaluation"] if held_out else []), *([TASKS] if asks else [])]
    return not all(has_record(folder, step, key) for key in wanted)


def evaluations_of(folder: Path, step: float = math.inf) -> list[tuple[int, dict]]:
    """Returns (step, evaluation) of a run's evaluations up to `step`, in their order."""
    found = [
        json.loads(line)
        for line in _lines(folder / "metrics.jsonl")
        if _step(line) <= step and "evaluation" in line
    ]
    return [(record["step"], record["evaluation"]) for record in found if record.get("evaluation")]


def last_of(folder: Path) -> tuple[int, dict]:
    """Returns the last step of a run's metrics, and its last evaluation (empty if there is none)."""
    records = [json.loads(line) for line in _lines(folder / "metrics.jsonl") if _step(line) != math.inf]
    evaluations = [record["evaluation"] for record in records if "evaluation" in record]
    return max((record["step"] for record in records), default=0), evaluations[-1] if evaluations else {}


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.is_file() else []


def lost_lines(lines: Sequence[str], step: int) -> str:
    """Says how many lines are torn, and how many of the steps up to `step` have none; empty if all are there."""
    torn = sum(math.isinf(_step(line)) for line in lines)
    told = {_step(line) for line in lines if '"loss"' in line or '"skipped"' in line}
    missing = sum(each not in told for each in range(1, step + 1))
    said = [f"{torn} torn line{'s' * (torn > 1)} left out"] if torn else []
    said += [f"no line of {missing} of the {step} steps before"] if missing else []
    return ", ".join(said)


def _step(line: str) -> float:
    try:
        return int(json_text.parse(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return math.inf  # torn by a kill, or nothing of ours


def duration(seconds: float) -> str:
    """Returns a time as h:mm:ss."""
    minutes, s = divmod(int(seconds + 0.5), 60)
    h, m = divmod(minutes, 60)
    return f"{h}:{m:02d}:{s:02d}"
