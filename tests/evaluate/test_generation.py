"""Answers of transformers' generate: the same for any batch, ended where they must be."""

from __future__ import annotations

import json
import random

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pinisi.base.errors import ConfigError
from pinisi.cli import main
from pinisi.data import load_tokenizer
from pinisi.evaluate.generation import Generated, GenerationSettings, OpenPrompt, TransformersGenerator
from pinisi.evaluate.model_source import open_model
from pinisi.evaluate.open_answers import OpenRequests
from pinisi.evaluate.stopping import prompt_tokens
from pinisi.evaluate.tasks import AskedTask, EvaluationTask
from tests.data.conftest import TEXTS, write_tokenizer
from tests.evaluate.conftest import write_lines, write_model
from tests.models.tiny import tiny_config

TEMPLATE = (
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}<|close|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)

LANGUAGE = {"language_answers", "language_lines", "other_scripts"}  # of answers, where they can be judged


def greedy(folder, ids: list[int], count: int, ends: set[int]) -> list[int]:
    """A plain loop without a cache, one prompt at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    new: list[int] = []
    while len(new) < count:
        with torch.no_grad():
            token = int(model(torch.tensor([ids + new])).logits[0, -1].argmax())
        if token in ends:
            break
        new.append(token)
    return new


def drawn_prompts() -> list[OpenPrompt]:
    draw = random.Random(9)
    texts = [text for of in TEXTS.values() for text in of]
    return [OpenPrompt(text[: draw.randint(1, 30)]) for text in texts[:12]]


def test_answers_are_a_plain_loops_for_any_batch(model) -> None:
    opened, prompts = open_model(model, dtype="float64"), drawn_prompts()
    settings = GenerationSettings(7, ())
    first, *others = (
        TransformersGenerator(opened, batch_size=n).generate(prompts, settings) for n in (1, 3, 16)
    )
    assert others == [first, first]
    tokenizer = load_tokenizer(model)
    for prompt, answer in zip(prompts, first, strict=True):
        wanted = greedy(model, tokenizer.encode(prompt.text), 7, {0})
        assert answer.text == tokenizer.decode(wanted) and answer.tokens == len(wanted)
        assert answer.ended == ("length" if len(wanted) == 7 else "token")


@pytest.mark.parametrize("kind", ["gemma3_text", "mistral", "llama"])
def test_padding_on_the_left_changes_nothing_with_windows_and_other_positions(tmp_path, kind) -> None:
    """Windows of five tokens, prompts from one to thirty: what stands beside a prompt must not be seen through any of them."""
    write_tokenizer(tmp_path)
    changes = {"vocab_size": 401, "eos_token_id": 0, "bos_token_id": None, "max_position_embeddings": 96}
    config = AutoConfig.for_model(**tiny_config(kind, **changes))
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).to(torch.float64).save_pretrained(tmp_path)
    prompts, settings = [*drawn_prompts(), OpenPrompt("K")], GenerationSettings(6)
    found = TransformersGenerator(open_model(tmp_path, dtype="float64"), batch_size=16).generate(
        prompts, settings
    )
    tokenizer = load_tokenizer(tmp_path)
    for prompt, answer in zip(prompts, found, strict=True):
        assert answer.text == tokenizer.decode(greedy(tmp_path, tokenizer.encode(prompt.text), 6, {0}))


def test_drawn_answers_depend_on_the_seed_and_not_on_the_batch(model) -> None:
    opened, prompts = open_model(model, dtype="float64"), drawn_prompts()
    settings = GenerationSettings(7, (), 1.0, 3)
    first, again = (TransformersGenerator(opened, batch_size=n).generate(prompts, settings) for n in (1, 5))
    assert again == first
    other = TransformersGenerator(opened).generate(prompts, settings._replace(seed=40))
    assert other != first != TransformersGenerator(opened).generate(prompts, GenerationSettings(7))


def test_an_answer_ends_at_end_tokens_and_stop_texts(model, tmp_path) -> None:
    """The first token that a model writes is made an end token, then a stop text."""
    opened, prompts = open_model(model, dtype="float64"), drawn_prompts()
    plain = TransformersGenerator(opened).generate(prompts, GenerationSettings(7))
    tokenizer = load_tokenizer(model)
    first = greedy(model, tokenizer.encode(prompts[0].text), 1, set())[0]
    folder = write_model(tmp_path / "m")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, first]}))
    ended = TransformersGenerator(open_model(folder, dtype="float64")).generate(
        prompts, GenerationSettings(7)
    )
    assert ended[0].text == "" and ended[0].ended == "token"
    stop = next(answer.text for answer in plain if len(answer.text) > 3)[2]
    for answer, cut in zip(
        plain, TransformersGenerator(opened).generate(prompts, GenerationSettings(7, (stop,))), strict=True
    ):
        assert cut.text == answer.text.partition(stop)[0]
        assert (cut.ended == "text") == (stop in answer.text)


def write_chat_tokenizer(folder) -> None:
    """Gives a model's tokenizer two control tokens, and a template that writes them."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for name, id in (("<|turn|>", 398), ("<|close|>", 399)):
        old = next(token for token, n in tokenizer["model"]["vocab"].items() if n == id)
        tokenizer["model"]["merges"] = [m for m in tokenizer["model"]["merges"] if "".join(m) != old]
        del tokenizer["model"]["vocab"][old]
        tokenizer["added_tokens"].append(
            {"id": id, "content": name, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
        )  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def test_a_chat_ends_at_the_turns_end(tmp_path) -> None:
    folder = write_model(tmp_path / "m")
    write_chat_tokenizer(folder)
    generator = TransformersGenerator(open_model(folder))
    turn, close = (generator.encoder.chat(name) for name in ("<|turn|>", "<|close|>"))
    assert len(turn) == len(close) == 1 and generator.turn_end == close[0]
    prompt = OpenPrompt(messages=({"role": "user", "content": "Kapal"},))
    tokens = prompt_tokens(generator.encoder, prompt)
    assert tokens[0] == turn[0] and tokens.count(close[0]) == 1
    wanted = greedy(folder, tokens, 5, {0, close[0]})
    assert generator.generate([prompt], GenerationSettings(5))[0].tokens == len(wanted)


def test_long_prompts_lose_their_beginning_and_are_counted(model) -> None:
    generator = TransformersGenerator(open_model(model), longest=20)
    prompts = [OpenPrompt(text) for text in TEXTS["id"]]
    assert len(generator.generate(prompts, GenerationSettings(5))) == len(prompts)
    assert generator.cut == sum(len(load_tokenizer(model).encode(p.text)) > 15 for p in prompts)
    with pytest.raises(ConfigError, match="ask for fewer"):
        generator.generate(prompts, GenerationSettings(20))


def test_the_command_asks_reads_and_translates(model, tmp_path, capsys) -> None:
    pytest.importorskip("sacrebleu")
    reading = write_lines(
        tmp_path / "r.jsonl", [{"context": "K.", "question": "Q?", "answers": {"text": ["308"]}}] * 3
    )
    pairs = tmp_path / "p.json"
    pairs.write_text(json.dumps({"id": ["satu"], "th": ["หนึ่ง"]}))
    out = tmp_path / "out.json"
    given = ["--task", f"tydiqa:id:{reading}", "--task", f"ntrex:id-th:{pairs}", "--new-tokens", "5"]
    assert main(["evaluate", str(model), *given, "--out", str(out)]) == 0
    answers, translations = json.loads(out.read_text())["tasks"]
    assert (
        answers["scores"].keys() - LANGUAGE == {"exact_match", "f1"} and sum(answers["ended"].values()) == 3
    )
    assert translations["scores"].keys() - LANGUAGE == {"chrf++", "bleu_char"}
    assert "tok:char" in capsys.readouterr().out


def test_a_chat_ends_by_itself_and_its_reasoning_is_no_answer(tmp_path) -> None:
    """A line's end ends plain answers alone: chats begin with empty lines, or reason in several first."""
    assert EvaluationTask("xquad", "id", "f").chosen_stop == ("\n",)
    assert EvaluationTask("xquad", "id", "f", chat=True).chosen_stop == ()
    assert EvaluationTask("xquad", "id", "f", chat=True, stop=("#",)).chosen_stop == ("#",)
    record = {"context": "K.", "question": "Q?", "answers": {"text": ["Jakarta"]}}
    file = write_lines(tmp_path / "r.jsonl", [record] * 4)
    requests = OpenRequests(AskedTask(EvaluationTask("xquad", "id", str(file), chat=True)))
    said = (
        "\n\nJakarta",
        "<think>\nBandung?\n</think>\n\nJakarta",
        "Bandung?\n</think>Jakarta",
        "<think>\nJakarta",
    )
    scored = requests.scored([Generated(text, 5, "token") for text in said])
    assert [record["answer"] for record in scored.records] == ["Jakarta", "Jakarta", "Jakarta", ""]
    assert scored.scores["exact_match"].value == 0.75
