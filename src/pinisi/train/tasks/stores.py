"""Opens what a task reads as chats: the first rank encodes it, the others wait for its folder; and what such tasks share."""

from __future__ import annotations

import time
from pathlib import Path

from pinisi.base.errors import ConfigError, DataError
from pinisi.config import RunConfig
from pinisi.data.conversations.prepare import EncodeSettings, prepare_chats, store_folder
from pinisi.data.conversations.records import ChatSource
from pinisi.data.conversations.store import INDEX, ChatStore
from pinisi.models import ModelSpec
from pinisi.parallel.place import joined, place
from pinisi.train.building import spec_of
from pinisi.train.model_files import tokenizer_of
from pinisi.train.task import Task


class ChatTask(Task):
    """Knows from its encoded chats which tokens end an answer and a text."""

    @property
    def _first(self) -> ChatStore:
        """The first phase's chats."""
        raise NotImplementedError(f"{type(self).__name__} must say what its chats are")

    @property
    def end_of_document(self) -> int:
        return int(self._first.index["end_of_document"])

    @property
    def stops(self) -> tuple[int, ...]:
        return (int(self._first.index["stop"]),)


def chat_tokenizer(config: RunConfig, task: str) -> str:
    """Returns the folder of a run's tokenizer. Raises ConfigError without one."""
    found = tokenizer_of(config, spec_of(config))
    if found is None:
        raise ConfigError(
            f"the task {task!r} reads chats: set model.tokenizer to the folder of the model's tokenizer"
        )
    return found


def open_store(source: ChatSource, settings: EncodeSettings, room: Path) -> ChatStore:
    """Returns a source's encoded chats, kept under `room`. Raises DataError as `prepare_chats` does."""
    first = not joined() or place()[0] == 0
    while not first and not (store_folder(source, settings, room) / INDEX).is_file():
        time.sleep(0.2)  # the first rank encodes; if it fails, whoever started the ranks ends them
    told = first and not (store_folder(source, settings, room) / INDEX).is_file()
    return prepare_chats(source, settings, room, print if told else None)


def check_rows_of(store: ChatStore, spec: ModelSpec) -> None:
    """Raises DataError where a token has no row in the model's vocabulary."""
    if (most := store.index["highest"]) >= spec.vocabulary:
        raise DataError(
            f"{store.folder} has the token id {most}, the model's vocabulary {spec.vocabulary} rows (vocab_size): give "
            "the model's own tokenizer, or give the model more rows"
        )
