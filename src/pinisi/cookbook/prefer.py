"""Trains on pairs of answers with one call: steps from epochs, the reference's log-probabilities once, and an export."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.base.paths import absolute_paths
from pinisi.config import RunConfig
from pinisi.cookbook.run_file import draft_run, write_run
from pinisi.train.export import export
from pinisi.train.tasks.prefer import Prefer, PreferSettings

FILE = "prefer.toml"  # in the run's folder: what was run, for `pinisi train`
MODEL = "model"  # in the run's folder: the export


@dataclass(frozen=True)
class PreferOptions:
    """Says what `pinisi prefer` does. settings: of the loss, by name; what is left out is the loss' own."""

    model: str
    pairs: str
    out: Path
    loss: str = "lr_dpo"
    settings: dict[str, float] = field(default_factory=dict)
    reference: str | None = None
    held_out: str | None = None
    epochs: float = 1.0
    sequence: int = 1024
    ranks: int = 1


def prefer_config(options: PreferOptions, overrides: Sequence[str] = ()) -> RunConfig:
    """Returns the run of these options, and writes it into the run's folder. Raises ConfigError, or DataError for the pairs."""
    if options.epochs <= 0:
        raise ConfigError(f"epochs are {options.epochs:g}: they must be above 0")
    task: dict[str, Any] = {"pairs": options.pairs, "loss": options.loss}
    more = {"settings": options.settings, "reference": options.reference, "held_out": options.held_out}
    sections: dict[str, Any] = {
        "run": {"folder": str(options.out), "steps": 1},
        "model": {"source": options.model},
        # 128 pairs a step, as Sailor2 has it (arXiv 2502.12982, section 5)
        "data": {"sequence": options.sequence, "microbatch_size": 16},
        "pipeline": {"ranks": options.ranks, "microbatches": 8},
        # Sailor2's rate, by a cosine to a minimum
        "optimizer": {
            "learning_rate": 5e-7,
            "schedule": "cosine",
            "min_lr_ratio": 0.1,
            "weight_decay": 0.0,
        },
    }
    task |= {name: value for name, value in more.items() if value}
    # from the working folder, whatever folder the file stands in
    sections["task"] = {"name": Prefer.name, **absolute_paths(task, PreferSettings, Path.cwd())}
    file = Path(options.out) / FILE
    drafted = draft_run(sections, file, overrides)
    steps = _steps(drafted, options.epochs)
    sections["run"]["steps"] = steps
    sections["optimizer"]["warmup"] = math.ceil(0.03 * steps) if steps > 1 else 0
    return write_run(sections, file, overrides)


def _steps(config: RunConfig, epochs: float) -> int:
    """How many steps go through the pairs so many times."""
    task = Prefer(config)
    task.pair_loss  # noqa: B018  # wrong settings are said before pairs are read
    pairs = len(task.store(config.data.sequence)) // 2
    pipeline = config.pipeline
    at_once = pipeline.microbatches * config.data.microbatch_size * (pipeline.data_parallel or 1)
    return max(1, math.ceil(epochs * pairs / at_once))


def prefer(
    options: PreferOptions, overrides: Sequence[str], start: Callable[[RunConfig], int]
) -> tuple[int, Path | None]:
    """Trains, or goes on, and exports. start: runs a configuration. Returns the exit code, and the export if the run came to its
    end."""
    out = replace(options, out=Path(options.out).absolute())
    code = start(prefer_config(out, overrides))
    if code:
        return code, None
    return 0, export(out.out, out.out / MODEL)
