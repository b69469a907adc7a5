"""Models whose vocabulary was trimmed and extended, held against what they came from, in transformers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from pinisi.base.errors import DataError
from pinisi.cookbook.step_zero import step_zero
from pinisi.cookbook.vocabulary import ExtendOptions, extend_model, trim_model
from pinisi.data.tokenizer import load_tokenizer
from pinisi.data.vocabulary.extend import in_old_ids
from tests.effort import only_full

from .made_models import ROWS, drawn_texts, reading, tiny_model

CASES = [
    ("qwen3", "qwen", True, False),
    ("llama", "llama", False, True),
    ("gemma3_text", "gemma", True, False),
    ("qwen2", "qwen", False, True),
    ("gemma2", "gemma", True, False),
    ("phi3", "llama", False, False),
    ("olmo2", "qwen", False, False),
    ("mistral", "llama", True, True),
]
# one of each kind of tokenizer, tied and not, in `make test`; the others in `make bench`
FEW = [*CASES[:3], *(pytest.param(*case, marks=only_full) for case in CASES[3:])]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
HELD_OUT = ["A text of no language: 12 345 ﷽ 𝒳 \u0301x", "<|im_end|><think> § <table>\n\n\n\t\t", ""]


def quiet(line: str) -> None:
    """Says nothing."""


def ids_of(folder: Path, texts: list[str]) -> list[list[int]]:
    backend = load_tokenizer(folder).backend_tokenizer
    return [encoding.ids for encoding in backend.encode_batch(texts)]  # with what stands before and behind


def decoded(folder: Path, ids: list[list[int]]) -> list[str]:
    backend = load_tokenizer(folder).backend_tokenizer
    return [backend.decode(each, skip_special_tokens=False) for each in ids]


@pytest.mark.parametrize(("architecture", "kind", "tied", "ignore_merges"), FEW)
def test_a_trimmed_model_says_the_same(tmp_path, architecture, kind, tied, ignore_merges) -> None:
    old = tiny_model(tmp_path / "old", architecture, kind, tied=tied, ignore_merges=ignore_merges)
    texts = {"km": drawn_texts("km", 30), "id": drawn_texts("id", 30)}
    texts["id"].append(HELD_OUT[1])
    trimmed = trim_model(old, reading(texts), tmp_path / "new", report=quiet)
    new_id = trimmed.new_id
    assert 256 <= len(trimmed.kept) < ROWS
    for of in texts.values():
        before = ids_of(old, of)
        assert ids_of(tmp_path / "new", of) == [[new_id[id] for id in ids] for ids in before]
    others = [*HELD_OUT, *drawn_texts("lo", 5), *drawn_texts("en", 5)]
    assert decoded(tmp_path / "new", ids_of(tmp_path / "new", others)) == decoded(old, ids_of(old, others))
    first, second = (load_file(folder / "model.safetensors") for folder in (old, tmp_path / "new"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor[trimmed.kept] if name in (EMBEDDING, HEAD) else tensor)
    some = [id for ids in ids_of(old, texts["km"][:3]) for id in ids]
    for dtype, bound in ((torch.float32, 1e-5), (torch.float64, 1e-11)):
        assert step_zero(old, tmp_path / "new", some, new_id, dtype).difference < bound
    config, generation = (
        json.loads((tmp_path / "new" / name).read_text())
        for name in ("config.json", "generation_config.json")
    )
    assert config["vocab_size"] == len(trimmed.kept)
    assert config["eos_token_id"] == generation["eos_token_id"] == [new_id[2], new_id[7]]
    assert config["pad_token_id"] == new_id[1000]
    assert generation["suppress_tokens"] == [new_id[5], new_id[9]]


@pytest.mark.parametrize(("architecture", "kind", "tied", "ignore_merges"), FEW)
@pytest.mark.parametrize("tokens", [pytest.param(40, marks=only_full), 400])
def test_an_extended_model_says_the_same_of_old_text(
    tmp_path, architecture, kind, tied, ignore_merges, tokens
) -> None:
    rows = 1009 - tokens
    old = tiny_model(tmp_path / "old", architecture, kind, tied=tied, ignore_merges=ignore_merges, rows=rows)
    texts = {"km": drawn_texts("km", 60), "my": drawn_texts("my", 60)}
    extension = extend_model(old, reading(texts), tmp_path / "new", ExtendOptions(tokens), report=quiet)
    held_out = [
        *HELD_OUT,
        *(text for language in ("km", "my", "id", "en") for text in drawn_texts(language, 20, seed=3)),
    ]
    before, after = ids_of(old, held_out), ids_of(tmp_path / "new", held_out)
    assert decoded(tmp_path / "new", after) == decoded(old, before)
    if not ignore_merges:  # which looks words up whole, whatever their merges are
        assert [in_old_ids(extension, ids) for ids in after] == before
    new = set(extension.pieces)
    assert (max(new) >= rows) is (tokens == 400)
    for one, two in zip(before, after, strict=True):
        assert not new.isdisjoint(two) or one == two
    saved = sum(map(len, before)) - sum(map(len, after))
    assert saved > 0
    first, second = (load_file(folder / "model.safetensors") for folder in (old, tmp_path / "new"))
    for name, tensor in first.items():
        if name not in (EMBEDDING, HEAD):
            assert torch.equal(second[name], tensor)
            continue
        stays = [id for id in range(rows) if id not in new]
        assert torch.equal(second[name][stays], tensor[stays])
        for id, pieces in extension.pieces.items():
            torch.testing.assert_close(second[name][id], tensor[list(pieces)].mean(0), rtol=1e-6, atol=1e-6)
    common = {id: id for id in range(rows) if id not in new}
    found = step_zero(old, tmp_path / "new", [id for ids in before[:5] for id in ids], common, torch.float64)
    assert found.difference < 1e-11
    assert 0 < found.share < 1


def test_tokens_fill_rows_without_one_first_and_leave_configured_ids_alone(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "qwen3", "qwen", tied=True)
    size = len(load_tokenizer(old))
    texts = reading({"my": drawn_texts("my", 100)})
    few = extend_model(old, texts, tmp_path / "few", ExtendOptions(20), report=quiet)
    assert sorted(few.pieces) == list(range(size, size + 20))
    assert few.rows == ROWS
    config = json.loads((old / "config.json").read_text()) | {"pad_token_id": size + 1}
    (old / "config.json").write_text(json.dumps(config))
    other = extend_model(old, texts, tmp_path / "other", ExtendOptions(20), report=quiet)
    assert size + 1 not in other.pieces


def test_the_chat_template_and_special_tokens_are_unharmed(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "qwen3", "qwen", tied=True)
    extend_model(
        old, reading({"my": drawn_texts("my", 50)}), tmp_path / "new", ExtendOptions(700), report=quiet
    )
    trim_model(tmp_path / "new", reading({"my": drawn_texts("my", 50)}), tmp_path / "cut", report=quiet)
    one, two, three = (AutoTokenizer.from_pretrained(tmp_path / name) for name in ("old", "new", "cut"))
    chat = [{"role": "user", "content": "hi"}]
    assert one.all_special_tokens == two.all_special_tokens == three.all_special_tokens
    assert one.all_special_ids == two.all_special_ids
    assert len({each.apply_chat_template(chat, tokenize=False) for each in (one, two, three)}) == 1
    assert one.eos_token_id == two.eos_token_id
    inputs = three("hi", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "cut")
    assert (
        model.generate(**inputs, max_new_tokens=2, pad_token_id=0).shape[1]
        <= inputs["input_ids"].shape[1] + 2
    )


def test_random_rows_are_the_same_for_a_seed_and_of_the_old_rows_size(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    texts = reading({"my": drawn_texts("my", 100)})
    tables = []
    for number, seed in enumerate((0, 0, 1)):
        options = ExtendOptions(200, start="random", seed=seed)
        extension = extend_model(old, texts, tmp_path / str(number), options, report=quiet)
        tables.append(load_file(tmp_path / str(number) / "model.safetensors")[EMBEDDING])
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])
    new = tables[0][sorted(extension.pieces)]
    assert 0.18 < new.std() < 0.22


@pytest.mark.parametrize("start", ["similar", "regression"])
def test_other_first_rows_are_finite_their_own_and_of_the_old_rows_kind(tmp_path, start) -> None:
    old = tiny_model(tmp_path / "old", "qwen3", "qwen", tied=False)
    texts = reading({"my": drawn_texts("my", 100), "id": drawn_texts("id", 100)})
    tables = {}
    for name in ("mean", start):
        options = ExtendOptions(100, start=name)
        extension = extend_model(old, texts, tmp_path / name, options, report=quiet)
        tables[name] = load_file(tmp_path / name / "model.safetensors")
    new = sorted(extension.pieces)
    stays = [row for row in range(ROWS) if row not in extension.pieces]
    for matrix in (EMBEDDING, HEAD):
        mean, found = tables["mean"][matrix], tables[start][matrix]
        assert torch.equal(mean[stays], found[stays])
        assert found.isfinite().all() and (mean[new] != found[new]).any(1).float().mean() > 0.5
        assert found[new].std() < 0.4  # of the old rows it is 0.2


def test_what_cannot_be_is_said(tmp_path) -> None:
    old = tiny_model(tmp_path / "old", "llama", "llama", tied=False)
    with pytest.raises(DataError, match="at least one token"):
        extend_model(old, reading({"my": ["x"]}), tmp_path / "new", ExtendOptions(0), report=quiet)
    with pytest.raises(DataError, match="no text"):
        trim_model(old, reading({"my": []}), tmp_path / "new", report=quiet)
    with pytest.raises(DataError, match="occurs twice"):
        extend_model(old, reading({"my": ["ab"]}), tmp_path / "new", ExtendOptions(5), report=quiet)
    assert not (tmp_path / "new").exists()
