"""Says what a run trains: its batches, its loss, the frozen models that it reads, and how it is judged.

A task has no loop, no checkpoint and no progress line of its own: `Trainer` has those for all. A task of one's own is a class
that overrides some of the methods of `Task`, or of `Pretrain`, `Distill` or `Dpo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pinisi.base.paths import absolute_paths
from pinisi.base.typed_toml import SettingsSource, from_table
from pinisi.config import RunConfig
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.losses import Loss
from pinisi.models import ModelSpec
from pinisi.train.phases import Phase

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer


class Batches(Protocol):
    """Deals microbatches without end; where it stands is a small state.

    `step` is called on a thread of its own, one step early (`Task.ahead`). Bytes that it has read so far, if it tells them as
    `bytes_read`, are written into the metrics; so is what `counters(state)` says, if it is there: by component what had been drawn
    where `state` was taken, in tokens, epochs and bytes.
    """

    @property
    def languages(self) -> tuple[str, ...]:
        """Names the languages that `Microbatch.languages` counts in."""

    def step(self, microbatches: int) -> list[Microbatch]:
        """Returns this data rank's next microbatches, and moves on for all data ranks."""

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs, as JSON; the same on every data rank."""

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken. Raises DataError if the data are others."""


@dataclass(frozen=True)
class NoSettings:
    """Stands for the settings of a task that has none."""


class Task:
    """Says what a run trains; what trains it is the same for all. Made on each rank, and in the launcher for `check`, from
    the run's configuration alone."""

    name: ClassVar[str] = ""  # as `[task] name = "..."` has it
    # of the other keys of [task]; a field that is a path says so, field(metadata=PATH) of pinisi.base.paths
    settings_class: ClassVar[type] = NoSettings
    # whether a step's microbatches may be made while the step before runs: they don't depend on what that trains
    ahead: ClassVar[bool] = True

    def __init__(self, config: RunConfig):
        given = {key: value for key, value in config.task.items() if key != "name"}
        table = absolute_paths(given, self.settings_class, Path.cwd())
        self.config = replace(config, task={"name": str(config.task["name"]), **table})
        source = SettingsSource("[task]", root=self.settings_class)
        self.settings: Any = from_table(table, self.settings_class, source, "task.")

    def check(self, spec: ModelSpec, tokenizer: str | None) -> None:
        """Looks for everything that can be known to be wrong before a rank starts. Raises ConfigError or DataError."""

    @property
    def fingerprint(self) -> str | None:
        """Tells the task's data from others: a checkpoint goes on with the same alone."""
        return None

    @property
    def end_of_document(self) -> int | None:
        """Returns the token that ends a text in the task's data, and ends generation too; None if it isn't known."""
        return None

    @property
    def stops(self) -> tuple[int, ...]:
        """Returns further tokens that end generation, such as the one that ends an answer of a chat."""
        return ()

    def damage(self) -> Iterator[tuple[str, Callable[[int, int], str | None]]]:
        """Yields data folders that have digests, each with a function (share, shares) that says what is wrong there."""
        yield from ()

    def batches(
        self, phase: Phase, data_rank: int, data_ranks: int, earlier: dict[str, Any] | None = None
    ) -> Batches:
        """Returns the phase's batches. earlier: the state of the phase before at its end; what that has seen is seen."""
        raise NotImplementedError(f"{type(self).__name__} must say what its batches are")

    def loss(self, spec: ModelSpec) -> Loss:
        """Returns what is trained."""
        raise NotImplementedError(f"{type(self).__name__} must say what its loss is")

    def frozen(self) -> dict[str, str | None]:
        """Returns the models that the task reads and doesn't train: by name their folder, or None for the model that the run
        starts from. They stand on the same ranks, as `Trainer.frozen`. One called "teacher" gives the loss its divergence."""
        return {}

    def before_training(self, trainer: Trainer) -> None:
        """Works out, once the frozen models stand and before the trained one does, what the task needs of them; every rank calls
        it. A model that it takes out of `trainer.frozen` is let go."""

    def prepare(self, batch: Sequence[Microbatch], frozen: Mapping[str, Engine]) -> Sequence[Microbatch]:
        """Adds to a step's microbatches what only the frozen models know; every rank calls it."""
        return batch

    @property
    def evaluates(self) -> bool:
        """Tells whether there is something to judge by."""
        return False

    def evaluate(self, trainer: Trainer) -> dict[str, dict[str, float]]:
        """Returns {language or component: {"loss": ..., "tokens": ..., ...}}; every rank calls it."""
        return {}
