"""Pairs of answers: columns, what is left out with file and line, rules of length, and how a step's pairs are dealt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.data.conversations.encode import MaskRule
from pinisi.data.conversations.pair_batches import (
    PairDrawing,
    StoredPairBatches,
    all_pairs,
    pair_microbatch,
    sums_by_answer,
    target_counts,
)
from pinisi.data.conversations.prepare import EncodeSettings, prepare_chats
from pinisi.data.conversations.records import ChatSource
from pinisi.data.conversations.store import ChatStore
from tests.data.conversations.made import assistant, chat, tokenizer, user, write_chats

SEQUENCE = 64
ASKED = "hi there"


def pair(chosen: object = "yes", rejected: object = "no no", prompt: object = ASKED, **more: object) -> dict:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def prepared(
    room: Path, records: list, kind: str = "qwen3", limit: int = SEQUENCE, rule: str = "drop"
) -> ChatStore:
    file = write_chats(room / "pairs.jsonl", records)
    folder = tokenizer(room / "tokenizer", kind)
    settings = EncodeSettings(str(folder), limit, MaskRule("last"), rule, "pair")  # type: ignore[arg-type]
    return prepare_chats(ChatSource(str(file)), settings, room, None)


def left_out(room: Path, records: list, **more) -> list[dict]:
    """The lines of rejected.jsonl of these records, behind one that is kept."""
    store = prepared(room, [pair(), *records], **more)
    assert len(store) >= 2 and len(store) % 2 == 0
    return [json.loads(line) for line in (store.folder / "rejected.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["qwen3", "gemma", "llama", "mistral", "plain", "marked"])
def test_texts_and_turns_are_the_same_pair(tmp_path, kind) -> None:
    forms = [
        pair(),
        pair([assistant("yes")], [assistant("no no")], [user(ASKED)]),
        {"chosen": [user(ASKED), assistant("yes")], "rejected": [user(ASKED), assistant("no no")]},
    ]
    store = prepared(tmp_path, forms, kind)
    assert len(store) == 6
    chats = [store[number] for number in range(6)]
    for number, each in enumerate(chats):
        assert np.array_equal(each.tokens, chats[number % 2].tokens)
        assert np.array_equal(each.trained, chats[number % 2].trained)
    chosen, rejected = chats[:2]
    first = int(chosen.trained.argmax())
    assert first == int(rejected.trained.argmax()) > 0 and not chosen.trained[:first].any()
    assert np.array_equal(chosen.tokens[:first], rejected.tokens[:first])


@pytest.mark.parametrize("kind", ["gemma", "llama"])
def test_exactly_one_token_begins_each_side(tmp_path, kind) -> None:
    """OpenRLHF#393."""
    store = prepared(
        tmp_path, [pair(), pair([user("q"), assistant("a")], [user("q"), assistant("b")], None)], kind
    )
    begin = int(store[0].tokens[0])
    for number in range(len(store)):
        tokens = store[number].tokens
        assert tokens[0] == begin and (tokens == begin).sum() == 1


def test_earlier_answers_are_read_and_not_trained(tmp_path) -> None:
    asked = [user("a"), assistant("first"), user("b")]
    store = prepared(tmp_path, [pair([*asked, assistant("yes")], [*asked, assistant("no")], None)], "llama")
    trained = store[0].trained
    first = int(trained.argmax())
    assert trained[first:].all() or not trained[first:][int((~trained[first:]).argmax()) :].any()
    assert trained.sum() == prepared(tmp_path / "x", [pair("yes", "no")], "llama")[0].trained.sum()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (pair("yes", "yes"), "chosen and rejected are the same"),
        (pair("", "no"), "empty answer"),
        (pair("yes", "  "), "empty answer"),
        (pair(None, "no"), "content is null"),
        (pair("yes", 3), "content is no text"),
        ({"prompt": "a", "chosen": "b"}, "no pair's columns"),
        ([1], "no object"),
        ("{broken", "not JSON"),
        (pair([user("a"), assistant("b")], [user("c"), assistant("d")], None), "two prompts"),
        (pair([user("a")], [user("b")], None), "no answer"),
        (pair([assistant("a"), assistant("b")], [assistant("a"), assistant("c")]), "two answers in a row"),
        (pair([{"role": "wizard", "content": "a"}], "b"), "unknown role"),
        (pair("yes " * 80, "no"), "too long"),
        (pair("yes", "no " * 80), "too long"),
        (pair(prompt=[user("a"), {"role": "system", "content": "s"}]), "system in the middle"),
        (pair(prompt="  "), "empty user turn"),
    ],
)
def test_what_is_left_out_is_said_with_file_and_line(tmp_path, record, reason) -> None:
    (line,) = left_out(tmp_path, [record])
    assert line["reason"] == reason and line["line"] == 2 and line["file"].endswith("pairs.jsonl")


def test_an_answer_without_a_token_before_it_is_left_out(tmp_path) -> None:
    """transformers#47325."""
    with pytest.raises(DataError, match="2 left out: nothing before an answer"):
        prepared(tmp_path, [pair(), pair("a", "b")], "bare")


def test_the_reasons_are_counted_and_the_side_is_named(tmp_path) -> None:
    lines = left_out(tmp_path, [pair("yes", ""), pair("a", "a"), pair("", "b"), pair("c", "c")])
    assert [line["line"] for line in lines] == [2, 3, 4, 5]
    assert lines[0]["detail"].startswith("rejected: ") and lines[2]["detail"].startswith("chosen: ")
    store = ChatStore(next((tmp_path).glob("pairs-*")))
    assert store.index["rejected"] == {"empty answer": 2, "chosen and rejected are the same": 2}


def test_answers_are_cut_at_their_ends(tmp_path) -> None:
    whole = prepared(tmp_path / "whole", [pair("yes " * 9, "no " * 9)], kind="llama", limit=400)
    limit = int(whole[0].trained.argmax()) + 3
    cut = prepared(tmp_path / "cut", [pair("yes " * 9, "no " * 9)], kind="llama", limit=limit, rule="cut_end")
    for number in range(2):
        assert np.array_equal(cut[number].tokens, whole[number].tokens[:limit])
        assert np.array_equal(cut[number].trained, whole[number].trained[:limit])
    assert cut.index["cut"] == {"too long": 1}
    alike = [pair("same " * 9 + "yes", "same " * 9 + "no"), pair("yes", "no", "w" * 99), pair("y", "n")]
    store = prepared(tmp_path / "alike", alike, kind="llama", limit=limit, rule="cut_end")
    assert store.index["rejected"] == {"chosen and rejected are the same": 1, "nothing left to train": 1}


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_prompts_are_cut_alike_at_their_beginnings(tmp_path, kind) -> None:
    records = [pair("yes", "no no no", "w" * 40)]
    whole = prepared(tmp_path / "whole", records, kind, 400)
    longest, begin = int(whole.lengths.max()), int(kind == "llama")
    cut = prepared(tmp_path / "cut", records, kind, longest - 7, "cut_start")
    for number in range(2):
        assert np.array_equal(cut[number].tokens[begin:], whole[number].tokens[begin + 7 :])
        assert np.array_equal(cut[number].trained[begin:], whole[number].trained[begin + 7 :])
        assert cut[number].tokens[0] == whole[number].tokens[0 if begin else 7]
    with pytest.raises(DataError, match="1 left out: too long"):
        prepared(tmp_path / "none", records, kind, int(whole[1].trained.sum()), "cut_start")


def some_pairs(count: int) -> list[dict]:
    return [
        pair("yes " * (1 + n % 5), "no " * (1 + n % 3) + str(n), f"say {n}", language=("id", "en")[n % 2])
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ChatStore:
    return prepared(tmp_path_factory.mktemp("store"), some_pairs(13))


def answers_of(batch) -> dict[int, tuple[list[int], list[int]]]:
    """Tokens, and targets, of each answer of a microbatch."""
    sequences = batch.loss_data["sequences"]
    return {
        number: (batch.tokens[sequences == number].tolist(), batch.targets[sequences == number].tolist())
        for number in range(2 * len(batch.loss_data["pairs"]))
    }


@pytest.mark.parametrize("packed", [True, False])
def test_a_microbatch_has_both_answers_of_each_pair(store, packed) -> None:
    numbers = [5, 0, 12, 5]
    batch = pair_microbatch(store, numbers, PairDrawing(SEQUENCE, 4, 1, packed))
    assert batch.tokens.shape[1] == SEQUENCE and (packed or len(batch.tokens) == 8)
    assert batch.loss_data["pairs"].tolist() == numbers
    for answer, (tokens, targets) in answers_of(batch).items():
        stored = store[2 * numbers[answer // 2] + answer % 2]
        assert tokens == stored.tokens.tolist()
        wanted = [t if on else IGNORE for t, on in zip(tokens[1:], stored.trained[1:], strict=True)]
        assert targets == [*wanted, IGNORE]
        here = batch.loss_data["sequences"] == answer
        assert len(batch.documents[here].unique()) == 1
        assert batch.positions[here].tolist() == list(range(len(tokens)))
        assert {store.languages[n] for n in batch.languages[here].tolist()} == {
            ("id", "en")[numbers[answer // 2] % 2]
        }
    assert (batch.targets[batch.loss_data["sequences"] < 0] == IGNORE).all()
    assert target_counts(batch).tolist() == [
        int(store[2 * n + side].trained.sum()) for n in numbers for side in (0, 1)
    ]


def test_sums_are_by_answer(store) -> None:
    batch = pair_microbatch(store, [3, 1], PairDrawing(SEQUENCE, 2, 1))
    lp = torch.where(batch.targets != IGNORE, torch.randn(batch.tokens.shape), 0.0)
    wanted = [lp[batch.loss_data["sequences"] == n].double().sum().item() for n in range(4)]
    assert sums_by_answer(lp, batch).tolist() == pytest.approx(wanted)


def numbers_of(batches: list) -> list[int]:
    return [int(n) for batch in batches for n in batch.loss_data["pairs"]]


def test_every_pair_comes_once_an_epoch_whoever_deals(store) -> None:
    alone = StoredPairBatches(store, PairDrawing(SEQUENCE, 2, 3))
    dealt = [sorted(numbers_of(alone.step(4))) for _ in range(13)]
    flat = [n for step in dealt for n in step]
    assert sorted(flat) == sorted(list(range(13)) * 8)
    both = [StoredPairBatches(store, PairDrawing(SEQUENCE, 2, 3, data_rank=r, data_ranks=2)) for r in (0, 1)]
    for step in dealt:
        parts = [numbers_of(each.step(2)) for each in both]
        assert sorted(parts[0] + parts[1]) == step
    assert both[0].state() == both[1].state() == alone.state()


def test_microbatches_are_even(store) -> None:
    batches = StoredPairBatches(store, PairDrawing(SEQUENCE, 3, 1)).step(4)
    sizes = [int((batch.loss_data["sequences"] >= 0).sum()) for batch in batches]
    lengths = [int(store.lengths[2 * n] + store.lengths[2 * n + 1]) for n in numbers_of(batches)]
    assert max(sizes) - min(sizes) <= max(lengths) - min(lengths)
    assert max(sizes) <= 1.1 * sum(sizes) / len(sizes)


def test_dealing_goes_on_from_a_state(store, tmp_path) -> None:
    drawing = PairDrawing(SEQUENCE, 2, 3)
    first = StoredPairBatches(store, drawing)
    first.step(5)
    state = json.loads(json.dumps(first.state()))
    again = StoredPairBatches(store, drawing)
    again.restore(state)
    for _ in range(4):
        assert [b.tokens.tolist() for b in first.step(3)] == [b.tokens.tolist() for b in again.step(3)]
    with pytest.raises(DataError, match="another seed"):
        StoredPairBatches(store, PairDrawing(SEQUENCE, 2, 4), state)
    other = prepared(tmp_path, some_pairs(12))
    with pytest.raises(DataError, match="other pairs"):
        StoredPairBatches(other, drawing, state)


def test_all_pairs_come_once(store) -> None:
    drawing = PairDrawing(SEQUENCE, 4, 1)
    assert numbers_of(list(all_pairs(store, drawing))) == list(range(13))
    shares = [numbers_of(list(all_pairs(store, drawing, first, 3))) for first in range(3)]
    assert sorted(n for share in shares for n in share) == list(range(13))


def test_chats_are_no_pairs_and_pairs_are_no_chats(tmp_path) -> None:
    with pytest.raises(DataError, match="no pair's columns"):
        prepared(tmp_path, [chat(user("a"), assistant("b"))])
