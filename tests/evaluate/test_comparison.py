"""`pinisi compare`: scores beside one another, corrected over languages; results of other samples are refused by name."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.cli import main
from pinisi.evaluate.comparison import compare, parts_of, read_result, result_text
from pinisi.evaluate.samples import mean_samples, ratio_samples
from pinisi.evaluate.statistics import holm
from tests.data.conftest import write_corpus
from tests.evaluate.conftest import write_model


def result(right: dict[str, list[int]], **model: str) -> dict:
    """A result of XCOPA in several languages, as `evaluate` writes it but for what isn't looked at."""
    tasks = [
        {
            "name": f"xcopa-{language}",
            "language": language,
            "settings": {"shots": 0},
            "digest": f"file of {language}",
            "scores": {
                "accuracy": {"value": float(np.mean(values)), "low": 0.0, "high": 1.0, "items": len(values)}
            },
            "samples": {
                "ids": [str(n) for n in range(len(values))],
                "measures": {"accuracy": mean_samples(values)},
            },
        }
        for language, values in right.items()
    ]
    return {"format": 1, "model": {"tokenizer": "one", **model}, "tasks": tasks, "losses": []}


def drawn(share: float, seed: int, items: int = 200) -> list[int]:
    return (np.random.default_rng(seed).random(items) < share).astype(int).tolist()


def test_p_values_are_corrected_over_languages_and_models() -> None:
    languages = ("th", "id", "vi")
    results = {
        name: result({language: drawn(share, 7 * n + k) for k, language in enumerate(languages)})
        for n, (name, share) in enumerate((("a", 0.5), ("b", 0.52), ("c", 0.7)))
    }
    found = compare(results)
    scores = [score for each in found["comparisons"] for score in each["scores"]]
    assert [score["p_corrected"] for score in scores] == holm([score["difference"]["p"] for score in scores])
    verdicts = {
        each["model"]: {score["verdict"] for score in each["scores"]} for each in found["comparisons"]
    }
    assert verdicts == {"b": {"not told apart"}, "c": {"better"}}


def test_bits_are_better_where_they_are_fewer_and_perplexities_of_other_tokens_are_no_pair() -> None:
    bits = np.random.default_rng(0).random(60) + 1

    def measured(factor: float, tokenizer: str) -> dict:
        found = result({}, tokenizer=tokenizer)
        measures = {
            "bits_per_byte": ratio_samples(bits * factor, np.ones(60)),
            "perplexity": ratio_samples(bits * factor, np.ones(60), exponential=True),
        }
        scores = {name: {"value": 0.0} for name in measures}
        samples = {"ids": list(map(str, range(60))), "measures": measures}
        loss = {"component": "prose", "language": "km", "digest": "x", "scores": scores, "samples": samples}
        return found | {"losses": [loss]}

    def verdicts(tokenizer: str) -> dict[str, str]:
        (comparison,) = compare({"a": measured(1, "one"), "b": measured(0.9, tokenizer)})["comparisons"]
        return {score["measure"]: score["verdict"] for score in comparison["scores"]}

    assert verdicts("one") == {"bits_per_byte": "better", "perplexity": "better"}
    assert verdicts("other") == {"bits_per_byte": "better"}


def test_other_samples_are_refused_by_name() -> None:
    whole = result({"th": drawn(0.5, 0), "id": drawn(0.5, 1), "vi": drawn(0.5, 2)})
    other = copy.deepcopy(whole)
    other["tasks"][0]["digest"] = "another file"
    other["tasks"][1]["samples"]["ids"][5] = "55"
    short = result({"th": drawn(0.5, 0), "id": drawn(0.5, 1), "vi": drawn(0.5, 2, items=150)})
    with pytest.raises(DataError) as refused:
        compare({"a": whole, "b": other, "c": short})
    words = str(refused.value)
    assert "xcopa-th of a and b: their files differ" in words
    assert "xcopa-id of a and b: sample 5 is '5' and '55'" in words
    assert "xcopa-vi of a and c: they have 200 and 150 samples" in words
    assert "xcopa-vi of a and b" not in words
    found = compare({"a": whole, "b": other}, leave_out=["xcopa-th", "xcopa-id"])
    assert [score["name"] for score in found["comparisons"][0]["scores"]] == ["xcopa-vi"]
    with pytest.raises(DataError, match="nothing called 'xcopa-jv'"):
        compare({"a": whole, "b": whole}, leave_out=["xcopa-jv"])


def test_a_few_items_decide_nothing() -> None:
    a, b = [0] * 30, [0] * 30
    b[:4] = [1] * 4
    (score,) = compare({"a": result({"th": a}), "b": result({"th": b})})["comparisons"][0]["scores"]
    assert score["difference"]["p"] == pytest.approx(1 / 16) and score["verdict"] == "too few differ"


def test_two_evaluations_are_compared_from_their_files(model, xcopa, tmp_path, capsys) -> None:
    other = write_model(tmp_path / "other", seed=1)
    text = write_corpus(
        tmp_path / "text", {"id": [f"Kapal nomor {n} dibuat di Sulawesi." for n in range(12)]}
    )
    for name, folder in (("first", model), ("second", other)):
        asked = [
            "--task",
            f"xcopa:th:{xcopa}",
            "--text",
            f"prose={text}",
            "--out",
            str(tmp_path / f"{name}.json"),
        ]
        assert main(["evaluate", str(folder), *asked]) == 0
    first = tmp_path / "first.json"
    read = read_result(first)
    assert json.loads(result_text(read)) == read and len(first.read_text().splitlines()) < 400
    assert [part.name for part in parts_of(read)] == ["xcopa-th", "prose/id"]
    capsys.readouterr()
    out = tmp_path / "compared.json"
    code = main(["compare", str(first), f"new={tmp_path / 'second.json'}", "--json", str(out)])
    assert code == 0
    told, found = capsys.readouterr().out, json.loads(out.read_text())
    assert "new against first" in told and "model.digest" in told and "bits_per_byte" in told
    (comparison,) = found["comparisons"]
    assert set(comparison["configuration"]) == {"model.path", "model.digest"}
    (bits,) = [score for score in comparison["scores"] if score["measure"] == "bits_per_byte"]
    value = json.loads((tmp_path / "second.json").read_text())["losses"][0]["scores"]["bits_per_byte"][
        "value"
    ]
    assert bits["score"] == value and bits["difference"]["samples"] == 12
    assert bits["difference"]["difference"] == pytest.approx(bits["score"] - bits["baseline"])


def test_what_is_no_result_is_said(tmp_path, capsys) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "torn.json").write_text('{"format": 1')
    old = result({"th": [1, 0]})
    del old["tasks"][0]["samples"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    (tmp_path / "half.json").write_text(json.dumps({**old, "tasks": [{"name": "xcopa-th"}]}))
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    for arguments, words in (
        (["list.json", "list.json"], "two results are called list"),
        (["list.json"], "at least two"),
        (["a=list.json", "b=list.json"], "is no result of pinisi evaluate"),
        (["a=torn.json", "b=list.json"], "is no result of pinisi evaluate"),
        (["a=old.json", "b=old.json"], "xcopa-th keeps no samples"),
        (["a=half.json", "b=half.json"], "is no whole result of pinisi evaluate"),
        (["a=bytes.json", "b=half.json"], "byte 0 is no UTF-8"),
    ):
        placed = [
            word.replace("=", f"={tmp_path}/") if "=" in word else f"{tmp_path}/{word}" for word in arguments
        ]
        assert main(["compare", *placed]) == 2
        assert words in capsys.readouterr().err
