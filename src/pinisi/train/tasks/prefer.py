"""Trains on pairs of answers, in the tokenizer's own chat template: chosen ones become likelier than rejected ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from pinisi.base.digests import of_value
from pinisi.base.errors import ConfigError
from pinisi.base.paths import MODEL, PATH
from pinisi.base.progress import say
from pinisi.base.settings import not_empty
from pinisi.base.typed_toml import Fault
from pinisi.data.batches import Microbatch
from pinisi.data.conversations.answers import Think
from pinisi.data.conversations.encode import MaskRule
from pinisi.data.conversations.pair_batches import (
    PAIRS,
    REFERENCE,
    PairDrawing,
    StoredPairBatches,
    all_pairs,
    sums_by_answer,
    target_counts,
)
from pinisi.data.conversations.prepare import EncodeSettings
from pinisi.data.conversations.records import ChatSource
from pinisi.data.conversations.store import ChatStore
from pinisi.engine.engine import Engine
from pinisi.losses import PairLoss, loss_named, preference_losses
from pinisi.models import ModelSpec
from pinisi.train.building import dtype_of, frozen_spec, spec_of
from pinisi.train.phases import Phase, phases_of
from pinisi.train.reference_sums import AT_ONCE, ReferenceSums, keep_sums, reference_digest
from pinisi.train.tasks.judging import judged_pairs
from pinisi.train.tasks.stores import ChatTask, chat_tokenizer, check_rows_of, open_store

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer

ROOM = "pairs"  # in run.folder: encoded pairs, and the reference's sums


@dataclass(frozen=True)
class PreferSettings:
    """Holds [task] of name = "prefer". `data.microbatch_size` counts pairs; their answers share rows of data.sequence tokens."""

    pairs: str = field(metadata=PATH)  # a file, a folder or a pattern: prompt, chosen, rejected
    loss: str = "lr_dpo"  # dpo, lr_dpo, ln_dpo, simpo, or one of your own (`preference_loss`)
    # the loss' own: beta, and alpha of lr_dpo (a token of length), gamma of simpo
    settings: dict[str, float] = field(default_factory=dict)
    # a Hugging Face folder; the model that the run starts from if left out
    reference: str | None = field(default=None, metadata=MODEL)
    # the reference's log-probabilities are made once, before the first step, and kept; false: in each step, by a frozen copy
    stored: bool = True
    held_out: str | None = field(default=None, metadata=PATH)  # pairs to judge by
    # a think block before an answer: trained with it, there without being trained, or taken out
    think: Think = "train"
    # a pair of more tokens than data.sequence: left out, its answers cut at their ends, or its prompt at its beginning
    too_long: Literal["drop", "cut_end", "cut_start"] = "drop"
    packing: bool = True  # several answers in a row of data.sequence tokens, none of which sees another
    prepared: str | None = field(
        default=None, metadata=PATH
    )  # where encoded pairs are kept; run.folder/pairs

    def validate(self) -> Iterator[Fault]:
        yield from not_empty(self, "pairs")
        if self.loss not in (known := preference_losses()):
            near = difflib.get_close_matches(self.loss, known, n=1, cutoff=0.0)[0]
            yield Fault("loss", f"one of {', '.join(known)}; the nearest is {near!r}")


class Prefer(ChatTask):
    """Trains a loss of pairs (`losses.pairs`); both answers of a pair are in one microbatch, and prompts never reach the head."""

    name = "prefer"
    settings_class = PreferSettings

    @cached_property
    def pair_loss(self) -> PairLoss:
        """Returns the loss. Raises ConfigError for settings that it hasn't, or refuses."""
        found = loss_named(self.settings.loss, **self.settings.settings)
        assert isinstance(found, PairLoss)
        return found

    @cached_property
    def tokenizer(self) -> str:
        """Returns the tokenizer's folder. Raises ConfigError without one."""
        return chat_tokenizer(self.config, self.name)

    @property
    def room(self) -> Path:
        """Returns the folder of encoded pairs."""
        return Path(self.settings.prepared or Path(self.config.run.folder) / ROOM)

    @cached_property
    def _open(self) -> dict[tuple[str, int], ChatStore]:
        return {}

    def store(self, sequence: int, file: str | None = None) -> ChatStore:
        """Returns the encoded pairs of a file, that to train on if left out: chats 2i and 2i + 1 are pair i's answers."""
        s = self.settings
        path = file or s.pairs
        if (path, sequence) not in self._open:
            mask = MaskRule("last", s.think)
            settings = EncodeSettings(self.tokenizer, sequence, mask, s.too_long, "pair")
            source = ChatSource(path, name="held-out" if file else "")
            self._open[path, sequence] = open_store(source, settings, self.room)
        return self._open[path, sequence]

    def _stores(self) -> dict[tuple[int, str], ChatStore]:
        """All that the run reads, by length of rows and file."""
        files = [self.settings.pairs, *([self.settings.held_out] if self.settings.held_out else [])]
        lengths = sorted({phase.data.sequence for phase in phases_of(self.config)})
        return {
            (s, file): self.store(s, None if file == self.settings.pairs else file)
            for s in lengths
            for file in files
        }

    def check(self, spec: ModelSpec, tokenizer: str | None) -> None:
        loss = self.config.loss
        if loss.label_smoothing or loss.z_loss or loss.extra_heads:
            raise ConfigError(
                f"[loss] adds to cross-entropy, which the task {self.name!r} doesn't train: leave [loss] out"
            )
        if self.pair_loss.needs_reference:
            reference = frozen_spec(self.config, self.settings.reference)
            if reference.vocabulary != spec.vocabulary:
                raise ConfigError(
                    f"task.reference has {reference.vocabulary} rows of vocabulary, the model {spec.vocabulary}: they must be "
                    "alike"
                )
        for store in self._stores().values():
            check_rows_of(store, spec)

    @cached_property
    def _reference_digest(self) -> str | None:
        """What the reference's numbers follow from; None where the loss reads none."""
        if not self.pair_loss.needs_reference:
            return None
        return reference_digest(self.config, self.settings.reference, self.room)

    @property
    def fingerprint(self) -> str:
        lengths = sorted({phase.data.sequence for phase in phases_of(self.config)})
        return of_value([self._reference_digest, *(self.store(length).fingerprint for length in lengths)])

    @property
    def _first(self) -> ChatStore:
        return self.store(phases_of(self.config)[0].data.sequence)

    def damage(self) -> Iterator[tuple[str, Callable[[int, int], str | None]]]:
        for store in self._stores().values():
            yield str(store.folder), store.damage

    def _drawing(self, phase: Phase, data_rank: int = 0, data_ranks: int = 1) -> PairDrawing:
        return PairDrawing(
            sequence=phase.data.sequence,
            batch=phase.data.microbatch_size,
            seed=self.config.run.seed,
            packed=self.settings.packing,
            data_rank=data_rank,
            data_ranks=data_ranks,
            positions=phase.data.positions,
        )

    def batches(
        self, phase: Phase, data_rank: int, data_ranks: int, earlier: dict[str, Any] | None = None
    ) -> StoredPairBatches:
        drawing = self._drawing(phase, data_rank, data_ranks)
        store = self.store(phase.data.sequence)
        start = {**earlier, "fingerprint": store.fingerprint} if earlier else None
        return StoredPairBatches(store, drawing, start)

    def loss(self, spec: ModelSpec) -> PairLoss:
        return self.pair_loss

    # -- the reference -------------------------------------------------------------------------------------------------

    @cached_property
    def _sums(self) -> dict[str, np.ndarray]:
        """The reference's sums by answer, by the store's folder."""
        return {}

    @cached_property
    def _dtype(self) -> str:
        return dtype_of(self.config, spec_of(self.config))

    def _kept(self, store: ChatStore) -> ReferenceSums:
        assert self._reference_digest is not None
        return ReferenceSums(self.room, store, self._reference_digest, self._dtype)

    def frozen(self) -> dict[str, str | None]:
        if not self.pair_loss.needs_reference:
            return {}
        if self.settings.stored and all(self._kept(store).there() for store in self._stores().values()):
            return {}
        return {REFERENCE: self.settings.reference}

    def before_training(self, trainer: Trainer) -> None:
        """Makes the reference's sums, where they are kept and aren't there, and lets its model go."""
        if not (self.settings.stored and self.pair_loss.needs_reference):
            return
        drawing = self._drawing(trainer.phase)
        for (length, _), store in self._stores().items():
            kept = self._kept(store)
            sums = None if trainer.frozen else kept.read()
            if sums is None:
                drawing = replace(drawing, sequence=length)
                sums = keep_sums(trainer, kept, trainer.frozen[REFERENCE], drawing, say)
            self._sums[str(store.folder)] = sums
        trainer.frozen.pop(REFERENCE, None)

    def _reference(
        self, store: ChatStore, batch: Sequence[Microbatch], engine: Engine | None
    ) -> list[torch.Tensor]:
        """The reference's sums by answer of each microbatch, [2 · pairs]; zeros where the loss reads none."""
        if not self.pair_loss.needs_reference:
            return [torch.zeros(2 * len(each.loss_data[PAIRS]), dtype=torch.float64) for each in batch]
        if engine is not None:
            log_probs = engine.log_probs(batch)
            return [sums_by_answer(lp, each) for each, lp in zip(batch, log_probs, strict=True)]
        sums = torch.from_numpy(np.array(self._sums[str(store.folder)])).view(-1, 2)
        return [sums[each.loss_data[PAIRS]].flatten() for each in batch]

    def prepare(self, batch: Sequence[Microbatch], frozen: Mapping[str, Engine]) -> Sequence[Microbatch]:
        """Adds the reference's sums of log-probabilities, by answer."""
        store = self.store(batch[0].tokens.shape[1])
        found = self._reference(store, batch, frozen.get(REFERENCE))
        return [
            replace(each, loss_data={**each.loss_data, REFERENCE: sums})
            for each, sums in zip(batch, found, strict=True)
        ]

    # -- judging -------------------------------------------------------------------------------------------------------

    @property
    def evaluates(self) -> bool:
        return self.settings.held_out is not None

    def evaluate(self, trainer: Trainer) -> dict[str, dict[str, float]]:
        """Returns by language the loss of held-out pairs and what it measures besides (`MEASURES`), each a mean over pairs."""
        if self.settings.held_out is None:
            return {}
        store = self.store(trainer.phase.data.sequence, self.settings.held_out)
        batches, rows = all_pairs(store, self._drawing(trainer.phase)), []
        while some := list(islice(batches, AT_ONCE)):
            ours = trainer.engine.log_probs(some)
            theirs = self._reference(store, some, trainer.frozen.get(REFERENCE))
            for each, lp, reference in zip(some, ours, theirs, strict=True):
                rows.append((each, sums_by_answer(lp, each), reference, target_counts(each)))
        return judged_pairs(self.pair_loss, store, rows)
