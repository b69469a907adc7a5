"""Cuts a run into phases: stretches of steps, each with its mixture, sequence length, batch and learning rate.

A run without [[phases]] is one phase.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pinisi.base.errors import CheckpointError, ConfigError
from pinisi.config import DataSection, OptimizerSection, PhaseSection, RunConfig
from pinisi.engine.optimizer import learning_rate

OLD_NAMES = {old: new for old, new, _ in OptimizerSection.RENAMED}
OF_DATA = ("mixture", "temperature", "sequence", "microbatch_size")
JUMP = 0.25  # of the rate: what counts as a leap between two phases
OF_OPTIMIZER = ("learning_rate", "schedule", "warmup", "decay", "min_lr_ratio")


@dataclass(frozen=True)
class Phase:
    """Holds steps `start` to `start + steps` of a run, counted from 0. microbatches: of a step and replica. train: as in
    [[phases]]. run_steps: of the whole run, over which the learning rate goes if optimizer.schedule_over says so."""

    number: int
    start: int
    steps: int
    microbatches: int
    data: DataSection
    optimizer: OptimizerSection
    name: str = ""
    train: str = "all"
    run_steps: int = 0

    @property
    def stop(self) -> int:
        return self.start + self.steps

    def told(self, phases: int) -> str:
        """Returns its number, its name and what it trains, as text."""
        name = f" ({self.name})" if self.name else ""
        alone = "" if self.train == "all" else f", {self.train.replace('_', ' ')} alone,"
        return f"phase {self.number + 1} of {phases}{name}{alone}"

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of the run's step number `step`, counted from 0."""
        optimizer = self.optimizer
        start, steps = (0, self.run_steps) if optimizer.schedule_over == "run" else (self.start, self.steps)
        return learning_rate(
            step - start,
            peak=optimizer.learning_rate,
            schedule=optimizer.schedule,
            warmup=optimizer.warmup,
            steps=steps,
            decay=optimizer.decay if optimizer.decay is not None else steps // 10,
            minimum=optimizer.min_lr_ratio,
        )


def phases_of(config: RunConfig) -> list[Phase]:
    """Returns the phases of a run in their order; what a phase leaves out is as the rest of the configuration says."""
    if not config.phases:
        return [
            Phase(
                *(0, 0, config.steps, config.pipeline.microbatches, config.data, config.optimizer),
                run_steps=config.steps,
            )
        ]
    found: list[Phase] = []
    for number, section in enumerate(config.phases):
        start = found[-1].stop if found else 0
        data = replace(config.data, **_given(section, OF_DATA))
        if section.mixture is not None and section.temperature is None:
            data = replace(data, temperature=None)
        if section.temperature is not None and section.mixture is None:
            data = replace(data, mixture=None)
        optimizer = replace(config.optimizer, **_given(section, OF_OPTIMIZER))
        microbatches = section.microbatches or config.pipeline.microbatches
        phase = Phase(
            *(number, start, section.steps, microbatches, data, optimizer, section.name, section.train),
            run_steps=config.steps,
        )
        found.append(phase)
    for phase, section in zip(found, config.phases, strict=True):
        _check(phase, section)
    return found


def _given(section: PhaseSection, names: Sequence[str]) -> dict[str, Any]:
    values = {item.name: getattr(section, item.name) for item in fields(section)}
    return {name: values[name] for name in names if values[name] is not None}


def _check(phase: Phase, section: PhaseSection) -> None:
    if phase.optimizer.schedule_over == "run":
        if given := [name for name in OF_OPTIMIZER if getattr(section, name) is not None]:
            raise ConfigError(
                f'phases[{phase.number}].{given[0]} is set, and optimizer.schedule_over = "run" has one schedule for all phases: '
                "leave one of the two out"
            )
        steps = phase.optimizer.warmup + (phase.optimizer.decay or 0)
        if steps > phase.run_steps:
            raise ConfigError(
                f"the phases have {phase.run_steps} steps in all, too few for {steps} of warm-up and decay: give more steps"
            )
        return
    if phase.optimizer.warmup + (phase.optimizer.decay or 0) > phase.steps:
        raise ConfigError(
            f"phases[{phase.number}] has {phase.steps} steps, too few for {phase.optimizer.warmup} of warm-up and "
            f"{phase.optimizer.decay or 0} of decay: give it more steps, or a warmup and decay of its own"
        )


def phase_at(phases: Sequence[Phase], step: int) -> Phase:
    """Returns the phase that a step belongs to; the last one for a step past the end."""
    return next((phase for phase in phases if step < phase.stop), phases[-1])


def rate_jumps(phases: Sequence[Phase]) -> list[str]:
    """Says where the learning rate leaps from one phase to the next, beyond what a single step of a schedule does."""
    found = []
    for before, phase in pairwise(phases):
        last, first = before.learning_rate(phase.start - 1), phase.learning_rate(phase.start)
        if not math.isclose(first, last, rel_tol=JUMP):
            found.append(
                f"{phase.told(len(phases))} begins with a learning rate of {first:.3g}, where the one before ends with {last:.3g}; "
                'optimizer.schedule_over = "run" makes one schedule of all phases'
            )
    return found


def phase_saved(phases: Sequence[Phase], step: int, number: int, folder: Path) -> Phase:
    """Returns the phase in which a checkpoint of `step` was saved. Raises CheckpointError if these phases have another there."""
    if number >= len(phases) or phase_at(phases, max(0, step - 1)).number != number:
        raise CheckpointError(
            f"{folder} was saved in phase {number + 1}, where step {step} isn't in these [[phases]]: give the phases that the run "
            "was started with (later ones may change), or another run.folder"
        )
    return phases[number]


def rates(phases: Sequence[Phase]) -> list[dict[str, Any]]:
    """Returns what a checkpoint keeps of the learning rate, for `rate_jump`."""
    return [{"steps": phase.steps, "optimizer": asdict(phase.optimizer)} for phase in phases]


def rate_jump(before: Any, phases: Sequence[Phase], step: int) -> str | None:
    """Says where a run goes on at another learning rate than it would have had: more steps for a finished schedule, say.

    before: as `rates` made it, or as versions without phases did; None in checkpoints of before it was kept.
    """
    if before is None:
        return None
    then = _phases_of_before([before] if isinstance(before, dict) else before, phases[0])
    if not then:
        return None
    wanted, rate = (phase_at(each, step).learning_rate(step) for each in (then, phases))
    if math.isclose(rate, wanted, rel_tol=1e-6):
        return None
    steps = then[-1].stop
    return (
        f"the learning rate of step {step + 1} is {rate:.3g}; with the settings of the run before (run.steps = {steps}) "
        f"it would have been {wanted:.3g}"
    )


def _phases_of_before(stored: Any, like: Phase) -> list[Phase]:
    """The phases of a checkpoint, as far as their learning rate goes; none if another version wrote them in another way."""
    found: list[Phase] = []
    try:
        for number, each in enumerate(stored):
            start = found[-1].stop if found else 0
            given = {OLD_NAMES.get(key, key): value for key, value in each["optimizer"].items()}
            optimizer = OptimizerSection(**given)
            found.append(replace(like, number=number, start=start, steps=each["steps"], optimizer=optimizer))
    except (TypeError, KeyError):
        return []
    return [replace(phase, run_steps=found[-1].stop) for phase in found]
