"""Encodes the chats of a source, or its pairs of answers, once and keeps them in a folder, which later runs with the same files and
settings find."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.base.progress import ProgressBar
from pinisi.data.conversations.columns import chat_of, pair_of
from pinisi.data.conversations.encode import ChatEncoder, EncodedChat, MaskRule
from pinisi.data.conversations.messages import Chat, RejectedChat
from pinisi.data.conversations.outcomes import FILE, Outcomes, outcome_lines
from pinisi.data.conversations.records import ChatRecord, ChatSource, chat_files, records_of
from pinisi.data.conversations.shorten import TooLong, fitted, fitted_pair
from pinisi.data.conversations.store import INDEX, ChatStore, StoreWriter
from pinisi.data.reading.source import Part

AT_ONCE = 256  # chats that the tokenizer is handed at once, to keep its threads busy
LARGE, MOST_WORKERS = 64 * 2**20, 16  # bytes from which several processes encode, and how many at most
VERSION = 2  # of what the tokens follow from: another one encodes anew
ALL = "all"  # the language of chats that name none
Report = Callable[[str], None]


@dataclass(frozen=True)
class EncodeSettings:
    """Says how chats become tokens. limit: most tokens of a chat. record: what a record is; of a pair two chats are kept one behind
    the other, the chosen one first."""

    tokenizer: str
    limit: int
    mask: MaskRule = field(default_factory=MaskRule)
    too_long: TooLong = "drop"
    record: Literal["chat", "pair"] = "chat"


def store_folder(source: ChatSource, settings: EncodeSettings, room: Path) -> Path:
    """Returns where a source's chats are kept under `room`: the name follows from files and settings."""
    tokenizer = Path(settings.tokenizer)
    files = sorted([*tokenizer.glob("tokenizer*.json"), *tokenizer.glob("*.jinja")])
    value = [
        VERSION,
        asdict(source),
        {**asdict(settings), "tokenizer": ""},
        [(file.name, digests.of_file(file)) for file in files],
        [_state(part) for part in chat_files(source)],
    ]
    return room / f"{source.called}-{digests.of_value(value)[:16]}"


def _state(part: Part) -> list[object]:
    path = Path(part.path)
    if part.format == "dataset" or not path.is_file():
        return [part.path, part.first, part.stop]
    facts = path.stat()
    return [str(path.absolute()), facts.st_size, facts.st_mtime_ns]


def prepare_chats(
    source: ChatSource, settings: EncodeSettings, room: Path, report: Report | None = print
) -> ChatStore:
    """Returns a source's encoded chats; encodes them first if they aren't under `room`. report: is told what was left out.

    Raises DataError for files that can't be read, and where no chat is left.
    """
    folder = store_folder(source, settings, room)
    if not (folder / INDEX).is_file():
        with new_folder(folder) as new:
            _encode(source, settings, new, report)
    store = ChatStore(folder)
    lines = told(store, source)
    if not len(store):
        raise DataError("; ".join(lines))
    if report is not None:
        for line in lines:
            report(line)
    return store


def told(store: ChatStore, source: ChatSource) -> list[str]:
    """Returns what became of a source's chats, a line for each reason."""
    index = store.index
    out, cut = sum(index["rejected"].values()), sum(index["cut"].values())
    share = index["targets"] / max(1, index["tokens"])
    what = index["settings"].get("record", "chat")
    count = len(store) // 2 if what == "pair" else len(store)
    first = f"{source.path}: {count:,} of {count + out:,} {what}s, {index['tokens']:,} tokens, {share:.0%} of them trained"
    where = [f"    each with its line: {store.folder / FILE}"] if out or cut else []
    return [first, *(f"    {line}" for line in outcome_lines(index["rejected"], index["cut"])), *where]


class _Encoded(NamedTuple):
    """What became of a record: its chats that are kept, two of a pair, or why there are none. cut: how it was shortened."""

    record: ChatRecord
    chats: Sequence[EncodedChat] = ()
    language: str = ""
    cut: str = ""
    why: RejectedChat | None = None


def _encode(source: ChatSource, settings: EncodeSettings, new: Path, report: Report | None) -> None:
    encoder = ChatEncoder(settings.tokenizer, settings.mask)
    writer = StoreWriter(new)
    with Outcomes(new) as outcomes:
        for found in _encoded(source, settings, encoder, report):
            for each in found:
                _write(each, writer, outcomes)
        facts = {
            "rejected": dict(outcomes.rejected),
            "cut": dict(outcomes.cut),
            "end_of_document": encoder.end_of_document,
            "stop": encoder.stop,
            "settings": asdict(settings),
        }
    writer.close(facts)


def _write(each: _Encoded, writer: StoreWriter, outcomes: Outcomes) -> None:
    if each.why is not None:
        outcomes.reject(each.record, each.why)
        return
    if each.cut:
        outcomes.cut_off(each.record, "too long", each.cut)
    if left_out := next((chat.left_out for chat in each.chats if chat.left_out), ""):
        outcomes.cut_off(each.record, left_out, "")
    for chat in each.chats:
        writer.add(chat.tokens, chat.trained, each.record.file, each.record.line, each.language)


def _encoded(
    source: ChatSource, settings: EncodeSettings, encoder: ChatEncoder, report: Report | None
) -> Iterator[list[_Encoded]]:
    """All records of a source in their order, encoded here or, of much text, by several processes."""
    batches = _batches(source, report)
    count = workers_for(source)
    if count == 1:
        yield from (encode_records(records, settings, encoder) for records in batches)
        return
    with ProcessPoolExecutor(count, get_context("spawn"), _one_thread) as pool:
        waiting: deque[Future[list[_Encoded]]] = deque()
        for records in batches:
            waiting.append(pool.submit(encode_records, records, settings))
            if len(waiting) > 4 * count:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def workers_for(source: ChatSource) -> int:
    """Returns how many processes encode a source: one for little text, for others take seconds to start."""
    paths = [Path(part.path) for part in chat_files(source) if part.format != "dataset"]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return 1 if size < LARGE else min(MOST_WORKERS, os.cpu_count() or 1)


def _one_thread() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@lru_cache(maxsize=1)
def _encoder_of_process(settings: EncodeSettings) -> ChatEncoder:
    return ChatEncoder(settings.tokenizer, settings.mask)


def encode_records(
    records: list[ChatRecord], settings: EncodeSettings, encoder: ChatEncoder | None = None
) -> list[_Encoded]:
    """Encodes records, and says of each what became of it, in their order. encoder: this process' own if left out."""
    encoder = encoder or _encoder_of_process(settings)
    chats: dict[int, tuple[Chat, ...]] = {}
    found: dict[int, _Encoded] = {}
    for number, record in enumerate(records):
        try:
            chats[number] = _read(record, settings)
        except RejectedChat as error:
            found[number] = _Encoded(record, why=error)
    every = iter(encoder.encode([chat for each in chats.values() for chat in each]))
    for number, given in chats.items():
        record, encoded = records[number], tuple(islice(every, len(given)))
        try:
            kept, cut = _kept(encoder, given, encoded, settings)
            found[number] = _Encoded(record, kept, given[0].language or record.language or ALL, cut)
        except RejectedChat as error:
            found[number] = _Encoded(record, why=error)
    return [found[number] for number in range(len(records))]


def _read(record: ChatRecord, settings: EncodeSettings) -> tuple[Chat, ...]:
    if isinstance(record.value, RejectedChat):
        raise record.value
    return (chat_of(record.value),) if settings.record == "chat" else pair_of(record.value)


def _kept(
    encoder: ChatEncoder,
    chats: Sequence[Chat],
    encoded: Sequence[EncodedChat | RejectedChat],
    settings: EncodeSettings,
) -> tuple[Sequence[EncodedChat], str]:
    """What is kept of a record's chats, and how it was cut."""
    ready = []
    for side, each in zip(("chosen", "rejected"), encoded, strict=False):
        if isinstance(each, RejectedChat):
            of = f"{side}: " if settings.record == "pair" else ""
            raise RejectedChat(each.reason, of + each.detail)
        ready.append(each)
    if settings.record == "pair":
        return fitted_pair(ready[0], ready[1], encoder, settings.limit, settings.too_long)
    one, cut = fitted(encoder, chats[0], ready[0], settings.limit, settings.too_long)
    return (one,), cut


def _batches(source: ChatSource, report: Report | None) -> Iterator[list[ChatRecord]]:
    """All records of a source, some at a time, with a bar on a terminal and now and then a line elsewhere."""
    parts = chat_files(source)
    bar = ProgressBar(len(parts))
    count, spoke = 0, time.monotonic()
    for number, part in enumerate(parts):
        records = records_of(part, source)
        while some := list(islice(records, AT_ONCE)):
            yield some
            count += len(some)
            bar.at(number, f"{count:,} chats encoded")
            if report is not None and not bar.shown and time.monotonic() - spoke > 10:
                spoke = time.monotonic()
                report(f"{count:,} chats encoded: file {number + 1} of {len(parts)}")
    bar.close()
