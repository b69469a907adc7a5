"""Files of chats: what is left out and why, what is kept, and rows that hold every chat once an epoch."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.data.conversations import prepare
from pinisi.data.conversations.batches import ChatBatches, ChatDrawing, held_out_batches, rows_an_epoch
from pinisi.data.conversations.columns import chat_of
from pinisi.data.conversations.encode import ChatEncoder
from pinisi.data.conversations.find import chat_at
from pinisi.data.conversations.messages import RejectedChat
from pinisi.data.conversations.outcomes import FILE
from pinisi.data.conversations.packing import packed_rows
from pinisi.data.conversations.prepare import EncodeSettings, prepare_chats, store_folder, told
from pinisi.data.conversations.records import ChatSource, chat_files, records_of
from pinisi.data.conversations.shorten import fitted
from pinisi.data.conversations.show import in_terminal, stretches
from pinisi.data.conversations.store import ChatStore
from pinisi.report.chats import chat_page
from tests.effort import only_full
from tests.engine.runs import pinisi

from .made import assistant, chat, hi, tokenizer, user, write_chats


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tokenizer(tmp_path_factory.mktemp("tokenizer"), "gemma")


@pytest.fixture(scope="module")
def encoder(folder) -> ChatEncoder:
    return ChatEncoder(folder)


def made(n: int) -> dict:
    return chat(user(f"u{n}"), assistant("y" * (1 + n % 5)), language=("id", "en")[n % 2])


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory) -> ChatStore:
    room = tmp_path_factory.mktemp("room")
    file = write_chats(room / "chats.jsonl", [made(n) for n in range(29)])
    return prepare_chats(ChatSource(str(file)), EncodeSettings(str(folder), 64), room, None)


def test_every_chat_that_is_left_out_is_written_with_its_line_and_reason(folder, tmp_path):
    records = [
        hi(),
        chat(user("a"), assistant("b"), assistant("c")),
        "{broken",
        chat(user("a"), {"role": "wizard", "content": "b"}),
        chat(user("long " * 40), assistant("b")),
        chat(user("a"), assistant("b", reasoning_content="hm")),
    ]
    file = write_chats(tmp_path / "id.jsonl", records)
    said: list[str] = []
    settings = EncodeSettings(str(folder), 40)
    store = prepare_chats(ChatSource(str(file)), settings, tmp_path / "room", said.append)
    assert len(store) == 2 and [store.origin(n) for n in range(2)] == [(str(file), 1), (str(file), 6)]
    assert store.languages == ("id",)
    lines = [json.loads(line) for line in (store.folder / FILE).read_text().splitlines()]
    assert {(line["line"], line["what"], line["reason"]) for line in lines} == {
        (2, "rejected", "two answers in a row"),
        (3, "rejected", "not JSON"),
        (4, "rejected", "unknown role"),
        (5, "rejected", "too long"),
        (6, "cut", "the template leaves out the reasoning"),
    }
    assert all(line["file"] == str(file) for line in lines)
    assert (
        "2 of 6 chats" in said[0]
        and "    1 left out: unknown role" in said
        and str(store.folder / FILE) in said[-1]
    )
    again: list[str] = []
    found = prepare_chats(ChatSource(str(file)), settings, tmp_path / "room", again.append)
    assert found.folder == store.folder and again == said  # found, not encoded again


@only_full  # seconds, in which processes start
def test_several_processes_write_the_same_files(folder, tmp_path, monkeypatch):
    records = [*(made(n) for n in range(700)), chat(user("a")), "{broken", *(made(n) for n in range(300))]
    source = ChatSource(str(write_chats(tmp_path / "id.jsonl", records)))
    stores = []
    for count in (1, 2):
        monkeypatch.setattr(prepare, "workers_for", lambda _, count=count: count)
        settings = EncodeSettings(str(folder), 64)
        stores.append(prepare_chats(source, settings, tmp_path / str(count), None))
    one, two = ({file.name: file.read_bytes() for file in store.folder.iterdir()} for store in stores)
    assert one == two and len(stores[0]) == 1000


def test_no_chat_left_is_an_error_that_says_why(folder, tmp_path):
    file = write_chats(tmp_path / "chats.jsonl", [chat(user("a"))])
    with pytest.raises(DataError, match=r"0 of 1 chats.*1 left out: no answer"):
        prepare_chats(ChatSource(str(file)), EncodeSettings(str(folder), 40), tmp_path, None)


def test_another_file_or_setting_is_another_folder(folder, tmp_path):
    file = write_chats(tmp_path / "chats.jsonl", [hi()])
    source, settings = ChatSource(str(file)), EncodeSettings(str(folder), 40)
    first = store_folder(source, settings, tmp_path)
    assert store_folder(source, replace(settings, limit=41), tmp_path) != first
    write_chats(file, [hi(), hi()])
    assert store_folder(source, settings, tmp_path) != first


def test_files_of_each_kind_give_the_same_records(tmp_path):
    records = [made(n) for n in range(3)]
    (tmp_path / "a.json").write_text(json.dumps(records))
    write_chats(tmp_path / "b.jsonl", records)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress((tmp_path / "b.jsonl").read_bytes()))
    write_chats(tmp_path / "d.json", records)  # lines, whatever the name says
    source = ChatSource(str(tmp_path))
    for part in chat_files(source):
        assert [(r.line, r.value) for r in records_of(part, source)] == list(enumerate(records, 1))
    with pytest.raises(DataError, match="no file of chats"):
        chat_files(ChatSource(str(tmp_path / "none")))
    (tmp_path / "x.txt").write_text("a")
    with pytest.raises(DataError, match="of no known kind"):
        chat_files(ChatSource(str(tmp_path / "x.txt")))


LONG = chat(*(turn for n in range(3) for turn in (user(f"question {n}"), assistant(f"answer {n}"))))


@pytest.mark.parametrize("rule", ["drop", "cut_end", "cut_start", "drop_turns"])
def test_rules_for_chats_that_are_too_long(encoder, rule):
    whole = encoder.encode_one(chat_of(LONG))
    two = encoder.encode_one(chat_of(chat(*LONG["messages"][:4])))
    limit = len(whole.tokens) - 3
    if rule == "drop":
        with pytest.raises(RejectedChat, match="too long"):
            fitted(encoder, chat_of(LONG), whole, limit, rule)
        return
    found, cut = fitted(encoder, chat_of(LONG), whole, limit, rule)
    assert f"{len(whole.tokens)} tokens" in cut
    if rule == "cut_end":
        assert (found.tokens, found.trained) == (whole.tokens[:limit], whole.trained[:limit])
    elif rule == "cut_start":
        assert found.tokens == [encoder.begin, *whole.tokens[-limit + 1 :]] and not any(found.trained[:2])
        assert found.trained[2:] == whole.trained[-limit + 2 :]
    else:
        assert found == two


def test_what_has_no_room_for_an_answer_is_named(encoder):
    whole = encoder.encode_one(chat_of(hi()))
    with pytest.raises(RejectedChat, match="nothing left to train"):
        fitted(encoder, chat_of(hi()), whole, 3, "cut_end")


def test_packed_rows_hold_each_chat_once_and_little_room():
    draw = random.Random(1)
    for _ in range(50):
        lengths = [draw.randint(1, 30) for _ in range(draw.randint(1, 80))]
        rows = packed_rows(lengths, 30)
        assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
        assert all(sum(lengths[n] for n in row) <= 30 for row in rows)
        assert len(rows) <= 1 + 1.3 * sum(lengths) / 30  # best fit decreasing: 11/9 of the best, and 1


def test_an_epoch_has_every_chat_once_and_its_targets_alone(store):
    drawing = ChatDrawing(sequence=64, batch=1, seed=3)
    rows = rows_an_epoch(store, drawing, "chats")
    batches = ChatBatches({"chats": store}, drawing)
    for _ in range(2):
        seen: Counter[tuple[int, ...]] = Counter()
        for batch in batches.step(rows):
            targets = batch.targets[0]
            for document in batch.documents[0].unique():
                here = batch.documents[0] == document
                tokens, wanted = batch.tokens[0][here].tolist(), targets[here].tolist()
                assert batch.positions[0][here].tolist() == list(range(len(tokens)))
                if any(target != -100 for target in wanted):
                    seen[tuple(tokens)] += 1
                    assert wanted[-1] == -100
                    assert all(t in (-100, after) for t, after in zip(wanted, tokens[1:], strict=False))
        assert seen == Counter(tuple(each.tokens.tolist()) for each in store)
    count = sum(int((b.targets != -100).sum()) for b in ChatBatches({"c": store}, drawing).step(rows))
    assert count == store.index["targets"]


def test_languages_are_those_of_each_chat(store):
    (batch,) = ChatBatches({"c": store}, ChatDrawing(sequence=64, batch=2, seed=3)).step(1)
    assert set(batch.languages[batch.targets != -100].tolist()) == {0, 1}


@pytest.mark.parametrize("packed", [True, False])
def test_rows_go_on_where_they_stopped_for_any_number_of_data_ranks(store, packed):
    def dealt(ranks: int, batch: int = 2, skip: int = 0) -> list[list[list[int]]]:
        every = []
        for rank in range(ranks):
            drawing = ChatDrawing(64, batch, 3, packed=packed, data_rank=rank, data_ranks=ranks)
            batches = ChatBatches({"a": store, "b": store}, drawing)
            for _ in range(skip):
                batches.step(4 // ranks)
            other = ChatBatches({"a": store, "b": store}, drawing)
            other.restore(json.loads(json.dumps(batches.state())))
            every.append([b.tokens.tolist() for _ in range(9) for b in other.step(4 // ranks)])
        return [every[n % ranks][n // ranks] for n in range(len(every[0]) * ranks)]

    assert dealt(1)[20:] == dealt(1, skip=5)[:16]
    assert dealt(1) == dealt(2)


def test_balance_deals_the_same_rows(store):
    plain, even = (
        ChatBatches({"a": store}, ChatDrawing(64, 2, 3, balance=balance)).step(3) for balance in (False, True)
    )
    rows = [sorted(row.tolist() for batch in of for row in batch.tokens) for of in (plain, even)]
    assert rows[0] == rows[1]


def test_another_phase_goes_on_or_begins_the_next_epoch(store):
    short = ChatBatches({"a": store}, ChatDrawing(64, 1, 3))
    short.step(3)
    same = ChatBatches({"a": store}, ChatDrawing(64, 1, 3), short.state())
    assert same.step(1)[0].tokens.tolist() == short.step(1)[0].tokens.tolist()
    other = ChatBatches({"a": store}, ChatDrawing(80, 1, 3), short.state())
    assert other.state()["places"]["a"] == [1, 0, 0]
    with pytest.raises(DataError, match="rows of"):
        ChatBatches({"a": store}, ChatDrawing(80, 1, 3)).restore(short.state())
    with pytest.raises(DataError, match="seed 3"):
        ChatBatches({"a": store}, ChatDrawing(64, 1, 4)).restore(short.state())


def test_held_out_chats_of_a_language(store):
    drawing = ChatDrawing(64, 2, 0)
    found = {name: list(held_out_batches(store, name, drawing, 99)) for name in store.languages}
    counts = {name: sum(b.target_count for b in batches) for name, batches in found.items()}
    assert sum(counts.values()) == store.index["targets"] and all(counts.values())
    assert len(list(held_out_batches(store, "id", drawing, 1))) == 1


def test_a_damaged_file_is_named(store):
    path = store.folder / "tokens.bin"
    kept = path.read_bytes()
    path.write_bytes(kept[:-4] + b"\0\0\0\1")
    try:
        assert "tokens.bin is damaged" in str(ChatStore(store.folder).damage())
    finally:
        path.write_bytes(kept)
    assert ChatStore(store.folder).damage() is None


def test_what_is_trained_is_shown(encoder, tmp_path, capsys):
    record = chat(user("<b>hi</b>"), assistant("yo\nyo"))
    found = encoder.encode_one(chat_of(record))
    plain, coloured = (in_terminal(encoder.tokenizer, found, colours=colours) for colours in (False, True))
    assert "⟦yo\nyo<end_of_turn>⟧" in plain and "\x1b[30;42myo↵" in coloured
    page = chat_page("a.jsonl:1", "told", stretches(encoder.tokenizer, found))
    assert "<mark>yo\nyo&lt;end_of_turn&gt;</mark>" in page and "<b>hi" not in page
    file = write_chats(tmp_path / "chats.jsonl", [chat(user("a")), record])
    assert chat_at(file, None, encoder) == (f"{file}:2", found)
    assert pinisi("inspect", "chat", str(file), "--tokenizer", str(encoder.folder)).returncode == 0
    assert "⟦yo" in capsys.readouterr().out
    done = pinisi("inspect", "chat", str(file), "1", "--tokenizer", str(encoder.folder))
    assert done.returncode == 2 and "chats.jsonl:1 is rejected: no answer" in done.stderr
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 2)
    with pytest.raises(
        DataError, match=r"2 are rejected, the first is .*pairs.jsonl:1: a pair of answers.*pinisi prefer"
    ):
        chat_at(pairs, None, encoder)


def test_what_became_of_chats_is_told_by_frequency(store):
    lines = told(store, ChatSource("x.jsonl"))
    assert lines == [lines[0]] and "29 of 29 chats" in lines[0]
