"""The parts of `pinisi bench sft` and `prompt-heavy` that decide: splits, formats, languages, verdicts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from pinisi.base.ids import IGNORE
from pinisi.bench import exact_tasks, prompt_heavy, sft
from pinisi.bench.exact_tasks import LANGUAGES, ExactQuestion, LanguageJudge, unwrapped
from pinisi.data.batches import Microbatch
from pinisi.data.conversations.columns import chat_of

LETTERS = dict(zip(LANGUAGES, "abcdefghijkl", strict=True))


@pytest.fixture
def made_up(monkeypatch) -> None:
    """Forty numbers, three countries of which one is shared, and no library."""
    found = {
        ("number", str(n)): {
            language: letter * (1 + n % 7) + f"q{letter}" for language, letter in LETTERS.items()
        }
        for n in range(40)
    }
    found["country", "XX"] = {language: letter * 2 for language, letter in LETTERS.items() if letter > "b"}
    monkeypatch.setattr(exact_tasks, "answers", lambda: found)


def test_no_training_chat_has_what_is_held_out(made_up) -> None:
    split = exact_tasks.split_of(1, 36, 2000)
    trained = {(q.language, q.form) for q in split.train}
    numbers = {q.key for q in split.train if q.kind == "number"}
    assert all(q.kind == "number" and q.key not in numbers for q in (*split.numbers, *split.control))
    assert all((q.language, q.form) in trained for q in split.numbers)
    pairs = {(q.language, q.form) for q in split.pairs}
    assert not pairs & trained and len(pairs) == exact_tasks.PAIRS and len(split.pairs) == 36
    asked = {(q.language, q.form) for q in split.control}
    assert pairs | trained == asked | {
        (name, form) for name in LANGUAGES for form in exact_tasks.ONLY_TRAINED
    }
    assert [sum(form == each for _, form in pairs) for each in exact_tasks.FORMATS] == [
        exact_tasks.PAIRS // 3
    ] * 3
    assert exact_tasks.split_of(1, 36, 2000) == split != exact_tasks.split_of(2, 36, 2000)
    names = [q for q in split.train if q.kind == "country"]
    assert [q for q in exact_tasks.split_of(1, 36, 60).train if q.kind == "country"] == names


def test_who_ignores_the_language_is_right_by_chance(made_up) -> None:
    control = exact_tasks.split_of(1, 36, 2000).control
    said = {(q.key, q.form): f"{q.key}{q.form}" for q in control}  # the same in every language
    assert len(control) == len(said) * len(LANGUAGES)


@pytest.mark.parametrize("form", exact_tasks.FORMATS)
def test_a_format_is_told_from_the_others(form) -> None:
    question = ExactQuestion("number", "1", "en", form, "one")
    assert [unwrapped(question.written, each) is not None for each in exact_tasks.FORMATS] == [
        each == form for each in exact_tasks.FORMATS
    ]
    assert unwrapped(question.written, form) == "one"
    assert unwrapped(question.written[:-1] + "<", form) is None


def test_shuffled_chats_keep_their_answers(made_up, tmp_path) -> None:
    questions = exact_tasks.split_of(1, 36, 2000).train
    files = [
        exact_tasks.write_chats(questions, tmp_path / f"{n}", shuffled)
        for n, shuffled in enumerate((None, 3))
    ]
    plain, shuffled = ([chat_of(json.loads(line)) for line in file.open()] for file in files)
    assert [c.messages[1] for c in plain] == [c.messages[1] for c in shuffled]
    alike = sum(a.messages[0] == b.messages[0] for a, b in zip(plain, shuffled, strict=True)) / len(plain)
    assert alike < 0.3
    assert plain[0].messages[0].content == questions[0].prompt


def test_the_judge_of_languages(made_up) -> None:
    split = exact_tasks.split_of(1, 36, 2000)
    judge = LanguageJudge(split.train)
    assert sft.judged_rightly(judge, split) == 1.0
    assert judge.language_of("") is None and judge.language_of("123 456") is None
    mixed = "".join(
        letter for letter in "abcdefghijkl" for _ in range(2)
    )  # letters of all, as an untrained model says them
    assert judge.language_of(mixed) is None and judge.language_of("aaaaaqa") == "en"
    counts = sft.counts_of(split.numbers, [(q.written, True) for q in split.numbers], judge)
    assert set(counts.values()) == {36}
    counts = sft.counts_of(split.numbers, [(q.written, False) for q in split.numbers], judge)
    assert (counts["format"], counts["value"], counts["ended"], counts["language"]) == (0, 0, 0, 36)


def row(before: int = 0, after: int = 95, chance: int = 8, ended: int = 100, judge: float = 1.0) -> dict:
    def counts(right: int) -> dict:
        return {"questions": 100, "ended": ended, "format": right, "language": right, "value": 0}

    sides = {
        name: {"sides": {"numbers": counts(n), "pairs": counts(n)}}
        for name, n in (("before", before), ("chats", after))
    }
    return {
        "seed": 0,
        "judge": judge,
        **sides,
        "shuffled": {"sides": {"control": counts(chance)}},
        "seconds": 1.0,
    }


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 0),
        ({"before": 10}, 4),
        ({"after": 90}, 4),
        ({"chance": 20}, 1),
        ({"chance": 1}, 1),
        ({"ended": 98}, 2),
        ({"judge": 0.9}, 1),
    ],
)
def test_what_falls_short_is_named(given, count) -> None:
    assert len(sft.faults_of([row(), row(**given)])) == count
    assert any("control" in line for line in sft.lines_of([row()]))


def test_wilsons_interval() -> None:
    """Its ends are the shares from which what was found is just as far as 1.96 of their own deviations."""
    for share in sft.interval(12, 144):
        assert abs(12 / 144 - share) == pytest.approx(sft.Z * (share * (1 - share) / 144) ** 0.5, rel=1e-9)


def test_prompts_are_left_out_or_weigh_nothing() -> None:
    tokens = torch.arange(20).view(2, 10)
    zeros = torch.zeros_like(tokens)
    batch = [Microbatch(tokens, tokens + 1, zeros, zeros, zeros)]
    (out,), (weighed,) = (prompt_heavy.with_prompts(batch, in_head=way) for way in (False, True))
    assert (out.targets[:, :8] == IGNORE).all() and (out.targets[:, 8:] == tokens[:, 8:] + 1).all()
    assert weighed.weights is not None and torch.equal(weighed.weights > 0, out.targets != IGNORE)
    assert torch.equal(weighed.targets, tokens + 1)


def test_the_head_weighs_as_much_as_the_layers() -> None:
    setting = prompt_heavy.setting_of(2, 1)
    assert prompt_heavy.head_work(setting) == pytest.approx(setting.layers, rel=0.01)
    assert prompt_heavy.head_work(replace(setting, vocabulary=setting.vocabulary // 2)) < 3


def test_a_slow_or_different_step_falls_short() -> None:
    good = {"seed": 0, "apart": 1e-7, "ratio": 1.6}
    assert prompt_heavy.faults_of([good]) == []
    assert len(prompt_heavy.faults_of([good, {**good, "ratio": 1.4}, {**good, "apart": 1e-4}])) == 2
    beside = {"seed": 0, "losses": {"ours": 2.0, "trl": 2.0}, "gradients_apart": 1e-6, "where": "x"}
    other = {**beside, "losses": {"ours": 2.0, "trl": 2.001}}
    assert len(prompt_heavy.faults_of([], [None, beside, other, {**beside, "gradients_apart": 1e-4}])) == 2


def test_the_worst_gradient_is_named() -> None:
    ones, other = torch.ones(2, 3), torch.ones(2, 3) * 1.5
    assert prompt_heavy.worst_apart({"a": ones, "b": ones}, {"a": ones, "b": ones}) == (0.0, "b")
    assert prompt_heavy.worst_apart({"a": other, "b": ones}, {"a": ones, "b": ones}) == (0.5, "a")
    assert prompt_heavy.worst_apart({"a": ones}, {"b": ones})[0] == float("inf")
