"""Merged models against plain torch over whole state dicts, bit for bit; which files go along, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ConfigError, ModelError, PinisiError
from pinisi.cli import main
from pinisi.cookbook.merge import add_chat, add_tasks, average, merge
from pinisi.data.tokenizer import load_tokenizer
from pinisi.models import FolderWeights, parameter_shapes, read_spec
from pinisi.models.surgery.merge import NO_ROW, Added, Average, MergeSource, runs, same_rows
from tests.effort import FULL, only_full
from tests.models.tiny import NAMES

from .made_models import tiny_model

CASES = [("qwen3", True), ("llama", False)] if not FULL else [(a, t) for a in NAMES for t in (True, False)]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def quiet(line: str) -> None:
    pass


def changed(old: Path, new: Path, seed: int, dtype: torch.dtype = torch.float32) -> Path:
    """A copy of a model with other weights, as if it had been trained."""
    new.mkdir()
    for path in old.iterdir():
        if path.suffix != ".safetensors":
            (new / path.name).write_bytes(path.read_bytes())
    draw = torch.Generator().manual_seed(seed)
    tensors = {
        name: (each + 0.1 * torch.randn(each.shape, generator=draw)).to(dtype)
        for name, each in load_file(old / "model.safetensors").items()
    }
    save_file(tensors, new / "model.safetensors", metadata={"format": "pt"})
    return new


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, in its files' dtype."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        found |= load_file(path)
    return found


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name in found:
        assert found[name].dtype == wanted[name].dtype and torch.equal(found[name], wanted[name]), name


@pytest.fixture
def three(tmp_path, request) -> list[Path]:
    architecture, tied = getattr(request, "param", ("qwen3", True))
    first = tiny_model(tmp_path / "a", architecture, "qwen", tied=tied)
    return [first, changed(first, tmp_path / "b", 1), changed(first, tmp_path / "c", 2)]


@pytest.mark.parametrize("three", CASES, indirect=True, ids=str)
def test_merges_are_those_of_plain_torch_bit_for_bit(three, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pinisi.models.surgery.merge.BLOCK", 777)
    a, b, c = (loaded(each) for each in three)
    out = tmp_path / "out"
    merge(average(three, (1.0, 2.0, 0.5)), out, report=quiet)
    same(loaded(out), {name: (1.0 * a[name] + 2.0 * b[name] + 0.5 * c[name]) / 3.5 for name in a})
    merge(add_tasks(three[0], three[1:], (0.7, -0.4)), out, report=quiet)
    wanted = {name: a[name] + 0.7 * (b[name] - a[name]) + -0.4 * (c[name] - a[name]) for name in a}
    same(loaded(out), wanted)
    merge(add_chat(*three, 0.6), out, report=quiet)
    same(loaded(out), {name: a[name] + 0.6 * (c[name] - b[name]) for name in a})
    ids = torch.arange(24).reshape(2, 12)
    logits = AutoModelForCausalLM.from_pretrained(out)(ids).logits
    assert logits.isfinite().all() and read_spec(out).tied == read_spec(three[0]).tied


def test_sums_are_made_in_float32_and_stored_as_the_first_model_is(tmp_path) -> None:
    wide = tiny_model(tmp_path / "wide", "qwen3", "qwen", tied=True)
    half = [changed(wide, tmp_path / f"half-{n}", n, torch.bfloat16) for n in (1, 2)]
    double = changed(wide, tmp_path / "double", 3, torch.float64)
    a, b, d = (loaded(each) for each in (*half, double))
    merge(average(half), tmp_path / "out", report=quiet)
    same(loaded(tmp_path / "out"), {n: ((a[n].float() + b[n].float()) / 2).bfloat16() for n in a})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "bfloat16" in (config.get("dtype"), config.get("torch_dtype"))
    merge(add_chat(half[0], double, wide, 2.0), tmp_path / "out", report=quiet)
    w = loaded(wide)
    same(loaded(tmp_path / "out"), {n: (a[n].double() + 2.0 * (w[n].double() - d[n])).bfloat16() for n in a})


def test_ends_are_one_matrix_where_they_are_in_all_models(tmp_path) -> None:
    tied = tiny_model(tmp_path / "tied", "llama", "qwen", tied=True)
    apart = tiny_model(tmp_path / "apart", "llama", "qwen", tied=False)
    one, two = loaded(tied), loaded(apart)
    for number, models in enumerate(((tied, apart), (apart, tied))):
        said: list[str] = []
        merge(average(models), tmp_path / f"out-{number}", report=said.append)
        found = loaded(tmp_path / f"out-{number}")
        assert torch.equal(found[HEAD], (one[EMBEDDING] + two[HEAD]) / 2)
        assert torch.equal(found[EMBEDDING], (one[EMBEDDING] + two[EMBEDDING]) / 2)
        assert not read_spec(tmp_path / f"out-{number}").tied
        assert any("the head gets a matrix of its own" in line for line in said) is (number == 0)


def extended(old: Path, new: Path, tokens: list[str], move: tuple[int, int]) -> Path:
    """A model with more tokens and rows than another, in which besides two tokens have changed places."""
    changed(old, new, 9)
    data = json.loads((new / "tokenizer.json").read_text())
    vocabulary = data["model"]["vocab"]
    by_id = {id: token for token, id in vocabulary.items()}
    vocabulary[by_id[move[0]]], vocabulary[by_id[move[1]]] = move[1], move[0]
    rows, first = read_spec(old).vocabulary, len(vocabulary) + len(data["added_tokens"])
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    data["added_tokens"] += [{"id": first + n, "content": token, **plain} for n, token in enumerate(tokens)]
    (new / "tokenizer.json").write_text(json.dumps(data))
    config = json.loads((new / "config.json").read_text())
    (new / "config.json").write_text(json.dumps(config | {"vocab_size": rows + len(tokens)}))
    tensors = loaded(new)
    for name in (EMBEDDING, HEAD):
        if name in tensors:
            more = torch.randn(
                len(tokens), tensors[name].shape[1], generator=torch.Generator().manual_seed(5)
            )
            tensors[name] = torch.cat([tensors[name], more])
    save_file(tensors, new / "model.safetensors", metadata={"format": "pt"})
    return new


@pytest.mark.parametrize("tied", [True, False])
def test_a_chat_vector_is_added_to_the_rows_of_the_same_tokens(tmp_path, tied) -> None:
    base = tiny_model(tmp_path / "base", "qwen3", "qwen", tied=tied)
    chat = changed(base, tmp_path / "chat", 1)
    (chat / "chat_template.jinja").write_text("{{ messages[0]['content'] }}<|im_end|>")
    ours = extended(base, tmp_path / "ours", ["aksara", "ngaran", "jalmi"], (300, 341))
    rows = read_spec(base).vocabulary
    said: list[str] = []
    merged = merge(add_chat(ours, base, chat, 0.5), tmp_path / "out", report=said.append)
    o, b, c = (loaded(each) for each in (ours, base, chat))
    places = load_tokenizer(ours).get_vocab()
    wanted = {name: o[name] + 0.5 * (c[name] - b[name]) for name in o if name not in (EMBEDDING, HEAD)}
    for name in o.keys() & {EMBEDDING, HEAD}:
        wanted[name] = o[name].clone()
        delta = 0.5 * (c[name] - b[name])
        delta[[300, 341]] = delta[[341, 300]]
        delta[[places[token] for token in ("aksara", "ngaran", "jalmi")]] = 0  # rows that have no token there
        wanted[name][:rows] += delta
    same(loaded(tmp_path / "out"), wanted)
    left = ["aksara", "ngaran", "jalmi", *(f"row {row}, without a token" for row in range(rows, rows + 3))]
    assert merged.left == {str(each): left for each in (base, chat)}
    assert any("lacks 6 of the 1,012 rows" in line and "'aksara'" in line for line in said)
    # the chat model's voice, in our tokens
    assert (tmp_path / "out" / "chat_template.jinja").read_bytes() == (
        chat / "chat_template.jinja"
    ).read_bytes()
    assert "chat_template" not in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (ours / "tokenizer.json").read_bytes()
    generation = json.loads((chat / "generation_config.json").read_text())
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text()) == generation
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == rows + 3


def test_ids_of_the_chat_model_become_those_of_the_same_tokens(tmp_path) -> None:
    base = tiny_model(tmp_path / "base", "qwen3", "qwen", tied=True)
    chat = changed(base, tmp_path / "chat", 1)
    for name, values in {"eos_token_id": [300, 7], "pad_token_id": 341}.items():
        path = chat / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: values, "temperature": 0.6}))
    ours = extended(base, tmp_path / "ours", ["aksara"], (300, 341))
    merge(add_chat(ours, base, chat), tmp_path / "out", report=quiet)
    found = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (found["eos_token_id"], found["pad_token_id"], found["temperature"]) == ([341, 7], 300, 0.6)
    token = Tokenizer.from_file(str(chat / "tokenizer.json")).id_to_token(300)
    data = json.loads((ours / "tokenizer.json").read_text())
    del data["model"]["vocab"][token]
    data["model"]["merges"] = []
    (ours / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(ModelError, match=r"generation_config\.json names 300"):
        merge(add_chat(ours, base, chat), tmp_path / "new", report=quiet)
    assert not (tmp_path / "new").exists()


def test_an_average_has_rows_of_tokens_that_some_lack_from_the_others(tmp_path) -> None:
    base = tiny_model(tmp_path / "base", "llama", "llama", tied=False)
    ours = extended(base, tmp_path / "ours", ["aksara"], (300, 341))
    merge(average([ours, base], (3.0, 1.0)), tmp_path / "out", report=quiet)
    o, b, found = loaded(ours), loaded(base), loaded(tmp_path / "out")
    assert torch.equal(found[HEAD][-1], o[HEAD][-1])
    assert torch.equal(found[HEAD][300], (3.0 * o[HEAD][300] + b[HEAD][341]) / 4)
    assert torch.equal(found[HEAD][77], (3.0 * o[HEAD][77] + b[HEAD][77]) / 4)
    merge(add_tasks(base, [ours]), tmp_path / "tasks", report=quiet)
    assert torch.equal(loaded(tmp_path / "tasks")[HEAD][300], b[HEAD][300] + (o[HEAD][341] - b[HEAD][300]))


def test_rows_without_a_token_are_the_same_where_none_has_one() -> None:
    assert same_rows({"a": 0, "b": 1, "c": 3}, 6, {"b": 0, "a": 1, "d": 2}, 5) == [
        1,
        0,
        NO_ROW,
        NO_ROW,
        4,
        NO_ROW,
    ]
    assert list(runs([3, 4, 5, NO_ROW, NO_ROW, 0, 7, 8])) == [(3, 3), (NO_ROW, 2), (0, 1), (7, 2)]
    assert list(runs([])) == []


def test_rows_that_some_of_several_models_lack_count_those_that_have_them() -> None:
    class Made:
        """Weights of one matrix of six rows."""

        def __init__(self, seed: int) -> None:
            self.matrix = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))

        def get(self, name: str, rows: range) -> torch.Tensor:
            return self.matrix[rows.start : rows.stop]

    made = [Made(seed) for seed in range(3)]
    places = [list(range(6)), [2, 3, NO_ROW, 0, 1, NO_ROW], [NO_ROW, 5, 4, NO_ROW, 0, NO_ROW]]
    one, two, three = (MergeSource(each, rows) for each, rows in zip(made, places, strict=True))
    mean = Average([one, two, three], [1.0, 2.0, 4.0]).block("e", range(6), vocabulary=True)
    sum_ = Added(one, [(0.5, two, three)]).block("e", range(6), vocabulary=True)
    for row in range(6):
        own = made[0].matrix[row]
        there = [
            (w, m.matrix[p[row]]) for w, m, p in zip((1, 2, 4), made, places, strict=True) if p[row] >= 0
        ]
        wanted = sum(w * values for w, values in there) / sum(w for w, _ in there)
        assert torch.allclose(mean[row], wanted, atol=1e-6), row
        b, c = places[1][row], places[2][row]
        delta = made[1].matrix[b] - made[2].matrix[c] if b >= 0 and c >= 0 else torch.zeros(3)
        assert torch.equal(sum_[row], own + 0.5 * delta), row
    assert torch.equal(mean[5], made[0].matrix[5])


def test_shards_are_written_and_little_is_in_memory(three, tmp_path, monkeypatch) -> None:
    first = tiny_model(tmp_path / "deep", "llama", "llama", tied=False, num_hidden_layers=12)
    second = changed(first, tmp_path / "deeper", 1)
    alive: dict[int, int] = {}
    most, read = 0, FolderWeights.get

    def watched(self, name, rows=None):
        nonlocal most
        found = read(self, name, rows).clone()
        alive[id(found)] = found.nbytes
        weakref.finalize(found, alive.pop, id(found), None)
        most = max(most, sum(alive.values()))
        return found

    monkeypatch.setattr(FolderWeights, "get", watched)
    monkeypatch.setattr("pinisi.models.surgery.merge.BLOCK", 512)
    merge(average([first, second]), tmp_path / "out", max_shard_bytes=60_000, report=quiet)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 5
    assert index["weight_map"].keys() == loaded(first).keys()
    assert (
        0 < most <= 3 * 4 * 512 + 4 * max(shape[-1] for shape in parameter_shapes(read_spec(first)).values())
    )
    a, b = loaded(first), loaded(second)
    same(loaded(tmp_path / "out"), {name: (a[name] + b[name]) / 2 for name in a})


def test_a_full_disk_is_said_before_anything_is_written(three, tmp_path, monkeypatch) -> None:
    size = 4 * sum(shape.numel() for shape in parameter_shapes(read_spec(three[0])).values())
    for free, fits in ((size - 1, False), (size, True)):
        monkeypatch.setattr("pinisi.base.files.free_bytes", lambda path, free=free: free)
        if fits:
            merge(average(three), tmp_path / "out", report=quiet)
            continue
        with pytest.raises(ModelError, match="GiB are free there"):
            merge(average(three), tmp_path / "out", report=quiet)
        assert not (tmp_path / "out").exists()


def test_files_come_from_the_model_whose_voice_it_is(three, tmp_path) -> None:
    for number, each in enumerate(three):
        (each / "chat_template.jinja").write_text(f"template {number}")
        (each / "LICENSE").write_text(f"licence {number}")
        (each / "generation_config.json").write_text(
            json.dumps({"temperature": 0.1 * number, "eos_token_id": 2})
        )
    for name, recipe, voice in (
        ("average", average(three), 0),
        ("tasks", add_tasks(three[0], three[1:]), 1),
        ("chat", add_chat(*three), 2),
    ):
        merge(recipe, tmp_path / name, report=quiet)
        assert (tmp_path / name / "chat_template.jinja").read_text() == f"template {voice}"
        generation = (tmp_path / name / "generation_config.json").read_bytes()
        assert generation == (three[voice] / "generation_config.json").read_bytes()
        assert (tmp_path / name / "LICENSE").read_text() == "licence 0"
        assert json.loads((tmp_path / name / "config.json").read_text()) == json.loads(
            (three[0] / "config.json").read_text()
        )


def test_what_does_not_go_together_is_one_error_that_names_tensor_and_file(three, tmp_path) -> None:
    a, b, _ = three
    out = tmp_path / "out"

    def refused(match: str, *models: Path) -> None:
        with pytest.raises(PinisiError, match=match):
            merge(average([a, *models]), out, report=quiet)
        assert not out.exists()

    refused(
        "a qwen3 model and .*other a llama one", tiny_model(tmp_path / "other", "llama", "qwen", tied=True)
    )
    wide = tiny_model(tmp_path / "wide", "qwen3", "qwen", tied=True, intermediate_size=56)
    refused(
        r"mlp.gate_proj.weight has shape .* in .*a/model.safetensors and .* in .*wide/model.safetensors", wide
    )
    deep = tiny_model(tmp_path / "deep", "qwen3", "qwen", tied=True, num_hidden_layers=5)
    refused(r"model.layers.4.\S+ is in .*deep/model.safetensors and not in .*/a", deep)
    rows = tiny_model(tmp_path / "rows", "qwen3", "qwen", tied=True, rows=1100)
    (rows / "tokenizer.json").unlink()
    refused(r"embed_tokens.weight has 1009 rows in .* and 1100 in .*rows.* has no tokenizer.json", rows)
    torn = changed(a, tmp_path / "torn", 3)
    save_file({n: t for n, t in loaded(b).items() if "layers.1" not in n}, torn / "model.safetensors")
    refused("torn lacks .* tensors of this model, the first is model.layers.1", torn)
    with pytest.raises(ConfigError, match="3 models and 2 weights"):
        average(three, (1, 2))
    with pytest.raises(ConfigError, match="sum to 0"):
        average([a, b], (1, -1))
    with pytest.raises(ConfigError, match="nan is no finite number"):
        add_chat(a, a, b, float("nan"))
    with pytest.raises(ConfigError, match="two models at least"):
        average([a])
    with pytest.raises(ModelError, match="is a model that is read"):
        merge(average([a, b]), b, report=quiet)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years")
    with pytest.raises(PinisiError, match="was not made as a model"):
        merge(average([a, b]), tmp_path / "theirs", report=quiet)
    half = [changed(a, tmp_path / f"half-{n}", n, torch.float16) for n in (1, 2)]
    with pytest.raises(ModelError, match=r"is no finite number in float16 in row \d+"):
        merge(add_tasks(half[0], [half[1]], (1e9,)), out, report=quiet)
    assert not out.exists()


def test_the_commands_say_what_they_merge(three, tmp_path, capsys) -> None:
    a, b, c = map(str, three)
    config = json.loads((three[1] / "config.json").read_text())
    (three[1] / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 77}))
    out, found = str(tmp_path / "out"), str(tmp_path / "found.json")
    assert (
        main(["merge", "average", a, b, "--weight", "3", "--weight", "1", "--out", out, "--json", found]) == 0
    )
    said = capsys.readouterr().out
    assert "weights 3, 1" in said and f"model: {out}" in said and "max_position_embeddings is" in said
    merged = json.loads(Path(found).read_text())
    assert (merged["kind"], merged["models"], merged["weights"]) == ("average", [a, b], [3, 1])
    assert main(["merge", "tasks", a, b, c, "--weight", "1", "--out", out]) == 2
    assert "2 models and 1 weights" in capsys.readouterr().err
    assert main(["merge", "chat", a, "--base", b, "--chat", c, "--weight", ".5", "--out", out]) == 0
    x, y, z = (loaded(each) for each in three)
    same(loaded(tmp_path / "out"), {name: x[name] + 0.5 * (z[name] - y[name]) for name in x})


@only_full
@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
def test_they_agree_with_mergekit_and_its_folders_are_read(three, tmp_path, method) -> None:
    pytest.importorskip("mergekit")
    a, b, c = three
    if method == "linear":
        entries = [
            {"model": str(each), "parameters": {"weight": w}}
            for each, w in zip(three, (1.0, 2.0, 0.5), strict=True)
        ]
        recipe, asked = average(three, (1.0, 2.0, 0.5)), {"models": entries}
    else:
        entries = [
            {"model": str(each), "parameters": {"weight": w}}
            for each, w in zip((b, c), (0.7, -0.4), strict=True)
        ]
        recipe, asked = add_tasks(a, [b, c], (0.7, -0.4)), {"models": entries, "base_model": str(a)}
    asked |= {"merge_method": method, "dtype": "float32"}
    (tmp_path / "merge.yml").write_text(json.dumps(asked))
    theirs = tmp_path / "theirs"
    command = [sys.executable, "-m", "mergekit.scripts.run_yaml", str(tmp_path / "merge.yml"), str(theirs)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    merge(recipe, tmp_path / "ours", report=quiet)
    spec = read_spec(theirs)
    weights = FolderWeights(spec, theirs)
    weights.check()
    for name, tensor in loaded(tmp_path / "ours").items():
        assert torch.allclose(weights.get(name), tensor, rtol=0, atol=1e-6), name
    ids = torch.arange(20)[None]
    logits = [AutoModelForCausalLM.from_pretrained(each)(ids).logits for each in (theirs, tmp_path / "ours")]
    assert torch.allclose(*logits, atol=1e-4)
