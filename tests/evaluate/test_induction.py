"""Items of words alone: their rules, the words they are made of, and that a model that learns from its context answers them."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from pinisi.base.errors import ConfigError, DataError
from pinisi.cli import main
from pinisi.data import load_tokenizer
from pinisi.evaluate.choices import ChoiceRequests
from pinisi.evaluate.encoding import PromptEncoder
from pinisi.evaluate.induction import FEWEST, made_items, vocabulary_words, words_of_file
from pinisi.evaluate.likelihood import score_here
from pinisi.evaluate.model_source import open_model
from pinisi.evaluate.tasks import AskedTask, EvaluationTask, parse_task
from tests.evaluate.conftest import write_model

WORDS = [f"w{n}" for n in range(60)]


def test_the_right_choice_is_the_one_that_the_rule_says() -> None:
    for item in made_items("copy", "x", WORDS, 50):
        whole, begun = (line.split() for line in item.question.split("\n"))
        assert whole[: len(begun)] == begun and item.choices[item.answer] == whole[len(begun)]
        assert len(set(item.choices)) == 4 and set(item.choices) <= set(whole)
        assert begun[-1] not in item.choices
    lasts = set()
    for item in made_items("pattern", "x", WORDS, 50):
        *shots, begun = (line.split() for line in item.question.split("\n"))
        (last,) = {shot.index(shot[2]) for shot in shots}
        lasts.add(last)
        assert item.choices[item.answer] == begun[last] and begun[1 - last] in item.choices
        assert len(set(item.choices)) == 4
    assert lasts == {0, 1}


def test_the_right_choice_stands_anywhere_and_its_word_is_no_likelier() -> None:
    items = made_items("copy", "x", WORDS, 400)
    assert np.bincount([item.answer for item in items], minlength=4).min() > 70
    assert made_items("copy", "x", WORDS, 400) == items != made_items("copy", "y", WORDS, 400)


@pytest.mark.parametrize(
    ("language", "letters"),
    [("th", "\u0e01-\u0e5b"), ("km", "\u1780-\u17ff"), ("my", "\u1000-\u109f"), ("id", "a-\u1eff")],
)
def test_words_are_of_the_languages_script(model, language: str, letters: str) -> None:
    words = vocabulary_words(load_tokenizer(model), language)
    assert len(words) >= FEWEST and len(set(words)) == len(words)
    low, high = letters.split("-")
    assert all(low <= letter <= high for word in words for letter in word)


def test_a_file_of_words_is_taken_and_a_short_one_refused(tmp_path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\n".join([*WORDS, "w1", ""]))
    assert words_of_file(file) == WORDS
    asked = AskedTask(EvaluationTask("copy", "id", str(file), limit=3), lambda language: [])
    assert len(asked.items) == 3 and set(asked.items[0].question.split()) <= set(WORDS)
    file.write_text("satu\ndua")
    with pytest.raises(DataError, match=r"words\.txt has 2 words"):
        words_of_file(file)
    with pytest.raises(ConfigError, match="leave the task copy-id out"):
        AskedTask(EvaluationTask("copy", "id"))
    with pytest.raises(ConfigError, match="FORMAT:LANGUAGE:FILE"):
        parse_task("xcopa:th")


def shares(path, kind: str, score) -> float:
    """The share of right choices that a function of continuations gives."""
    encoder = PromptEncoder(path)
    asked = AskedTask(
        EvaluationTask(kind, "id", limit=60), lambda language: vocabulary_words(encoder.tokenizer, language)
    )
    requests = ChoiceRequests(asked, encoder, 512)
    records = requests.records(score(requests.continuations))
    return float(np.mean([record.right("accuracy_per_token") for record in records]))


def by_context(continuations) -> list[np.ndarray]:
    """An ideal copier: a token is likely where what stood last stood before it earlier, by the longest match."""
    found = []
    for each in continuations:
        tokens, scores = each.tokens, []
        for place in range(each.first, len(tokens)):
            matches = [
                (length, tokens[end])
                for end in range(1, place)
                for length in [
                    next(
                        n for n in range(end + 1) if n == end or tokens[end - 1 - n] != tokens[place - 1 - n]
                    )
                ]
            ]
            longest = max((length for length, _ in matches), default=0)
            likely = [token for length, token in matches if length == longest and length]
            share = likely.count(tokens[place]) / len(likely) if likely else 0.0
            scores.append(np.log(0.98 * share + 0.02 / 400))
        found.append(np.array(scores))
    return found


def test_one_that_copies_from_its_context_answers_and_an_untrained_model_guesses(model) -> None:
    assert shares(model, "copy", by_context) > 0.9
    opened = open_model(model)
    for kind in ("copy", "pattern"):
        assert 0.05 <= shares(model, kind, lambda items: score_here(opened, items)) <= 0.5


def trained(folder, steps: int = 150):
    """A small model that has seen rows of random tokens repeat, none of text."""
    write_model(folder)
    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=401, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, head_dim=12, max_position_embeddings=512, tie_word_embeddings=True, eos_token_id=0,
        bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(shape)
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3, weight_decay=0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 20)
        size = random.Random(step).randrange(6, 24)
        row = torch.randint(1, 400, (32, size))
        row = torch.cat([row, row], 1)
        loss = torch.nn.functional.cross_entropy(
            model(row).logits[:, size - 1 : -1].flatten(0, 1), row[:, size:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder, float(loss)


def test_a_trained_copier_beats_an_untrained_model_by_the_command(model, tmp_path) -> None:
    folder, loss = trained(tmp_path / "copier")
    print(loss)
    scores = []
    for path in (folder, model):
        out = tmp_path / "out.json"
        assert (
            main(
                [
                    "evaluate",
                    str(path),
                    "--probe",
                    "id,th",
                    "--limit",
                    "40",
                    "--longest",
                    "400",
                    "--out",
                    str(out),
                ]
            )
            == 0
        )
        tasks = {task["name"]: task["scores"]["accuracy"] for task in json.loads(out.read_text())["tasks"]}
        scores.append(tasks)
    print(scores)
    assert set(scores[0]) == {"copy-id", "pattern-id", "copy-th", "pattern-th"}
    assert scores[0]["copy-id"]["low"] > scores[1]["copy-id"]["high"]
