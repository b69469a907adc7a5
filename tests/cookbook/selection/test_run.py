"""Whole selections: planted faults, perplexity and reward against the Hugging Face models, kills, the page."""

from __future__ import annotations

import json
import math
import shutil
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForSequenceClassification

from pinisi.base.errors import PinisiError
from pinisi.cli import main
from pinisi.cookbook.selection import run
from pinisi.cookbook.selection.ranks import percentiles
from pinisi.cookbook.selection.run import select_chats
from pinisi.cookbook.selection.settings import SelectSettings
from pinisi.data.conversations.columns import chat_of
from pinisi.data.conversations.encode import ChatEncoder
from tests.data.conversations.made import assistant, chat, tokenizer, user, write_chats
from tests.effort import FULL
from tests.killed import operations
from tests.train.test_sft import made_model

GOOD = {
    "id": [
        (
            "Apa ibu kota Jawa Barat?",
            "Ibu kota Jawa Barat adalah Bandung, sebuah kota besar di dataran tinggi.",
        ),
        (
            "Bagaimana cara memasak nasi?",
            "Cuci beras, tambahkan air secukupnya, lalu masak sampai airnya habis.",
        ),
        (
            "Siapa yang membuat perahu pinisi?",
            "Perahu pinisi dibuat oleh orang Bugis dan Makassar di Sulawesi Selatan.",
        ),
        (
            "Kapan musim hujan mulai?",
            "Di sebagian besar pulau Jawa musim hujan mulai pada bulan Oktober atau November.",
        ),
    ],
    "en": [
        (
            "What is rain?",
            "Rain is water that falls from clouds in drops, once these have grown heavy enough.",
        ),
        (
            "How do I boil an egg?",
            "Put the egg into boiling water, wait for eight minutes, and cool it under the tap.",
        ),
        (
            "Why do leaves fall in autumn?",
            "Trees shed their leaves so that they lose less water while the ground is frozen.",
        ),
    ],
}
THAI = "เมืองหลวงของประเทศไทยคือกรุงเทพมหานคร ซึ่งตั้งอยู่ริมแม่น้ำเจ้าพระยา"
ASKED = "Pak Budi menaruh semua kursi dan meja ke dalam truk karena dia akan pindah rumah besok pagi"
OPTIONS = ("Dia pindah ke rumah yang baru di kota lain.", "Dia membeli sebuah truk yang baru.")


def records() -> tuple[list[dict], dict[int, str]]:
    """Chats, and by line the reason for which it should be dropped."""
    found = [
        chat(user(question), assistant(answer), language=language, category="short" if n % 2 else "long")
        for language, pairs in GOOD.items()
        for n, (question, answer) in enumerate(pairs)
    ]
    whole = GOOD["id"][0][1]
    code = "Tulislah seperti ini:\n```python\nprint('halo')\n"
    loop = "Air mengalir ke laut. " * 60
    planted = [
        (chat(user("Ceritakan tentang Bandung."), assistant(THAI), language="id"), "another language"),
        (
            chat(user("Bagaimana mencetak teks?"), assistant(code), language="id"),
            "a code block without an end",
        ),
        (
            chat(user("Ke mana air mengalir?"), assistant(loop), language="id"),
            "an answer that repeats itself",
        ),
        (
            chat(user("Apa kabar dunia"), assistant("apa kabar  Dunia"), language="id"),
            "an answer that is the question",
        ),
        (chat(user("Apa ini?"), assistant("Ini \ufffd\ufffd rusak."), language="id"), "damaged characters"),
        (chat(user("Apa?"), language="id"), "no answer"),
        (chat(user("Apa?"), assistant("  "), language="id"), "empty answer"),
        ({"text": "bukan percakapan"}, "no chat's columns"),
        (chat(user(f"Mengapa begini? {ASKED}."), assistant(OPTIONS[0]), language="id"), "an evaluation text"),
        (
            chat(user("Apa ibukota Jawa Barat?"), assistant(whole + "!"), language="id"),
            "like one that is kept",
        ),
    ]
    why = {}
    for record, reason in planted:
        found.append(record)
        why[len(found)] = reason
    return found, why


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("select")
    write_chats(folder / "chats.jsonl", records()[0])
    item = {
        "premise": ASKED,
        "question": "cause",
        "choice1": OPTIONS[0],
        "choice2": OPTIONS[1],
        "label": 0,
        "idx": 3,
    }
    (folder / "xcopa.id.jsonl").write_text(json.dumps(item) + "\n")
    made_model(folder, "qwen3")
    made_reward(folder / "reward")
    return folder


def made_reward(folder: Path) -> None:
    """A reward model with random weights."""
    torch.manual_seed(4)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(vocab_size=700, num_key_value_heads=2, num_labels=1, pad_token_id=0, **sizes)
    reward = Qwen2ForSequenceClassification(config).eval()
    torch.nn.init.normal_(reward.score.weight)
    reward.save_pretrained(folder)
    tokenizer(folder, "qwen3")


def settings_of(files: Path, **more) -> SelectSettings:
    given = {"model": str(files / "model"), "reward": str(files / "reward")}
    given |= {"tasks": (f"xcopa:id:{files / 'xcopa.id.jsonl'}",)}
    return SelectSettings(str(files / "chats.jsonl"), **given | more)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def selected(files) -> Path:
    select_chats(settings_of(files), files / "out", report=lambda line: None)
    return files / "out"


def test_each_planted_fault_is_named_with_its_line_and_nothing_else_is_dropped(selected) -> None:
    given, why = records()
    dropped = lines(selected / "dropped.jsonl")
    found = {each["line"]: each["reason"] for each in dropped}
    # of two that are alike the one of the higher score stays
    like = next(line for line, reason in found.items() if reason == "like one that is kept")
    assert like in (1, len(given))
    del found[like], why[len(given)]
    assert found == why
    found[like] = ""
    kept = lines(selected / "selected.jsonl")
    assert kept == [record for n, record in enumerate(given, 1) if n not in found]
    assert all(each["file"].endswith("chats.jsonl") for each in dropped)
    details = {each["reason"]: each["detail"] for each in dropped}
    assert "in th" in details["another language"] and "xcopa" in details["an evaluation text"]
    assert f"chats.jsonl:{1 if like != 1 else len(given)}" in details["like one that is kept"]
    result = json.loads((selected / "select.json").read_text())
    assert (result["read"], result["kept"]) == (len(given), len(kept))


def test_perplexities_and_rewards_are_those_of_the_models(files, selected) -> None:
    encoder = ChatEncoder(files / "model")
    model = AutoModelForCausalLM.from_pretrained(files / "model", dtype=torch.float64).eval()
    reward = Qwen2ForSequenceClassification.from_pretrained(files / "reward").eval()
    given = records()[0]
    rows = lines(selected / "scores.jsonl")
    assert len(rows) > 8
    for row in rows:
        talk = chat_of(given[row["line"] - 1])
        encoded = encoder.encode_one(talk)
        tokens = torch.tensor([encoded.tokens])
        with torch.no_grad():
            log_probs = model(tokens).logits[0, :-1].log_softmax(-1)
            target = tokens[0, 1:]
            own = log_probs[torch.arange(len(target)), target][torch.tensor(encoded.trained[1:])]
            assert row["perplexity"] == pytest.approx(math.exp(-own.mean()), rel=1e-4)
            messages = [message.for_template() for message in talk.messages]
            text = encoder.tokenizer.apply_chat_template(messages, tokenize=False)
            ids = encoder.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
            assert row["reward"] == pytest.approx(float(reward(ids).logits), rel=1e-4, abs=1e-5)


def test_ranks_are_within_language_and_category_and_of_what_passed(selected, files) -> None:
    rows = [row for row in lines(selected / "scores.jsonl") if row["score"] is not None]
    groups = [(row["language"], row["category"]) for row in rows]
    r, p = (percentiles([row[name] for row in rows], groups) for name in ("reward", "perplexity"))
    for row, good, surprising in zip(rows, r, p, strict=True):
        assert (row["r"], row["p"]) == pytest.approx((good, surprising))
        assert row["score"] == pytest.approx(good * surprising / (good + surprising))
    select_chats(settings_of(files, familiar=True, reward=None), files / "familiar", report=lambda line: None)
    turned = [row for row in lines(files / "familiar" / "scores.jsonl") if row["score"] is not None]
    assert [row["p"] for row in turned] == pytest.approx([1 - row["p"] for row in rows])
    assert [row["score"] for row in turned] == pytest.approx([row["p"] for row in turned])


def test_quotas_keep_the_best_of_each_group(files, selected) -> None:
    quotas = {"": 1, "id/short": 0}
    select_chats(settings_of(files, quotas=quotas), files / "few", report=lambda line: None)
    all_rows, rows = (lines(files / name / "scores.jsonl") for name in ("out", "few"))
    for group in {(row["language"], row["category"]) for row in all_rows}:
        own = [row for row in all_rows if (row["language"], row["category"]) == group and row["kept"]]
        best = sorted(own, key=lambda row: -row["score"])[: 0 if group == ("id", "short") else 1]
        found = [row["line"] for row in rows if (row["language"], row["category"]) == group and row["kept"]]
        assert found == [row["line"] for row in best]


def selected_in_parts(settings: SelectSettings, out: Path) -> bool:
    """Selects by parts of four chats; says whether there is a result."""
    run.PART = 4
    select_chats(settings, out, report=lambda line: None)
    return (out / "selected.jsonl").exists()


def killed(settings: SelectSettings, out: Path, last: int) -> int:
    """Selects in a process that ends itself right before its operation of this number on a file; returns how many there were."""
    log = out.with_name(f"{out.name}.operations")
    return len(operations(partial(selected_in_parts, settings, out), f".{out.name}.parts", log, last))


def test_a_selection_that_is_killed_goes_on_with_the_same_bytes(
    files, selected, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("pinisi.cookbook.selection.run.PART", 4)
    settings, out = settings_of(files), tmp_path / "out"
    count = killed(settings, tmp_path / "whole", -1)
    # each point of a kill in `make bench`, two of them in `make test`
    for point in range(0, count, 7) if FULL else (count // 2, count - 2):
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(tmp_path / ".out.parts", ignore_errors=True)
        killed(settings, out, point)
        assert not out.exists() or (out / "selected.jsonl").exists()
        select_chats(settings, out, report=lambda line: None)
        for name in ("selected.jsonl", "dropped.jsonl", "scores.jsonl", "select.json", "select.html"):
            assert (out / name).read_bytes() == (selected / name).read_bytes(), (point, name)
        assert not list(tmp_path.glob(".out.*"))


def test_the_page_says_what_was_dropped_and_escapes_it(files, tmp_path) -> None:
    evil = chat(user("<script>alert(1)</script>"), assistant("\ufffd <b>&amp;"), language="id")
    write_chats(tmp_path / "id.jsonl", [*records()[0], evil])
    out = tmp_path / "out"
    select_chats(SelectSettings(str(tmp_path / "id.jsonl")), out, report=lambda line: None)
    page = (out / "select.html").read_text()
    ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert f"id.jsonl:{len(records()[0]) + 1}" in page and "damaged characters" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_command_says_what_it_kept(files, tmp_path, capsys) -> None:
    out = str(tmp_path / "out")
    assert (
        main(
            [
                "select",
                str(files / "chats.jsonl"),
                "--out",
                out,
                "--quota",
                "1",
                "--json",
                str(tmp_path / "r.json"),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "en/long: 1 of 2 kept; no place left 1" in said and f"{out}/selected.jsonl" in said
    assert json.loads((tmp_path / "r.json").read_text())["kept"] == len(lines(Path(out) / "selected.jsonl"))


def test_what_is_wrong_is_said_before_work_and_nothing_of_others_is_replaced(files, tmp_path, capsys) -> None:
    def refused(match: str, *more: str, chats: Path | None = None, out: Path = tmp_path / "out") -> None:
        assert main(["select", str(chats or files / "chats.jsonl"), "--out", str(out), *more]) == 2
        assert match in capsys.readouterr().err.replace("\n", " ")

    refused("no file of chats", chats=tmp_path / "nothing*")
    (tmp_path / "empty.jsonl").write_text("")
    refused("holds no record", chats=tmp_path / "empty.jsonl")
    refused("needed a number", "--quota", "th=many")
    refused("needed FORMAT:LANGUAGE:FILE", "--task", "xcopa:id:nowhere.jsonl")
    refused("is no model", "--model", str(tmp_path / "nowhere"))
    refused("needed a cosine above 0", "--similar", "0")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years")
    refused("was not made as selected chats", out=tmp_path / "theirs")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    Qwen2ForSequenceClassification(
        Qwen2Config(vocab_size=700, num_key_value_heads=2, num_labels=3, **sizes)
    ).save_pretrained(tmp_path / "three")
    with pytest.raises(PinisiError, match="has 3 labels"):
        select_chats(
            settings_of(files, reward=str(tmp_path / "three")), tmp_path / "out", report=lambda line: None
        )
    assert not (tmp_path / "out").exists()
