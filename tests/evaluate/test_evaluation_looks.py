"""What an evaluation looks at besides scores: fertility, items that a corpus holds, the language of answers."""

from __future__ import annotations

import json

import pytest

from pinisi.cli import main
from pinisi.data import load_tokenizer
from pinisi.evaluate.corpus_index import build_index
from tests.data.conftest import write_corpus
from tests.evaluate.conftest import write_lines

SEEN = "Kapal pinisi dibuat di Sulawesi Selatan oleh para pembuat kapal dari Bulukumba."
NEW = ["Harga beras naik di pasar induk pada awal pekan ini.", "Hujan turun sejak pagi di pegunungan."]


def evaluated(model, out, *asked: str) -> dict:
    assert main(["evaluate", str(model), *asked, "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_fertility_and_clean_scores_are_those_of_a_plain_count(model, tmp_path, capsys) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"id": [f"Halaman 3. {SEEN.upper()} Halaman 4."]})
    index = build_index([corpus], tmp_path / "index", report=lambda line: None)
    text = write_corpus(tmp_path / "text", {"id": [SEEN, *NEW]})
    asked = ["--text", f"prose={text}", "--contamination", str(index.folder)]
    (loss,) = evaluated(model, tmp_path / "out.json", *asked)["losses"]
    tokenizer = load_tokenizer(model)
    tokens = [len(tokenizer.encode(each)) for each in (SEEN, *NEW)]
    assert loss["fertility"]["tokens"] == sum(tokens)
    words = sum(len(each.split()) for each in (SEEN, *NEW))
    assert loss["fertility"]["tokens_per_word"] == pytest.approx(sum(tokens) / words)
    found = loss["contamination"]
    assert found["contaminated_ids"] == [loss["samples"]["ids"][0]] and found["index"] == index.digest
    bits, sizes = zip(*loss["samples"]["measures"]["bits_per_byte"]["values"], strict=True)
    clean = found["clean_scores"]["bits_per_byte"]
    assert (clean["value"], clean["items"]) == (pytest.approx(sum(bits[1:]) / sum(sizes[1:])), 2)
    told = capsys.readouterr().out
    assert "in the corpus" in told and "tokens by" in told


def test_answers_are_judged_by_language(model, tmp_path) -> None:
    """An untrained model writes no Thai: what it writes, if it can be judged, is another language."""
    items = [
        {"context": "กรุงเทพเป็นเมืองหลวง", "question": "เมืองใด", "answers": {"text": ["กรุงเทพ"]}, "id": str(n)}
        for n in range(3)
    ]
    file = write_lines(tmp_path / "xquad.th.jsonl", items)
    result = evaluated(model, tmp_path / "out.json", "--task", f"xquad:th:{file}", "--new-tokens", "30")
    (task,) = result["tasks"]
    assert sum(task["confusion"][verdict] for verdict in ("right", "wrong", "unjudged")) == 3
    judged = {"language_answers", "language_lines", "other_scripts"} & set(task["scores"])
    assert judged <= set(task["samples"]["measures"])
