"""Items of words alone: their rules, the words they are made of, and that a model that learns from its context answers them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, Qwen2Config

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


WIDE = 32  # numbers of a token's code: three of them stand side by side in a hidden state, the fourth part is empty


def write_induction_head(folder):
    """A model of two layers by hand: one looks at the token before, one at what followed the same token earlier.

    Its queries and keys of the first layer are biases, turned so that their rotary product is greatest at a distance of one; of
    the second, codes of tokens in places that hardly turn. Nothing is trained.
    """
    write_model(folder)
    shape = Qwen2Config(
        vocab_size=401, hidden_size=4 * WIDE, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, rope_theta=1e10, tie_word_embeddings=False, eos_token_id=0,
        bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(shape)
    weights = model.state_dict()
    for name, weight in weights.items():
        if "norm" not in name:
            weight.zero_()
    codes = torch.randn(401, WIDE, generator=torch.Generator().manual_seed(0)).sign()
    own, before, found = (slice(n * WIDE, (n + 1) * WIDE) for n in range(3))  # parts of a hidden state
    weights["model.embed_tokens.weight"][:, own] = codes
    weights["lm_head.weight"][:, found] = codes
    first, second = (f"model.layers.{n}.self_attn." for n in range(2))
    one = torch.eye(WIDE)
    # the first layer: pair i of a head's 64 numbers, places i and i + 32, turns by 10^(-10 i / 32) a token
    turns = 10.0 ** (-10 * torch.arange(8) / 32)
    weights[first + "k_proj.bias"][:8] = 20
    weights[first + "q_proj.bias"][:8] = 20 * turns.cos()
    weights[first + "q_proj.bias"][32:40] = -20 * turns.sin()
    weights[first + "v_proj.weight"][:WIDE, own] = weights[first + "o_proj.weight"][before, :WIDE] = one
    # the second: 32 numbers in places that turn by less than 1e-5, own code against that of the token before
    still = [*range(16, 32), *range(48, 64)]
    weights[second + "q_proj.weight"][still, own] = 4 * one
    weights[second + "k_proj.weight"][still, before] = 4 * one
    weights[second + "v_proj.weight"][:WIDE, own] = one
    weights[second + "o_proj.weight"][found, :WIDE] = 3 * one
    model.load_state_dict(weights)
    model.save_pretrained(folder)
    return folder


def test_an_induction_head_copies_and_an_untrained_model_guesses_by_the_command(model, tmp_path) -> None:
    """Of words that are a token each, which is what one induction head can copy; those that are several want longer matches."""
    head, words, told = write_induction_head(tmp_path / "head"), tmp_path / "words.txt", tmp_path / "words"
    words.write_text("\n".join(WORDS))
    entries = {name: id for id, name in enumerate(["<|end|>", "?", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(entries, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    told.mkdir()
    tokenizer.save(str(told / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (told / "tokenizer_config.json").write_text(json.dumps(config))
    scores = []
    for path in (head, model):
        out = tmp_path / "out.json"
        asked = ["--task", f"copy:id:{words}", "--tokenizer", str(told), "--limit", "40", "--out", str(out)]
        assert main(["evaluate", str(path), *asked, "--longest", "400"]) == 0
        tasks = json.loads(out.read_text())["tasks"]
        assert all(task["fertility"]["tokens"] > 0 for task in tasks)
        scores.append({task["name"]: task["scores"]["accuracy_per_token"] for task in tasks})
    assert scores[0]["copy-id"]["value"] > 0.9 and scores[0]["copy-id"]["low"] > scores[1]["copy-id"]["high"]


def test_a_probe_asks_both_kinds_in_each_language(model, tmp_path) -> None:
    out = tmp_path / "out.json"
    assert (
        main(
            [
                "evaluate",
                str(model),
                "--probe",
                "id,th",
                "--limit",
                "3",
                "--longest",
                "400",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    tasks = json.loads(out.read_text())["tasks"]
    assert [task["name"] for task in tasks] == ["copy-id", "pattern-id", "copy-th", "pattern-th"]
    assert [task["items"] for task in tasks] == [3] * 4
