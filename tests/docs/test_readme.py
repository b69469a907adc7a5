"""The README is short, says each word before it uses it, and its way from text to a model can be gone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from pinisi.cli import main
from pinisi.models import RandomWeights, read_spec, write_folder
from tests.data.conftest import write_corpus, write_tokenizer
from tests.docs.pages import PAGES, ROOT, commands, fences
from tests.engine.runs import pinisi

README = ROOT / "README.md"
SMALL = ("run.steps=2", "data.sequence=16", "optimizer.warmup=0")


def test_it_is_short() -> None:
    assert len(README.read_text().splitlines()) < 200


def test_its_glossary_comes_before_the_passes() -> None:
    text = README.read_text()
    first = re.search(r"(?<![\w'-])[STEG](?![\w'-])", text)
    assert first and first.start() > text.index("## Six words")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_for_people_who_have_nothing_but_the_project(page: Path) -> None:
    words = r"/work\b|\.\./shared|\bshared/|\bsession\b|\bthis workplace\b|/home/|/tmp/|\blent\b"
    assert not re.findall(words, page.read_text())


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """my-text and my-model, as the README wants them."""
    folder = tmp_path_factory.mktemp("first")
    write_corpus(folder / "my-text")
    write_tokenizer(folder / "tokenizer")
    config = {
        "model_type": "qwen2",
        "vocab_size": 503,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    spec = read_spec(config)
    weights = RandomWeights(spec, 0, __import__("torch").float32)
    write_folder(
        spec,
        ((name, weights.get(name)) for name in weights.names()),
        folder / "my-model",
        folder / "tokenizer",
    )
    shutil.rmtree(folder / "tokenizer")
    return folder


def test_its_commands_make_a_model_of_ones_text(project: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(project)
    (toml,) = [fence.text for fence in fences(README) if fence.language == "toml"]
    Path("run.toml").write_text(toml)
    given = [c.words[1:] for c in commands(README) if c.whole and c.words[0] == "pinisi"]
    assert [words[0] for words in given] == ["tokenize", "train", "export", "generate"]
    for words in given[:3]:
        if words[0] == "tokenize":  # of so little text one document in a hundred is none
            words = tuple("0.3" if word == "0.01" else word for word in words)
        done = pinisi(*words, *(SMALL if words[0] == "train" else ()))
        assert done.returncode == 0, done.stderr
    out = given[2][given[2].index("--out") + 1]
    capsys.readouterr()
    assert main(given[3]) == 0 and capsys.readouterr().out.startswith(given[3][-1])
    assert AutoConfig.from_pretrained(out).num_hidden_layers == 4
    assert AutoModelForCausalLM.from_pretrained(out)
    assert Path("runs/mine/report.html").exists()
