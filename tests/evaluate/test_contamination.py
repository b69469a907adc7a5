"""An index of a corpus or of shards, the same for any number of workers, and evaluation items that are found in it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.cli import main
from pinisi.data import tokenize
from pinisi.evaluate.contamination import clean_scores, contamination_of, item_texts
from pinisi.evaluate.corpus_index import CorpusIndex, build_index
from pinisi.evaluate.examples import ChoiceItem, ReadingItem
from pinisi.evaluate.fingerprints import Fingerprints
from pinisi.evaluate.samples import mean_samples
from tests.data.conftest import write_corpus, write_tokenizer

PASSAGE = "Kapal pinisi dibuat di Sulawesi Selatan oleh para pembuat kapal dari Bulukumba sejak berabad-abad yang lalu."
QUESTION = "ใครเป็นผู้สร้างเรือพินิซีในจังหวัดสุลาเวสีใต้เมื่อหลายร้อยปีก่อน"
OTHER = ["Harga beras naik di pasar induk pada awal pekan ini.", "ราคาข้าวในตลาดกลางเพิ่มขึ้นเมื่อต้นสัปดาห์นี้"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    texts = {
        "id": [OTHER[0] * 3, f"Halaman. {PASSAGE.upper()} {OTHER[0]}"],
        "th": [OTHER[1], OTHER[1] + "ครับ"],
    }
    return write_corpus(tmp_path_factory.mktemp("corpus"), texts)


@pytest.fixture(scope="module")
def index(corpus, tmp_path_factory):
    return build_index([corpus], tmp_path_factory.mktemp("index") / "made", report=lambda line: None)


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_index_holds_the_corpus_and_nothing_else(corpus, index) -> None:
    texts = [json.loads(line)["text"] for path in corpus.glob("*.jsonl") for line in path.open()]
    kept = np.unique(np.concatenate([Fingerprints(text).kept() for text in texts]))
    assert index.facts["fingerprints"] == len(kept) and index.facts["documents"] == 4
    assert index.holds(kept[::-1]).all()
    strange = np.random.default_rng(0).integers(0, 2**63, 500).astype(np.uint64)
    assert not index.holds(np.setdiff1d(strange, kept)).any()


def test_items_are_judged_by_their_parts(index) -> None:
    items = [
        ChoiceItem("seen", PASSAGE, QUESTION, ("a", "b"), 0),
        ReadingItem("new", "Air laut pasang di pelabuhan utara sejak semalam.", QUESTION, ("x",)),
        ChoiceItem("short", "", "Ya?", ("a", "b"), 0),
    ]
    found = contamination_of(index, ((item.id, item_texts(item)) for item in items))
    assert (found.contaminated, found.undecided) == ([True, False, False], [False, False, True])
    told = found.to_json()
    assert told["contaminated_ids"] == ["seen"]
    assert told["by_part"]["passage"] == {"texts": 2, "contaminated": 1, "undecided": 0}
    assert told["by_part"]["question"] == {"texts": 3, "contaminated": 0, "undecided": 1}
    samples = {"ids": ["seen", "new", "short"], "measures": {"accuracy": mean_samples([1, 0, 0.5])}}
    clean = clean_scores(samples, found.contaminated)["accuracy"]
    assert (clean["value"], clean["items"]) == (0.25, 2)


def test_half_of_a_text_is_enough_and_a_quarter_is_not(index) -> None:
    new = "Ombak besar menghantam dermaga kecil itu sepanjang malam hingga pagi hari tanpa henti sekali pun sebelumnya."
    for share, wanted in ((0.7, True), (0.3, False)):
        text = PASSAGE[: int(share * len(PASSAGE))] + new[int(share * len(new)) :]
        assert contamination_of(index, [("x", {"text": [text]})]).contaminated == [wanted]


def test_workers_and_a_torn_run_change_no_byte(corpus, index, tmp_path, monkeypatch) -> None:
    from pinisi.evaluate import corpus_index

    whole = corpus_index.join_bucket

    def torn(number, parts, folder) -> None:
        if number == 40:
            raise KeyboardInterrupt
        whole(number, parts, folder)

    monkeypatch.setattr(corpus_index, "join_bucket", torn)
    with pytest.raises(KeyboardInterrupt):
        build_index([corpus], tmp_path / "again", report=lambda line: None)
    assert not (tmp_path / "again").exists()
    monkeypatch.undo()
    lines: list[str] = []
    build_index([corpus], tmp_path / "again", report=lines.append)
    assert any("40 done before" in line for line in lines)
    assert files(tmp_path / "again") == files(index.folder)
    build_index([corpus], tmp_path / "again", report=lines.append)
    assert "up to date" in lines[-1]


def test_shards_give_what_their_text_gives(corpus, index, tmp_path) -> None:
    tokenize(corpus, write_tokenizer(tmp_path / "tokenizer"), tmp_path / "shards", report=lambda line: None)
    found = build_index([tmp_path / "shards"], tmp_path / "index", report=lambda line: None)
    assert all(found.facts[key] == index.facts[key] for key in ("fingerprints", "documents", "letters"))
    assert {k: v for k, v in files(found.folder).items() if k.endswith(".npy")} == {
        k: v for k, v in files(index.folder).items() if k.endswith(".npy")
    }


def test_the_command_makes_the_index_once_and_looks_items_up(corpus, xcopa, tmp_path, capsys) -> None:
    out, text = tmp_path / "found.json", write_corpus(tmp_path / "text", {"id": [PASSAGE, "Tidak ada."]})
    asked = ["--task", f"xcopa:th:{xcopa}", "--text", f"held={text}", "--json", str(out)]
    assert main(["contamination", str(tmp_path / "index"), "--corpus", str(corpus), *asked]) == 0
    assert main(["contamination", str(tmp_path / "index"), *asked]) == 0
    found = json.loads(out.read_text())["sets"]
    assert found["held/id"]["contaminated"] == 1
    assert found["held/id"]["undecided"] == 1 and found["xcopa-th"]["contaminated"] == 0
    assert "xcopa-th" in capsys.readouterr().out


def test_what_is_wrong_is_said(index, corpus, tmp_path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for arguments, words in (
        ([str(tmp_path / "no")], "nothing is asked"),
        ([str(tmp_path / "no"), "--text", str(corpus)], "is no index of a corpus"),
        ([str(tmp_path / "mine"), "--corpus", str(corpus)], "left alone"),
        ([str(tmp_path / "new"), "--corpus", str(tmp_path / "nowhere")], "nowhere"),
    ):
        assert main(["contamination", *arguments]) == 2
        assert words in capsys.readouterr().err
    (torn := tmp_path / "torn").mkdir()
    for name, content in files(index.folder).items():
        (torn / name).write_bytes(content[: len(content) // 2] if name.endswith(".npy") else content)
    with pytest.raises(DataError, match="missing or torn"):
        CorpusIndex(torn).holds(np.arange(0, 2**63, 2**57, dtype=np.uint64))
