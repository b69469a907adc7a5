"""What curate reads tokenize reads too: any kind of file, with the language of the record or of the file's name."""

import datetime
import gzip
import json
import sys

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from pinisi.base.errors import DataError
from pinisi.data import TokenShards, decode_span, tokenize
from pinisi.data.languages import is_code, same_language

from .conftest import TEXTS, write_corpus


def quiet(line: str) -> None:
    pass


def conversion(text: str) -> bytes:
    """A WARC record of plain text."""
    body = text.encode()
    head = (
        "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000001>\r\n"
        "WARC-Target-URI: https://example.org/a\r\nWARC-Date: 2024-01-01T00:00:00Z\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def lines(texts: dict[str, list[str]]) -> bytes:
    """One file of records that say their language, in turns."""
    records = [(n, language, text) for language, of in texts.items() for n, text in enumerate(of)]
    records.sort()
    return b"".join(
        json.dumps({"text": text, "language": language}).encode() + b"\n" for _, language, text in records
    )


def tokens(folder) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.glob("00000/*.tokens")}


def test_every_kind_gives_the_same_tokens(tmp_path, shards_folder, tokenizer_folder):
    """A folder of files of all kinds, one language each."""
    folder = tmp_path / "c"
    folder.mkdir()
    for n, text in enumerate(TEXTS["id"]):  # a document a file: several files of one language
        (folder / "deep" / str(n)).mkdir(parents=True)
        (folder / "deep" / str(n) / "id.txt").write_text(text, "utf-8")
    (folder / "vi.txt.gz").write_bytes(gzip.compress(TEXTS["vi"][0].encode()))
    pyarrow.parquet.write_table(
        pyarrow.table({"text": TEXTS["km"], "day": [datetime.date(2020, 1, 2)] * 2}), folder / "km.parquet"
    )
    (folder / "lo.ndjson").write_text(json.dumps({"text": TEXTS["lo"][0]}) + "\n")
    burmese = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS["my"])
    (folder / "my.json.zst").write_bytes(zstandard.compress(burmese))
    (folder / "th.warc.gz").write_bytes(b"".join(gzip.compress(conversion(text)) for text in TEXTS["th"]))
    index = tokenize(folder, tokenizer_folder, tmp_path / "s", report=quiet)
    assert list(index["languages"]) == ["id", "km", "lo", "my", "th", "vi"]
    expected = tokens(shards_folder)
    found = tokens(tmp_path / "s")
    assert all(found[language] == expected[language] for language in ("id", "km", "lo", "my", "th"))
    assert index["languages"]["vi"]["documents"] == 1 and expected["vi"].startswith(found["vi"][:-4])
    assert decode_span(tmp_path / "s", "km", 0).metadata["day"] == "2020-01-02"


def test_the_records_language_parts_one_file(tmp_path, shards_folder, tokenizer_folder):
    expected = tokens(shards_folder)
    for name, content in (("all.jsonl", lines(TEXTS)), ("all.jsonl.gz", gzip.compress(lines(TEXTS)))):
        (tmp_path / name).write_bytes(content)
        out = tmp_path / f"s-{name}"
        index = tokenize(tmp_path / name, tokenizer_folder, out, report=quiet)
        assert tokens(out) == expected and list(index["languages"]) == sorted(TEXTS)
        assert {key: of["documents"] for key, of in index["languages"].items()} == {
            key: len(of) for key, of in TEXTS.items()
        }
    table = [json.loads(line) for line in lines(TEXTS).splitlines()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), tmp_path / "x.parquet")
    tokenize(str(tmp_path / "x.par*"), tokenizer_folder, tmp_path / "p", report=quiet)
    assert tokens(tmp_path / "p") == expected


def test_other_kinds_beside_files_of_languages(tmp_path, shards_folder, tokenizer_folder):
    """Named after a language they are read; else they are left out, as before, and that is said."""
    corpus, said = write_corpus(tmp_path / "c", {key: TEXTS[key] for key in ("id", "vi")}), []
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS["km"]}), corpus / "km.parquet")
    (corpus / "README.txt").write_text("about")
    (corpus / "SOURCES.json").write_text("{}")
    write_corpus(corpus / "eval", {"th": TEXTS["th"]})
    tokenize(corpus, tokenizer_folder, tmp_path / "s", report=said.append)
    expected = tokens(shards_folder)
    assert tokens(tmp_path / "s") == {key: expected[key] for key in ("id", "vi", "km")}
    assert said[0] == "left out, since they are not named after a language: README.txt"


BAD = {
    "traversal": (
        "id.jsonl",
        b'{"text": "a", "language": "../../x"}\n',
        r"id\.jsonl.*says.*'\.\./\.\./x'.*BCP 47",
    ),
    "no language": (
        "README.txt",
        b"about",
        r"README\.txt: its name says.*'README'.*such as id\.txt",
    ),
    "not utf-8": ("id.txt", b"ab\xff", r"id\.txt: byte 2 is not UTF-8"),
    "damaged": ("id.parquet", b"PAR1xx", r"id\.parquet: damaged"),
    "line": ("id.ndjson", b'{"text": "a"}\n{"text": 3}\n', r"id\.ndjson:2.*int"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_file_and_the_place(tmp_path, tokenizer_folder, name):
    file, content, says = BAD[name]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / file).write_bytes(content)
    with pytest.raises(DataError, match=says):
        tokenize(tmp_path / "c", tokenizer_folder, tmp_path / "s", report=quiet)
    assert not (tmp_path / "s").exists()


def test_missing_files(tmp_path, tokenizer_folder):
    (tmp_path / "empty").mkdir()
    for given, says in (
        ("none", "no corpus folder"),
        ("*.jsonl", "no such file"),
        ("empty", "no such file.*txt.*parquet"),
    ):
        with pytest.raises(DataError, match=says):
            tokenize(str(tmp_path / given), tokenizer_folder, tmp_path / "s", report=quiet)


def test_strict_stops_after_the_file(tmp_path, tokenizer_folder):
    """A tokenizer that normalises: the first file's document is named, whichever languages come after."""
    data = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    data["normalizer"] = {"type": "NFC"}
    other = tmp_path / "tokenizer"
    other.mkdir()
    (other / "tokenizer.json").write_text(json.dumps(data))
    (other / "tokenizer_config.json").write_bytes((tokenizer_folder / "tokenizer_config.json").read_bytes())
    (tmp_path / "a.jsonl").write_bytes(lines({"vi": ["e\u0302"], "en": ["plain"]}))
    with pytest.raises(DataError, match=r"vi: 1 of 1 documents do not decode back.*NFC"):
        tokenize(tmp_path / "a.jsonl", other, tmp_path / "s", strict=True, report=quiet)
    said = []
    tokenize(tmp_path / "a.jsonl", other, tmp_path / "s", report=said.append)
    assert said[0].startswith("vi: 1 of 1") and TokenShards(tmp_path / "s").counts("en")["documents"] == 1


def test_a_disk_that_is_too_small_is_said_first(tmp_path, tokenizer_folder, monkeypatch):
    corpus = write_corpus(tmp_path / "c")
    monkeypatch.setattr(sys.modules["pinisi.data.tokenize"], "free_bytes", lambda path: 500)
    with pytest.raises(DataError, match=r"needs .* GiB or more .*free some space"):
        tokenize(corpus, tokenizer_folder, tmp_path / "s", report=quiet)
    assert not (tmp_path / "s").exists()


def test_codes():
    for code in ("id", "ceb", "zh-Hans", "zh_Hans", "ind_Latn", "en-US", "x-mine", "de-CH-1901"):
        assert is_code(code), code
    for name in ("", "README", "part-0", "../x", "<b>", "id/x", "a b", "x", "id.jsonl", "idn\n", "id-"):
        assert not is_code(name), name
    assert same_language("id", "ind_Latn") and same_language("fil", "tl") and same_language("zh-Hans", "cmn")
    assert not same_language("id", "ms") and not same_language("x-a", "x-b")


def test_files_behind_a_url(tmp_path, shards_folder, tokenizer_folder):
    """Their content, as the store tells it, decides whether the shards are up to date."""
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket/a/all.jsonl.gz", gzip.compress(lines(TEXTS)))
    out = tmp_path / "s"
    tokenize("memory://bucket/a/*.jsonl.gz", tokenizer_folder, out, report=quiet)
    assert tokens(out) == tokens(shards_folder)
    assert decode_span(out, "en", 0).id.startswith("a/all.jsonl.gz:")
    said = []
    tokenize("memory://bucket/a/*.jsonl.gz", tokenizer_folder, out, report=said.append)
    assert "up to date" in said[0]
    store.pipe_file("/bucket/a/all.jsonl.gz", gzip.compress(lines({"lo": TEXTS["lo"]})))
    assert list(tokenize("memory://bucket/a", tokenizer_folder, out, report=quiet)["languages"]) == ["lo"]
    with pytest.raises(DataError, match=r"memory://bucket/none.*no such file"):
        tokenize("memory://bucket/none", tokenizer_folder, out, report=quiet)
