"""Tokenizing in parts: the same documents however the text is cut, the same bytes for any workers and after any kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.data import Document, TokenShards, eval_batches, text_parts, tokenize, write_documents
from pinisi.data.inputs import documents_in, inputs_of

from .conftest import TEXTS, write_corpus
from .test_format2 import OLD

module = sys.modules["pinisi.data.tokenize"]


def quiet(line: str) -> None:
    pass


def cut_small(monkeypatch, size: int) -> None:
    monkeypatch.setattr(text_parts, "SMALLEST", size)
    monkeypatch.setattr(text_parts, "LARGEST", size)


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def documents(folder: Path) -> dict[str, list]:
    """Of each language all tokens, bounds and names."""
    shards = TokenShards(folder)
    return {
        language: [
            *(each.tolist() for each in shards.shard(language)),
            *(shards.name(language, number) for number in range(shards.counts(language)["documents"])),
        ]
        for language in shards.languages
    }


def counts(folder: Path) -> dict[str, dict]:
    languages = json.loads((folder / "index.json").read_text())["languages"]
    return {
        code: {key: value for key, value in of.items() if key != "files"} for code, of in languages.items()
    }


ODD = {
    "plain": b'{"text": "a b"}\n\n{"text": "c"}\r\n   \n{"text": "", "id": "x"}\n{"text": "last"}\n',
    "no end": b'\xef\xbb\xbf{"text": "a"}\n{"text": "b"}\n\n\n{"text": "c"}',
    "other languages": b'{"text": "a"}\n{"text": "b", "language": "vi"}\n{"text": "c", "language": "km"}\n'
    * 9,
}


@pytest.fixture
def odd(tmp_path) -> Path:
    corpus = write_corpus(tmp_path / "c", {language: TEXTS[language] for language in ("id", "vi")})
    for code, data in zip(("ceb", "en", "lo"), ODD.values(), strict=True):
        (corpus / f"{code}.jsonl").write_bytes(data)
    return corpus


@pytest.mark.parametrize("size", [1, 40, 170, 1000])
def test_the_cut_changes_no_document(odd, tokenizer_folder, tmp_path, monkeypatch, size):
    tokenize(odd, tokenizer_folder, tmp_path / "whole", report=quiet)
    assert len([*(tmp_path / "whole").glob("0*")]) == 1
    cut_small(monkeypatch, size)
    index = tokenize(odd, tokenizer_folder, tmp_path / "cut", report=quiet)
    assert len([*(tmp_path / "cut").glob("0*")]) > 2
    assert documents(tmp_path / "cut") == documents(tmp_path / "whole")
    assert counts(tmp_path / "cut") == counts(tmp_path / "whole")
    assert index["fingerprint"] == TokenShards(tmp_path / "whole").fingerprint
    assert TokenShards(tmp_path / "cut").damage() is None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_pieces_of_a_file_are_its_lines(odd, monkeypatch):
    """Against reading it whole, for any cut."""
    for path in odd.iterdir():
        (whole,) = inputs_of(path)
        for size in range(1, path.stat().st_size + 2, 7):
            cut_small(monkeypatch, size)
            pieces = [each for part in text_parts.cut([whole]).parts for each in part.inputs]
            assert [d for each in pieces for d in documents_in(each)] == list(documents_in(whole))
            assert all(each.stretch is None or each.stretch.size >= min(size, 1) for each in pieces)


def test_counts_are_those_of_the_version_before(tmp_path, monkeypatch):
    cut_small(monkeypatch, 100)
    tokenize(OLD / "text", OLD / "tokenizer", tmp_path / "s", report=quiet)
    assert counts(tmp_path / "s") == json.loads((OLD / "shards" / "index.json").read_text())["languages"]


def test_an_error_names_the_line_of_the_file(odd, tokenizer_folder, tmp_path, monkeypatch):
    cut_small(monkeypatch, 30)
    with (odd / "lo.jsonl").open("ab") as file:
        file.write(b'\n{"text": 7}\n')
    with pytest.raises(DataError, match=r"lo\.jsonl:29: 'text' is a int"):
        tokenize(odd, tokenizer_folder, tmp_path / "s", report=quiet)


def test_what_was_stopped_goes_on_byte_for_byte(odd, tokenizer_folder, tmp_path, monkeypatch):
    """Stopped before each task in turn, and between the last one and the index."""
    cut_small(monkeypatch, 200)
    tokenize(odd, tokenizer_folder, tmp_path / "whole", report=quiet)
    wanted, real, put = content(tmp_path / "whole"), module.tokenize_part, module._put
    parts = len([*(tmp_path / "whole").glob("0*")])

    def stop(*arguments):
        raise KeyboardInterrupt

    for number in range(parts + 1):
        calls = []

        def counted(tools, part, folder, calls=calls, number=number):
            calls.append(folder)
            if len(calls) > number:
                stop()
            real(tools, part, folder)

        monkeypatch.setattr(module, "tokenize_part", counted)
        if number == parts:
            monkeypatch.setattr(module, "_put", stop)
        with pytest.raises(KeyboardInterrupt):
            tokenize(odd, tokenizer_folder, tmp_path / f"s{number}", report=quiet)
        assert not (tmp_path / f"s{number}").exists()
        assert (tmp_path / f".s{number}.parts").exists() == (number > 0)
        calls.clear()
        monkeypatch.setattr(module, "_put", put)
        monkeypatch.setattr(module, "tokenize_part", lambda *a, calls=calls: (calls.append(a), real(*a)))
        tokenize(odd, tokenizer_folder, tmp_path / f"s{number}", report=quiet)
        assert len(calls) == parts - number and content(tmp_path / f"s{number}") == wanted
        assert not (tmp_path / f".s{number}.parts").exists()


def test_other_text_begins_anew(odd, tokenizer_folder, tmp_path, monkeypatch):
    cut_small(monkeypatch, 200)
    monkeypatch.setattr(module, "_put", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        tokenize(odd, tokenizer_folder, tmp_path / "s", report=quiet)
    monkeypatch.undo()
    (odd / "id.jsonl").write_text('{"text": "baru"}\n')
    said: list[str] = []
    tokenize(odd, tokenizer_folder, tmp_path / "s", report=said.append)
    assert "done anew: the text or the tokenizer changed" in said[0]
    assert TokenShards(tmp_path / "s").counts("id")["documents"] == 1 and not (tmp_path / ".s.parts").exists()


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Some 600 kB of text."""
    folder, rng = tmp_path_factory.mktemp("large") / "c", random.Random(0)
    words = " ".join(text for of in TEXTS.values() for text in of).split()
    for code in ("id", "vi"):
        texts = (" ".join(rng.choices(words, k=rng.randint(5, 200))) for _ in range(400))
        write_documents(folder / f"{code}.jsonl", (Document("", text, code) for text in texts))
    return folder


def test_workers_that_are_killed_give_the_same_bytes(large, tokenizer_folder, tmp_path, monkeypatch):
    """Two processes, killed once a part is there, then gone on with by one; against one that nobody killed."""
    cut_small(monkeypatch, 50_000)
    tokenize(large, tokenizer_folder, tmp_path / "whole", report=quiet)
    assert len([*(tmp_path / "whole").glob("0*")]) > 10
    folders = [str(path) for path in (large, tokenizer_folder, tmp_path / "s")]
    program = (
        "from pinisi.data import text_parts, tokenize\n"
        f"text_parts.SMALLEST = text_parts.LARGEST = 50_000\ntokenize(*{folders}, workers=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    end, work = time.monotonic() + 300, tmp_path / ".s.parts"
    while process.poll() is None and not [*work.glob("tokens-*/0*")] and time.monotonic() < end:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "s").exists() and [*work.glob("tokens-*/0*")]
    tokenize(large, tokenizer_folder, tmp_path / "s", report=quiet, workers=1)
    assert content(tmp_path / "s") == content(tmp_path / "whole")
    tokenize(large, tokenizer_folder, tmp_path / "two", report=quiet, workers=2)
    assert content(tmp_path / "two") == content(tmp_path / "whole")


def test_held_out_documents_are_in_no_other_shards(large, tokenizer_folder, tmp_path):
    tokenize(large, tokenizer_folder, tmp_path / "all", report=quiet)
    shares = {0.3: None, 0.1: tmp_path / "elsewhere"}
    seen = {}
    for share, aside in shares.items():
        out = tmp_path / f"s{share}"
        index = tokenize(large, tokenizer_folder, out, report=quiet, held_out=share, held_out_folder=aside)
        aside = aside or tmp_path / f"s{share}-held-out"
        assert index == TokenShards(out).index and TokenShards(aside).fingerprint != index["fingerprint"]
        for language in ("id", "vi"):
            names = [
                {
                    TokenShards(each).name(language, n)[0]
                    for n in range(TokenShards(each).counts(language)["documents"])
                }
                for each in (tmp_path / "all", out, aside)
            ]
            assert names[1] | names[2] == names[0] and not names[1] & names[2]
            # 400 draws of .3 have a standard deviation of .023
            assert len(names[2]) / len(names[0]) == pytest.approx(share, abs=0.1)
            seen[share, language] = names[2]
            assert eval_batches(aside, sequence=64, batch=2, language=language)
        said: list[str] = []
        tokenize(large, tokenizer_folder, out, report=said.append, held_out=share, held_out_folder=aside)
        assert len(said) == 2 and all("up to date" in line for line in said)
    assert seen[0.1, "id"] < seen[0.3, "id"]  # a smaller share is a part of a larger one


def test_shards_that_take_back_what_was_held_out_say_so(tmp_path, tokenizer_folder):
    corpus = write_corpus(tmp_path / "c", {"id": [f"teks {number}" for number in range(40)]})
    tokenize(corpus, tokenizer_folder, tmp_path / "s", report=quiet, held_out=0.4)
    said: list[str] = []
    tokenize(corpus, tokenizer_folder, tmp_path / "s", report=said.append)
    assert f"what {tmp_path / 's-held-out'} holds of this text stands in {tmp_path / 's'} too" in said[0]
    few = write_corpus(tmp_path / "few", {"id": ["satu"]})
    with pytest.raises(DataError, match=r"no document with text is (held out|left for training): too few"):
        tokenize(few, tokenizer_folder, tmp_path / "f", report=quiet, held_out=0.5)


def test_a_language_without_a_held_out_document_is_named(tmp_path, tokenizer_folder):
    texts = {"id": [f"teks {number}" for number in range(60)], "th": ["หนึ่ง"]}
    corpus = write_corpus(tmp_path / "c", texts)
    said: list[str] = []
    tokenize(corpus, tokenizer_folder, tmp_path / "s", report=said.append, held_out=0.2)
    side = "held out" if "th" in TokenShards(tmp_path / "s").languages else "left for training"
    assert f"no document of th is {side}: give more text, or another share than 0.2" in said
    assert not any("1 documents" in line or "of id" in line for line in said)


def test_equal_texts_are_held_out_together(tmp_path, tokenizer_folder):
    texts = [f"teks {number % 20}" for number in range(100)]
    corpus = write_corpus(tmp_path / "c", {"id": texts})
    tokenize(corpus, tokenizer_folder, tmp_path / "s", report=quiet, held_out=0.4)
    for folder in (tmp_path / "s", tmp_path / "s-held-out"):
        names = [
            TokenShards(folder).name("id", n)[0] for n in range(TokenShards(folder).counts("id")["documents"])
        ]
        assert len({int(name[3:]) % 20 for name in names}) * 5 == len(names)


@pytest.mark.parametrize("share", [-0.1, 1.0, 3])
def test_a_share_that_is_none_is_refused(odd, tokenizer_folder, tmp_path, share):
    with pytest.raises(DataError, match=r"held_out is .* give a share above 0 and below 1"):
        tokenize(odd, tokenizer_folder, tmp_path / "s", report=quiet, held_out=share)
    with pytest.raises(DataError, match="of 1e-09 no document with text is held out: too few"):
        tokenize(odd, tokenizer_folder, tmp_path / "s", report=quiet, held_out=1e-9)


def test_altered_documents_add_up_and_the_first_stays(tokenizer_folder, tmp_path, monkeypatch):
    other = tmp_path / "t"
    shutil.copytree(tokenizer_folder, other)
    data = json.loads((other / "tokenizer.json").read_text())
    (other / "tokenizer.json").write_text(json.dumps({**data, "normalizer": {"type": "NFC"}}))
    corpus = write_corpus(tmp_path / "c", {"vi": [f"{n} e\u0302 {'a' * n}" for n in range(30)]})
    tokenize(corpus, other, tmp_path / "whole", report=quiet)
    cut_small(monkeypatch, 300)
    said: list[str] = []
    tokenize(corpus, other, tmp_path / "cut", report=said.append)
    assert "vi: 30 of 30 documents do not decode back" in said[0] and "first: document vi/0 " in said[0]
    assert counts(tmp_path / "cut") == counts(tmp_path / "whole")
