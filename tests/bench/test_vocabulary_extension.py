"""What `pinisi bench vocabulary-extension` compares and when it says that a demand isn't met."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.base.errors import DataError
from pinisi.bench import vocabulary_extension as bench
from pinisi.bench.extension_model import document_bits, flops_a_step, model_config
from pinisi.data.tokenizer import load_tokenizer
from pinisi.models import read_spec

from ..cookbook.made_models import tiny_model


def bits(**shift: float) -> dict[str, list[tuple[float, int]]]:
    return {
        language: [(100 * (1 + 0.01 * n + shift.get(language, 0.0)), 100) for n in range(20)]
        for language in bench.LANGUAGES
    }


def found(**arms: dict) -> dict:
    names = {
        "without": {},
        "mean": {"my": -0.1, "km": -0.1, "lo": -0.1},
        "random": {"my": -0.05, "km": -0.05, "lo": -0.05},
    }
    names |= {"similar": names["random"], "regression": names["random"]} | arms
    return {"seed": 0, **bench.compared({name: bits(**shift) for name, shift in names.items()})}


GOOD = {"faults": [], "rows": [{"language": "my", "text": "eval", "share": 0.3}]}


def test_what_holds_holds_and_each_fault_is_named() -> None:
    good = found()
    assert good["best"] == "mean" and bench.faults_of(GOOD, [good]) == []
    assert good["differences"]["my"]["difference"] == pytest.approx(-0.1)
    lower = {"my": -0.1, "km": -0.1, "lo": -0.1}
    for arm, said in (
        (lower | {"km": 0.0}, "km isn't surely lower"),
        (lower | {"en": 0.02}, "English changes by +"),
        (lower | {"en": -0.02}, "English changes by -"),
    ):
        assert any(said in fault for fault in bench.faults_of(GOOD, [found(mean=arm)])), said
    assert any("random rows" in fault for fault in bench.faults_of(GOOD, [found(random={"my": -0.9})]))
    bad = {"faults": ["[C] broken"], "rows": [{"language": "my", "text": "eval", "share": 0.46}]}
    assert len(bench.faults_of(bad, [])) == 2


def test_bits_are_those_of_the_model(tmp_path) -> None:
    folder = tiny_model(tmp_path, "qwen3", "qwen", tied=True)
    text = "Semua orang dilahirkan merdeka. " * 30
    found = document_bits(folder, {"id": [text, ""]})["id"]
    tokenizer, model = load_tokenizer(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.encode(text, add_special_tokens=False)
    total = 0.0
    for place in range(0, len(ids), 128):
        window = torch.tensor([[tokenizer.eos_token_id, *ids[place : place + 128]]])
        total += float(model(input_ids=window, labels=window).loss.detach()) * (window.shape[1] - 1)
    assert found[0] == (pytest.approx(total / math.log(2), rel=1e-5), len(text))
    assert found[1] == (0.0, 0)


def test_flops_count_each_weight_that_multiplies_once() -> None:
    one, two = (flops_a_step(read_spec(model_config(rows))) for rows in (1000, 1500))
    assert two - one == 6 * 500 * 64 * 128 * 8


def test_what_is_missing_is_said(tmp_path) -> None:
    with pytest.raises(DataError, match="pinisi corpus fetch"):
        bench.main(["--corpus", str(tmp_path), "--work", str(tmp_path / "work")])
