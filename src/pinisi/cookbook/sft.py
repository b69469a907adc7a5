"""Fine-tunes a model on chats with one call: steps from epochs, one stage or two, and an export."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.base.paths import absolute_paths
from pinisi.config import RunConfig
from pinisi.cookbook.run_file import draft_run, write_run
from pinisi.data.conversations.batches import ChatDrawing, rows_an_epoch
from pinisi.train.export import export
from pinisi.train.tasks.sft import Sft, SftSettings

FILE = "sft.toml"  # in the run's folder: what was run, for `pinisi train`
MODEL, ADAPTER = "model", "adapter"  # in the run's folder: the export, and adapters alone
RATE = 7e-6  # Sailor2's, which falls to 7e-7
ADAPTER_RATE = 2e-4  # of adapters, which take more (QLoRA, arXiv 2305.14314, appendix B)
FIRST, SECOND = "chats", "then"  # names of the stages' sources


@dataclass(frozen=True)
class SftOptions:
    """Says what `pinisi sft` does. then: chats of a second stage, such as selected ones, which Sailor2 goes through three times
    after one time through all (arXiv 2502.12982, section 5). lora: the rank of adapters that are trained alone; 0: none."""

    model: str
    chats: str
    out: Path
    epochs: float = 1.0
    then: str | None = None
    then_epochs: float = 3.0
    sequence: int = 1024
    ranks: int = 1
    lora: int = 0


def sft_config(options: SftOptions, overrides: Sequence[str] = ()) -> RunConfig:
    """Returns the run of these options, and writes it into the run's folder. Raises ConfigError, or DataError for the chats."""
    if min(options.epochs, options.then_epochs) <= 0:
        raise ConfigError(f"epochs are {options.epochs:g} and {options.then_epochs:g}: they must be above 0")
    sources = [{"name": FIRST, "path": options.chats}]
    if options.then is not None:
        sources.append({"name": SECOND, "path": options.then})
    sections: dict[str, Any] = {
        "run": {"folder": str(options.out), "steps": 1},
        "model": {"source": options.model},
        "data": {"sequence": options.sequence},
        "pipeline": {"ranks": options.ranks, "microbatches": 8},
        "optimizer": {
            "learning_rate": ADAPTER_RATE if options.lora else RATE,
            "schedule": "cosine",
            "min_lr_ratio": 0.1,
        },
        "lora": {"rank": options.lora},
        # from the working folder, whatever folder the file stands in
        "task": {"name": Sft.name, **absolute_paths({"sources": sources}, SftSettings, Path.cwd())},
    }
    file = Path(options.out) / FILE
    drafted = draft_run(sections, file, overrides)
    steps = [_steps(drafted, name, times) for name, times in _stages(options)]
    if options.then is None:
        sections["run"]["steps"] = steps[0]
    else:
        del sections["run"]["steps"]
        sections["phases"] = [
            {"steps": count, "name": name, "mixture": {name: 1.0}}
            for count, name in zip(steps, (FIRST, SECOND), strict=True)
        ]
    sections["optimizer"]["warmup"] = min(100, math.ceil(0.03 * min(steps))) if min(steps) > 1 else 0
    return write_run(sections, file, overrides)


def _stages(options: SftOptions) -> list[tuple[str, float]]:
    second = [(SECOND, options.then_epochs)] if options.then is not None else []
    return [(FIRST, options.epochs), *second]


def _steps(config: RunConfig, name: str, epochs: float) -> int:
    """How many steps go through a source's chats so many times."""
    task = Sft(config)
    store = task.stores(config.data.sequence)[name]
    drawing = ChatDrawing(
        config.data.sequence,
        config.data.microbatch_size,
        config.run.seed,
        packed=bool(task.settings.packing),
    )
    rows = epochs * rows_an_epoch(store, drawing, name)
    at_once = (
        config.pipeline.microbatches * config.data.microbatch_size * (config.pipeline.data_parallel or 1)
    )
    return max(1, math.ceil(rows / at_once))


def sft(
    options: SftOptions, overrides: Sequence[str], start: Callable[[RunConfig], int]
) -> tuple[int, Path | None]:
    """Trains, or goes on, and exports: the model, adapters added, and beside it adapters alone.

    start: runs a configuration. Returns the exit code, and the export if the run came to its end.
    """
    out = replace(options, out=Path(options.out).absolute())
    config = sft_config(out, overrides)
    code = start(config)
    if code:
        return code, None
    if config.lora.rank:
        export(out.out, out.out / ADAPTER, adapter=True)
    return 0, export(out.out, out.out / MODEL)
