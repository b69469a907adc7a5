"""Says what is saved, judged, watched and reported while a run goes on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pinisi.base.paths import MODEL, PATH
from pinisi.base.settings import at_least
from pinisi.base.typed_toml import Fault


@dataclass(frozen=True)
class CheckpointSection:
    """[checkpoint] says when states are saved: before the first step and at the end always."""

    every: int = 0  # steps between checkpoints; 0: before the first step and at the end only
    keep: int = 2  # newest checkpoints kept
    best: bool = False  # keep that of the least held-out loss besides, saved when it is found

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, every=0, keep=1)


@dataclass(frozen=True)
class EvaluationSection:
    """[evaluation] says how often held-out text is judged, by language, and which tasks are asked."""

    every: int = 0  # steps between evaluations; 0: before the first step and after the last one only
    microbatches: int = 8  # how many of a language are judged at most
    patience: int = 0  # evaluations without a better mean loss that end the run; 0: none do
    # a TOML file of [[tasks]], as of `pinisi evaluate --tasks`: choices that the model is asked while it is trained
    tasks: str | None = field(default=None, metadata=PATH)
    tasks_every: int = 0  # steps between those, a multiple of every; 0: with each evaluation

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, every=0, microbatches=1, patience=0, tasks_every=0)
        if self.tasks_every and (not self.every or self.tasks_every % self.every):
            yield Fault("tasks_every", "a multiple of evaluation.every, or 0")
        if self.patience and not self.every:
            yield Fault("patience", "to be 0, or evaluation.every to say how often it is counted")


@dataclass(frozen=True)
class WatchSection:
    """[watch] says when a run speaks up: a language that is forgotten, a loss that leaps."""

    languages: list[str] | None = None  # of data.evaluation and tasks, not to be forgotten; all if left out
    # a language counts as forgotten where its bits per byte are this share above the best that the run had, its start included
    tolerance: float = 0.02
    # and so many units of noise more: of documents drawn again, and from one evaluation to the next; 0: no alarm
    noise: float = 3.0
    # items of each kind (copy, pattern) that such a language is asked, as often as evaluation.tasks (evaluation.tasks_every): they
    # show forgetting that the loss hides (arXiv 2506.00288); 0: none
    few_shot: int = 0
    # where a step's loss leaps, or isn't finite: nothing is done, or it makes no update, or the run goes back to the newest
    # checkpoint and on with the text behind that step (PaLM, arXiv 2204.02311, section 5.1)
    spike: Literal["none", "skip", "rewind"] = "none"
    spike_noise: float = 10.0  # units of noise above the median of the steps before
    spike_window: int = 64  # steps before, of one phase; the first 16 aren't judged
    most_spikes: int = 10  # in the whole run

    def validate(self) -> Iterator[Fault]:
        least = {"spike_noise": 1, "spike_window": 16}
        yield from at_least(self, tolerance=0, noise=0, few_shot=0, most_spikes=0, **least)


@dataclass(frozen=True)
class ReportSection:
    """[report] says what is measured for report.html."""

    timeline_every: int = 0  # steps between measured timelines; 0: one, near the end
    # a device as of `pinisi plan --hardware`: metrics then have the share of its peak that a step uses (MFU)
    hardware: str | None = field(default=None, metadata=MODEL)
    live: float = 30.0  # seconds between two writings of live.html, the page of a run under way; 0: none
    wandb: str | None = None  # a project of Weights & Biases that metrics go to, too: pinisi[wandb]
    log_every: int = 1  # steps between progress lines; in a log at most one a second is written

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, timeline_every=0, log_every=1, live=0)
