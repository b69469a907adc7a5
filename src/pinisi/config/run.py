"""Holds the configuration of a whole run, reads it from a file and makes it of Python values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinisi.base import settings
from pinisi.base.paths import LATER, absolute_paths
from pinisi.base.typed_toml import Fault, SettingsSource, from_table, plain
from pinisi.config.inputs import DataSection, ModelSection, RunSection
from pinisi.config.learning import LoraSection, LossSection, OptimizerSection, PhaseSection
from pinisi.config.machine import MemorySection, PipelineSection, RuntimeSection
from pinisi.config.watching import CheckpointSection, EvaluationSection, ReportSection, WatchSection


@dataclass(frozen=True)
class RunConfig:
    """Holds a whole run; each field is a section of the file."""

    RENAMED = (("schedule", "pipeline", "with the same keys but replicas, which is data_parallel"),)

    run: RunSection
    model: ModelSection
    data: DataSection
    pipeline: PipelineSection
    optimizer: OptimizerSection
    lora: LoraSection = field(default_factory=LoraSection)
    loss: LossSection = field(default_factory=LossSection)
    memory: MemorySection = field(default_factory=MemorySection)
    checkpoint: CheckpointSection = field(default_factory=CheckpointSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    watch: WatchSection = field(default_factory=WatchSection)
    report: ReportSection = field(default_factory=ReportSection)
    runtime: RuntimeSection = field(default_factory=RuntimeSection)
    # [task] has a name, and what that task takes besides: see `pinisi.train.tasks`
    task: dict = field(default_factory=lambda: {"name": "pretrain"}, metadata=LATER)
    phases: list[PhaseSection] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Counts the optimizer steps of the whole run."""
        return sum(phase.steps for phase in self.phases) or self.run.steps or 0

    def validate(self) -> Iterator[Fault]:
        if self.run.steps is None and not self.phases:
            yield Fault("run.steps", "a number of steps, or [[phases]] with theirs")
        if self.phases and self.run.steps not in (None, self.steps):
            yield Fault("run.steps", f"to be left out, or the phases' sum, {self.steps}")
        if not self.phases and self.optimizer.warmup + (self.optimizer.decay or 0) > self.steps:
            yield Fault("optimizer.warmup", f"to fit, with optimizer.decay, into run.steps = {self.steps}")
        if self.lora.rank:
            yield from self._lora_faults()
        if not isinstance(self.task.get("name"), str):
            yield Fault("task", 'the name of a task, such as name = "pretrain"')

    def _lora_faults(self) -> Iterator[Fault]:
        """What adapters don't go together with."""
        for key in ("start", "branch"):
            if getattr(self.run, key) is not None:
                yield Fault(
                    f"run.{key}",
                    "to be left out with [lora]: export that checkpoint, and name it as model.source",
                )
        if self.loss.extra_heads:
            yield Fault("loss.extra_heads", "0 with [lora]: extra heads have no adapters")
        if any(phase.train != "all" for phase in self.phases):
            yield Fault("phases", 'train = "all" in each with [lora], which trains adapters alone')


def head_text(budget: int | None) -> str:
    """Returns memory.head of a budget in bytes, rounded up to whole KiB."""
    return "keep" if budget is None else f"{-(-budget // 2**10)} KiB" if budget else "recompute"


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a run's TOML file, then `key=value` overrides in their order. Raises ConfigError that names file and key."""
    return settings.load(path, overrides, into=RunConfig)


def configure(**sections: dict[str, Any] | list[dict[str, Any]]) -> RunConfig:
    """Makes a run's configuration of Python values, checked as a file's: each argument is a section."""
    source = SettingsSource("the configuration", root=RunConfig)
    table = absolute_paths({name: plain(value) for name, value in sections.items()}, RunConfig, Path.cwd())
    return from_table(table, RunConfig, source)
