"""Fine-tunes on chats: cross-entropy on the answers' tokens alone, in the tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinisi.base.digests import of_value
from pinisi.base.errors import ConfigError
from pinisi.base.paths import PATH
from pinisi.base.typed_toml import Fault
from pinisi.data.conversations.answers import Think
from pinisi.data.conversations.batches import ChatBatches, ChatDrawing, held_out_batches, rows_an_epoch
from pinisi.data.conversations.encode import MaskRule, Trained
from pinisi.data.conversations.prepare import EncodeSettings
from pinisi.data.conversations.records import ChatSource
from pinisi.data.conversations.shorten import TooLong
from pinisi.data.conversations.store import ChatStore
from pinisi.losses import Loss, cross_entropy_with
from pinisi.models import ModelSpec
from pinisi.parallel.place import joined
from pinisi.train.phases import Phase, phases_of
from pinisi.train.tasks.judging import mean_losses
from pinisi.train.tasks.stores import ChatTask, chat_tokenizer, check_rows_of, open_store

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer

ROOM = "chats"  # in run.folder: encoded chats


@dataclass(frozen=True)
class SftSettings:
    """Holds [task] of name = "sft": chats, or [[task.sources]], which a mixture and phases name."""

    chats: str | None = field(default=None, metadata=PATH)  # a file, a folder or a pattern of chats
    sources: list[ChatSource] = field(default_factory=list)  # instead of chats: several, by name
    held_out: str | None = field(default=None, metadata=PATH)  # chats to judge by
    # which tokens learn: all answers' of a chat, its last answer's, or all; a stop token is its answer's
    train: Trained = "answers"
    # a think block before an answer: trained with it, there without being trained, or taken out
    think: Think = "train"
    # a chat of more tokens than data.sequence: left out, cut at its end or at its beginning, or without its last turns
    too_long: TooLong = "drop"
    packing: bool = True  # several chats in a row of data.sequence tokens, none of which sees another
    prepared: str | None = field(
        default=None, metadata=PATH
    )  # where encoded chats are kept; run.folder/chats

    def validate(self) -> Iterator[Fault]:
        if (self.chats is None) == (not self.sources):
            yield Fault("chats", "a path, or else [[task.sources]]: one of the two")


class Sft(ChatTask):
    """Trains answers of chats; [data] says how long rows are, and a phase's mixture names sources."""

    name = "sft"
    settings_class = SftSettings

    @cached_property
    def sources(self) -> dict[str, ChatSource]:
        """Returns what is trained on, by name. Raises ConfigError for two of one name."""
        given = self.settings.sources or [ChatSource(self.settings.chats)]
        found = {each.called: each for each in given}
        if len(found) < len(given):
            names = [each.called for each in given]
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"two of [[task.sources]] have the name {twice!r}: give each a name of its own")
        return found

    @cached_property
    def tokenizer(self) -> str:
        """Returns the tokenizer's folder. Raises ConfigError without one."""
        return chat_tokenizer(self.config, self.name)

    def stores(self, sequence: int) -> dict[str, ChatStore]:
        """Returns the encoded chats of each source, for rows of so many tokens."""
        return {name: self._store(source, sequence) for name, source in self.sources.items()}

    @cached_property
    def _open(self) -> dict[tuple[ChatSource, int], ChatStore]:
        return {}

    def _store(self, source: ChatSource, sequence: int) -> ChatStore:
        key = source, sequence
        if key not in self._open:
            s = self.settings
            settings = EncodeSettings(self.tokenizer, sequence, MaskRule(s.train, s.think), s.too_long)
            room = Path(s.prepared or Path(self.config.run.folder) / ROOM)
            self._open[key] = open_store(source, settings, room)
        return self._open[key]

    def held_out(self, sequence: int) -> ChatStore | None:
        """Returns the chats to judge by."""
        file = self.settings.held_out
        return None if file is None else self._store(ChatSource(file, name="held-out"), sequence)

    def check(self, spec: ModelSpec, tokenizer: str | None) -> None:
        for phase in phases_of(self.config):
            stores = self.stores(phase.data.sequence)
            held_out = self.held_out(phase.data.sequence)
            for store in [*stores.values(), *([held_out] if held_out else [])]:
                check_rows_of(store, spec)
            drawing = self._drawing(phase)
            ChatBatches(stores, drawing)  # raises DataError for a mixture's name that isn't there
            if not joined():
                print(_epochs(phase, stores, drawing, self.config.pipeline.data_parallel or 1), flush=True)

    @property
    def fingerprint(self) -> str:
        lengths = sorted({phase.data.sequence for phase in phases_of(self.config)})
        return of_value(
            [(s, name, store.fingerprint) for s in lengths for name, store in sorted(self.stores(s).items())]
        )

    @property
    def _first(self) -> ChatStore:
        return next(iter(self.stores(phases_of(self.config)[0].data.sequence).values()))

    def damage(self) -> Iterator[tuple[str, Callable[[int, int], str | None]]]:
        for sequence in sorted({phase.data.sequence for phase in phases_of(self.config)}):
            held_out = self.held_out(sequence)
            for store in [*self.stores(sequence).values(), *([held_out] if held_out else [])]:
                yield str(store.folder), store.damage

    def _drawing(self, phase: Phase, data_rank: int = 0, data_ranks: int = 1) -> ChatDrawing:
        return ChatDrawing(
            sequence=phase.data.sequence,
            batch=phase.data.microbatch_size,
            seed=self.config.run.seed,
            packed=self.settings.packing,
            weights=phase.data.mixture,
            data_rank=data_rank,
            data_ranks=data_ranks,
            balance=phase.data.balance,
            positions=phase.data.positions,
        )

    def batches(
        self, phase: Phase, data_rank: int, data_ranks: int, earlier: dict[str, Any] | None = None
    ) -> ChatBatches:
        return ChatBatches(
            self.stores(phase.data.sequence), self._drawing(phase, data_rank, data_ranks), earlier
        )

    def loss(self, spec: ModelSpec) -> Loss:
        loss = self.config.loss
        return cross_entropy_with(spec.vocabulary, loss.label_smoothing, loss.z_loss)

    @property
    def evaluates(self) -> bool:
        return self.settings.held_out is not None

    def evaluate(self, trainer: Trainer) -> dict[str, dict[str, float]]:
        """Returns cross-entropy in nats a trained token, by language."""
        store = self.held_out(trainer.phase.data.sequence)
        if store is None:
            return {}
        drawing, most = self._drawing(trainer.phase), self.config.evaluation.microbatches
        drawing = replace(drawing, balance=False)
        return mean_losses(
            trainer.engine,
            {
                language: list(held_out_batches(store, language, drawing, most))
                for language in store.languages
            },
        )


def _epochs(phase: Phase, stores: dict[str, ChatStore], drawing: ChatDrawing, replicas: int) -> str:
    """Says how often a phase goes through each source's chats."""
    rows = phase.steps * phase.microbatches * phase.data.microbatch_size * replicas
    batches = ChatBatches(stores, drawing)
    told = [
        f"{name} {rows * share / rows_an_epoch(stores[name], drawing, name):.2f} times"
        for name, share in batches.shares.items()
    ]
    return f"{phase.steps:,} steps of {rows // phase.steps:,} rows go through {', '.join(told)}"
