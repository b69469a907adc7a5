"""Made-up items in the forms in which the sets are published, and how they are put into words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError, DataError
from pinisi.evaluate.examples import ChoiceItem, ReadingItem, TranslationItem
from pinisi.evaluate.formats import read_items_of
from pinisi.evaluate.tasks import AskedTask, EvaluationTask, parse_task, read_tasks
from tests.evaluate.conftest import write_lines

CHOICES = ("satu", "dua", "tiga", "empat")
BELEBELE = ChoiceItem("l#2", "Teks.", "Apa?", CHOICES, 2)
FORMS = [
    (
        "belebele",
        {
            "link": "l", "question_number": 2, "flores_passage": "Teks.", "question": "Apa?", "correct_answer_num": "3",
            **{f"mc_answer{n}": choice for n, choice in enumerate(CHOICES, 1)},
        },
        BELEBELE,
    ),
    (
        "belebele",
        {
            "id": 7, "label": "C",
            "prompts": [{"text": "Teks.", "question": "Apa?", **{f"choice{n}": c for n, c in enumerate(CHOICES, 1)}}],
        },
        BELEBELE._replace(id="7"),
    ),
    (
        "xcopa",
        {"premise": "Hujan.", "choice1": "Basah", "choice2": "Kering", "question": "effect", "label": 0, "idx": 4},
        ChoiceItem("4", "Hujan.", "effect", ("Basah", "Kering"), 0),
    ),
    (
        "m3exam",
        {
            "question_text": "Berapa?", "background_description": ["Satu.", "Dua."],
            "options": ["(1) x", "(2) y", "(3) z"], "answer_text": "2",
        },
        ChoiceItem("0", "Satu.\nDua.", "Berapa?", ("x", "y", "z"), 1),
    ),
    (
        "m3exam",
        {"question_text": "Ai?", "background_description": [], "options": ["A. x", "B. y"], "answer_text": "A"},
        ChoiceItem("0", "", "Ai?", ("x", "y"), 0),
    ),
    (
        "global-mmlu",
        {
            "sample_id": "law/1", "question": "Apa?", "answer": "D",
            **{f"option_{letter}": choice for letter, choice in zip("abcd", CHOICES, strict=True)},
        },
        ChoiceItem("law/1", "", "Apa?", CHOICES, 3),
    ),
    (
        "indoculture",
        {"context": "Di Bali, orang", "options": "['A. menari.', 'B. tidur.', 'C. pergi.']", "answer": "B"},
        ChoiceItem("0", "", "Di Bali, orang", ("menari.", "tidur.", "pergi."), 1),
    ),
    (
        "tydiqa",
        {"id": "indonesian-1", "context": "K.", "question": "Q?", "answers": {"text": ["a", "b"], "answer_start": [0, 1]}},
        ReadingItem("indonesian-1", "K.", "Q?", ("a", "b")),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("form", "record", "item"), FORMS)
def test_a_line_is_read(form, record, item, tmp_path) -> None:
    assert read_items_of(form, write_lines(tmp_path / "f.jsonl", [record])) == ([item], 0)


def test_squad_m3exam_lists_and_csv(tmp_path) -> None:
    paragraph = {
        "context": "K.",
        "qas": [{"id": "q", "question": "Q?", "answers": [{"text": "a", "answer_start": 0}]}],
    }
    file = tmp_path / "xquad.json"
    file.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": [paragraph]}]}))
    assert read_items_of("xquad", file)[0] == [ReadingItem("q", "K.", "Q?", ("a",))]
    picture = {
        "question_text": "(image)[image-1.jpg]",
        "background_description": [],
        "options": [],
        "answer_text": "1",
    }
    exam = tmp_path / "exam.json"
    exam.write_text(json.dumps([picture, FORMS[4][1]]))
    items, left_out = read_items_of("m3exam", exam)
    assert left_out == 1 and [item.answer for item in items] == [0]
    table = tmp_path / "indoculture.csv"
    table.write_text("context,options,answer\n\"Di Bali, orang\",\"['A. menari.', 'B. tidur.']\",A\n")
    assert read_items_of("indoculture", table)[0][0].choices == ("menari.", "tidur.")


def test_translations_in_all_their_forms(tmp_path) -> None:
    wanted = [TranslationItem("0", "satu", "หนึ่ง"), TranslationItem("1", "dua", "สอง")]
    together = tmp_path / "ntrex.json"
    together.write_text(json.dumps({"id": ["satu", "dua\r"], "th": ["หนึ่ง", "สอง"]}))
    folder = tmp_path / "flores"
    folder.mkdir()
    (folder / "id.devtest").write_text("satu\ndua\n")
    (folder / "newstest2019-ref.th.txt").write_text("หนึ่ง\nสอง\n")
    lines = write_lines(
        tmp_path / "f.jsonl",
        [{"sentence_id": "satu", "sentence_th": "หนึ่ง"}, {"sentence_id": "dua", "sentence_th": "สอง"}],
    )
    table = tmp_path / "f.csv"
    table.write_text(",id,th\n0,satu,หนึ่ง\n1,dua,สอง\n")
    for path in (together, folder, lines, table):
        assert read_items_of("flores", path, source="id", target="th")[0] == wanted
    (folder / "id.devtest").write_text("satu\n")
    with pytest.raises(DataError, match="1 sentences of id and 2 of th"):
        read_items_of("flores", folder, source="id", target="th")
    with pytest.raises(DataError, match="no language 'vi'; it has id, th"):
        read_items_of("ntrex", together, source="vi", target="th")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"premise": "a"}, "line 2: no item of xcopa"),
        ({**FORMS[2][1], "label": 2}, "number 2 of 2 choices"),
        ({**FORMS[2][1], "question": "why"}, "needed cause or effect"),
        ({**FORMS[2][1], "choice2": " "}, "a choice is empty"),
        ({**FORMS[2][1], "premise": ["a"]}, "no text"),
    ],
)
def test_a_wrong_line_is_named(record, words, tmp_path) -> None:
    file = write_lines(tmp_path / "f.jsonl", [FORMS[2][1], record])
    with pytest.raises(DataError, match=words):
        read_items_of("xcopa", file)


def test_words_of_prompts(tmp_path) -> None:
    file = write_lines(tmp_path / "f.jsonl", [FORMS[0][1]])
    asked = AskedTask(EvaluationTask("belebele", "id", str(file)))
    prompt = asked.choice(asked.items[0])
    assert prompt.prompt == "P: Teks.\nQ: Apa?\nA: satu\nB: dua\nC: tiga\nD: empat\nAnswer:"
    assert prompt.choices == ("A", "B", "C", "D") and prompt.answer == 2
    cloze = AskedTask(EvaluationTask("belebele", "id", str(file), style="cloze"))
    assert cloze.choice(cloze.items[0]) == ("P: Teks.\nQ: Apa?\nAnswer:", CHOICES, 2)
    thai = write_lines(tmp_path / "x.jsonl", [{**FORMS[2][1], "premise": "ฝนตกหนักมาก"}])
    harness, whole = (
        AskedTask(EvaluationTask("xcopa", "th", str(thai), style=style)) for style in (None, "whole-premise")
    )
    assert harness.context(harness.items[0]) == "ฝนตกหนักมา ดังนั้น"
    assert whole.context(whole.items[0]) == "ฝนตกหนักมาก ดังนั้น"


def test_examples_stand_before_the_item_plain_and_as_turns(tmp_path) -> None:
    records = [{**FORMS[2][1], "premise": f"{n}."} for n in range(3)]
    file = str(write_lines(tmp_path / "x.jsonl", records))
    asked = AskedTask(EvaluationTask("xcopa", "id", file, examples=file, shots=2, limit=1))
    assert asked.context(asked.items[0]) == "0 maka basah\n\n1 maka basah\n\n0 maka"
    chat = AskedTask(EvaluationTask("xcopa", "id", file, examples=file, shots=1, chat=True))
    assert [(m["role"], m["content"]) for m in chat.messages(chat.items[2])] == [
        ("user", "0 maka"), ("assistant", "basah"), ("user", "2 maka"),
    ]  # fmt: skip
    assert chat.delimiter == ""
    with pytest.raises(ConfigError, match="3 items"):
        AskedTask(EvaluationTask("xcopa", "id", file, examples=file, shots=4))


def test_tasks_come_from_a_file_and_from_an_option(tmp_path) -> None:
    file = tmp_path / "tasks.toml"
    file.write_text(
        '[[tasks]]\nformat = "xcopa"\nlanguage = "th"\nfile = "x.jsonl"\nlimit = 3\n'
        '[[tasks]]\nformat = "flores"\nlanguage = "th"\nsource = "id"\nfile = "/f.json"\n'
    )
    first, second = read_tasks(file)
    assert first == EvaluationTask("xcopa", "th", str(tmp_path / "x.jsonl"), limit=3)
    assert second.title == "flores-id-th" and second.file == "/f.json"
    assert parse_task("flores:id-th:/f.json") == second
    file.write_text('[[tasks]]\nformat = "xcopa"\nlanguage = "th"\nfile = "x"\nstyle = "letters"\n')
    with pytest.raises(ConfigError, match="one of premise, whole-premise"):
        read_tasks(file)
    file.write_text('[[tasks]]\nformat = "xcopa"\nlanguag = "th"\nfile = "x"\n')
    with pytest.raises(ConfigError, match="language"):
        read_tasks(file)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.jsonl", b'{"premise": "caf\xe9"}\n', "byte 16 is no UTF-8"),
        ("x.csv", b"context,options,answer\n\xff,b,A\n", "byte 23 is no UTF-8"),
        ("x.json", b'{"data": null}', "not of SQuAD's form"),
        ("x.json", b'{"data": [{"paragraphs": [{"qas": [{"question": "a"}]}]}]}', "KeyError: 'context'"),
    ],
)
def test_a_file_of_another_kind_is_named(name: str, content: bytes, words: str, tmp_path) -> None:
    (tmp_path / name).write_bytes(content)
    form = {".jsonl": "xcopa", ".csv": "indoculture", ".json": "xquad"}[Path(name).suffix]
    with pytest.raises(DataError, match=words) as found:
        read_items_of(form, tmp_path / name)
    assert name in str(found.value) and "\n" not in str(found.value)


def test_numbers_as_choices_are_text_and_translations_need_one(tmp_path) -> None:
    record = {
        "question": "2 + 2",
        "option_a": 3,
        "option_b": 4,
        "option_c": 5.5,
        "option_d": "6",
        "answer": "B",
    }
    (item,), _ = read_items_of("global-mmlu", write_lines(tmp_path / "m.jsonl", [record]))
    assert item.choices == ("3", "4", "5.5", "6") and item.answer == 1
    for sentences, words in (
        ({"id": ["a"], "th": [None]}, "no text"),
        ({"id": ["a"], "th": [" "]}, "is empty"),
        ([1], "one object"),
    ):
        (tmp_path / "n.json").write_text(json.dumps(sentences))
        with pytest.raises(DataError, match=words):
            read_items_of("ntrex", tmp_path / "n.json", source="id", target="th")
