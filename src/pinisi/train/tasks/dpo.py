"""Trains by direct preference optimization: makes chosen answers likelier than rejected ones, as seen from a frozen reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pinisi.base.errors import ConfigError
from pinisi.base.paths import MODEL, PATH
from pinisi.base.settings import not_empty
from pinisi.base.typed_toml import Fault
from pinisi.config import RunConfig
from pinisi.data.batches import Microbatch
from pinisi.data.preferences import PairBatches, PreferencePairs
from pinisi.engine.engine import Engine
from pinisi.losses import Loss, loss_named
from pinisi.models import ModelSpec
from pinisi.train.building import frozen_spec, spec_of
from pinisi.train.model_files import tokenizer_of
from pinisi.train.phases import Phase
from pinisi.train.task import Task
from pinisi.train.tasks.judging import pair_margins, sums_by_row

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer

REFERENCE = "reference"


@dataclass(frozen=True)
class DpoSettings:
    """Holds [task] of name = "dpo"."""

    pairs: str = field(metadata=PATH)  # JSON lines with prompt, chosen, rejected
    beta: float = 0.1  # how far the model may go from the reference (arXiv 2305.18290, section 6: 0.1 to 0.5)
    # a Hugging Face folder; the model that the run starts from if left out
    reference: str | None = field(default=None, metadata=MODEL)
    held_out: str | None = field(default=None, metadata=PATH)  # pairs to judge by

    def validate(self) -> Iterator[Fault]:
        yield from not_empty(self, "pairs")
        if not 0 < self.beta < math.inf:
            yield Fault("beta", "a finite number above 0")


class Dpo(Task):
    """Trains on pairs (Rafailov et al., arXiv 2305.18290, equation 7). `data.microbatch_size` counts pairs, of two rows."""

    name = "dpo"
    settings_class = DpoSettings

    def check(self, spec: ModelSpec, tokenizer: str | None) -> None:
        if tokenizer is None:
            raise ConfigError(
                "the task 'dpo' reads text: set model.tokenizer to the folder of the model's tokenizer"
            )
        if self.config.loss.label_smoothing or self.config.loss.z_loss or self.config.loss.extra_heads:
            raise ConfigError(
                "[loss] adds to cross-entropy, which the task 'dpo' doesn't train: leave [loss] out"
            )
        self.pairs, self.held_out  # noqa: B018  # read, so that what is wrong with them is said now
        reference = frozen_spec(self.config, self.settings.reference)
        if reference.vocabulary != spec.vocabulary:
            raise ConfigError(
                f"task.reference has {reference.vocabulary} rows of vocabulary, the model {spec.vocabulary}: they must be alike"
            )

    @cached_property
    def pairs(self) -> PreferencePairs:
        return _read(self.config, self.settings.pairs)

    @cached_property
    def held_out(self) -> PreferencePairs | None:
        return None if self.settings.held_out is None else _read(self.config, self.settings.held_out)

    @property
    def fingerprint(self) -> str:
        return self.pairs.fingerprint

    @property
    def end_of_document(self) -> int:
        return self.pairs.padding

    def batches(
        self, phase: Phase, data_rank: int, data_ranks: int, earlier: dict[str, Any] | None = None
    ) -> PairBatches:
        return PairBatches(
            self.pairs,
            batch=phase.data.microbatch_size,
            seed=self.config.run.seed,
            data_rank=data_rank,
            data_ranks=data_ranks,
            drawn=earlier["pairs"] if earlier else 0,
        )

    def loss(self, spec: ModelSpec) -> Loss:
        return loss_named("dpo", beta=self.settings.beta)

    def frozen(self) -> dict[str, str | None]:
        return {REFERENCE: self.settings.reference}

    def prepare(self, batch: Sequence[Microbatch], frozen: Mapping[str, Engine]) -> Sequence[Microbatch]:
        """Adds the reference's sums of log-probabilities, by answer."""
        log_probs = frozen[REFERENCE].log_probs(batch)
        return [
            replace(microbatch, loss_data={**microbatch.loss_data, "reference": sums_by_row(lp)})
            for microbatch, lp in zip(batch, log_probs, strict=True)
        ]

    @property
    def evaluates(self) -> bool:
        return self.settings.held_out is not None

    def evaluate(self, trainer: Trainer) -> dict[str, dict[str, float]]:
        """Returns by language the loss, the share of pairs whose chosen answer gained more ("accuracy"), and by how much
        ("margin")."""
        pairs = self.held_out
        if pairs is None:
            return {}
        engines = trainer.engine, trainer.frozen[REFERENCE]
        return pair_margins(*engines, pairs, trainer.phase.data.microbatch_size, self.settings.beta)


def _read(config: RunConfig, file: str) -> PreferencePairs:
    tokenizer = tokenizer_of(config, spec_of(config))
    assert tokenizer is not None
    return PreferencePairs(file, tokenizer, config.data.sequence)
