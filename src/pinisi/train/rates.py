"""Computes the learning rate of a step from the configuration, and says where a resumed run's rate jumps."""

from __future__ import annotations

import math

from pinisi.config import Optimizer as OptimizerConfig
from pinisi.config import RunConfig
from pinisi.engine.optimizer import learning_rate


def rate_of(optimizer: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of update number `step` (from 0) of `steps`."""
    return learning_rate(
        step,
        peak=optimizer.learning_rate,
        schedule=optimizer.schedule,
        warmup=optimizer.warmup,
        steps=steps,
        decay=optimizer.decay if optimizer.decay is not None else steps // 10,
        minimum=optimizer.minimum,
    )


def rate_jump(before: dict | None, config: RunConfig, step: int) -> str | None:
    """What to say where a run goes on at another learning rate than it would have had: more steps for a finished schedule, say.

    before: as the checkpoint has it, None of one that was written before it was kept.
    """
    if before is None:
        return None
    try:
        wanted = rate_of(OptimizerConfig(**before["optimizer"]), step, before["steps"])
    except (TypeError, KeyError):
        return None  # of another version
    rate = rate_of(config.optimizer, step, config.run.steps)
    if math.isclose(rate, wanted, rel_tol=1e-6):
        return None
    return (
        f"the learning rate of step {step + 1} is {rate:.3g}; with the settings of the run before (run.steps = {before['steps']}) "
        f"it would have been {wanted:.3g}"
    )
