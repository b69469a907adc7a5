"""Byte-order marks, wide characters, zeros behind gzip, odd numbers and records: read right, or named with what to do."""

import gzip
import json
import math

import pytest
import zstandard

from pinisi.base.errors import DataError
from pinisi.curate import records
from pinisi.data.documents import read_documents
from pinisi.data.reading import Source, files
from pinisi.data.reading import documents as documents_module

from .reading import read, texts

BOM = b"\xef\xbb\xbf"
PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("ending", PACK)
def test_a_byte_order_mark_is_no_text(tmp_path, ending):
    (tmp_path / f"a.txt{ending}").write_bytes(PACK[ending](BOM + "สวัสดี".encode()))
    (tmp_path / f"b.jsonl{ending}").write_bytes(
        PACK[ending](BOM + b'{"text": "b"}\n' + BOM + b'{"text": "c"}\n')
    )
    assert texts(Source(str(tmp_path))) == ["สวัสดี", "b", "c"]
    (tmp_path / f"lo.jsonl{ending}").write_bytes(PACK[ending](BOM + b'{"text": "d"}\n'))
    assert [document.text for document in read_documents(tmp_path / f"lo.jsonl{ending}")] == ["d"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("ending", PACK)
def test_wide_text_is_read_and_wide_json_lines_are_named_once(tmp_path, encoding, ending):
    (tmp_path / f"a.txt{ending}").write_bytes(PACK[ending]("សួស្តី 🙂".encode(encoding)))
    assert texts(Source(str(tmp_path))) == ["សួស្តី 🙂"]
    data = "".join(f'{{"text": "{n}"}}\n' for n in range(200_000)).encode(encoding)  # cut into parts
    path = tmp_path / f"b.jsonl{ending}"
    path.write_bytes(PACK[ending](data))
    found, troubles = read(Source(str(path)))
    assert not found and len(troubles) == 1
    assert f"b.jsonl{ending}: is {encoding.upper()}; convert it: iconv -f {encoding} -t utf-8" in troubles[0]


def test_text_that_is_cut_off_in_a_wide_character(tmp_path):
    (tmp_path / "a.txt").write_bytes("abc".encode("utf-16")[:-1])
    found, troubles = read(Source(str(tmp_path)))
    assert not found and "a.txt: byte 6 is not UTF-16" in troubles[0]


@pytest.mark.parametrize("zeros", [1, 511, 2**17])
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_zeros_behind_and_between_what_is_packed(tmp_path, zeros, ending):
    """As tapes and block devices fill up."""
    line = b'{"text": "a"}\n'
    path = tmp_path / f"en.jsonl{ending}"
    path.write_bytes((PACK[ending](line) + bytes(zeros)) * 2)
    assert texts(Source(str(path))) == ["a", "a"]
    assert [document.text for document in read_documents(path)] == ["a", "a"]
    path.write_bytes(PACK[ending](line) + bytes(zeros) + b"something else")
    found, troubles = read(Source(str(path)))
    assert len(found) == 1 and "cut off or damaged behind line 1" in troubles[0]
    path.write_bytes(PACK[ending](line * 1000)[:-7] + bytes(zeros))  # zeros in place of the end are damage
    assert read(Source(str(path)))[1]
    with pytest.raises(DataError):
        list(read_documents(path))


def test_odd_numbers_in_metadata_stay_and_are_written_as_json(tmp_path):
    path = tmp_path / "en.jsonl"
    numbers = {"big": "1" * 5000, "large": "1e999", "none": "NaN", "low": "-Infinity", "long": "9" * 30}
    path.write_text('{"text": "a", ' + ", ".join(f'"{k}": {v}' for k, v in numbers.items()) + "}\n")
    (document,), troubles = read(Source(str(path)))
    assert (
        not troubles and document.metadata["big"] == "1" * 5000 and document.metadata["long"] == int("9" * 30)
    )
    assert document.metadata["large"] == math.inf
    document.metadata["inner"] = [{"x": (math.nan, 1.5)}]
    with records.Writers(tmp_path) as writers:
        writers.write("out", vars(document))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    with zstandard.open(tmp_path / "out.jsonl.zst") as lines:
        written = json.loads(lines.read(), parse_constant=refuse)["metadata"]
    assert [written[key] for key in ("large", "none", "low")] == ["inf", "nan", "-inf"]
    assert written["inner"] == [{"x": ["nan", 1.5]}] and written["long"] == int("9" * 30)


@pytest.mark.parametrize(("depth", "is_read"), [(90, True), (110, False), (900, False)])
def test_metadata_nested_deep(tmp_path, depth, is_read):
    path = tmp_path / "en.jsonl"
    path.write_text('{"text": "a", "x": ' + "[" * depth + "]" * depth + '}\n{"text": "b"}\n')
    found, troubles = read(Source(str(path)))
    assert [document.text for document in found] == ["a", "b"][not is_read :]
    assert is_read or ("en.jsonl:1: " in troubles[0] and "deep" in troubles[0])


def test_a_text_within_an_object(tmp_path):
    path = tmp_path / "en.jsonl"
    rows = [{"a": {"b": "in"}}, {"a.b": "flat", "a": {"b": "in"}}, {"a": "no object"}, {"a": {"b": 3}}]
    path.write_text("\n".join(map(json.dumps, rows)))
    found, troubles = read(Source(str(path), text_key="a.b"))
    assert [document.text for document in found] == ["in", "flat"]
    assert ":3: no text under 'a.b'" in troubles[0] and ":4: a int as text under 'a.b'" in troubles[1]


def test_a_text_too_long_is_named(tmp_path, monkeypatch):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(documents_module, "LINE", 2**20)
    parquet.write_table(pyarrow.table({"text": ["a", "b" * (2**20 + 1), "c"]}), tmp_path / "en.parquet")
    found, troubles = read(Source(str(tmp_path)))
    assert [document.text for document in found] == ["a", "c"]
    assert len(troubles) == 1 and "en.parquet:2: a text of more than 1 Mi characters" in troubles[0]
    monkeypatch.setattr(files, "LINE", 100)
    (tmp_path / "en.parquet").unlink()
    (tmp_path / "x.txt").write_text("y" * 101)
    assert "make it JSON lines" in read(Source(str(tmp_path)))[1][0]


def test_a_source_is_called_as_its_file_without_endings(tmp_path):
    for name in ("en.jsonl", "en.jsonl.gz", "en.jsonl.zst"):
        (tmp_path / name).write_bytes(PACK[name[8:]](b'{"text": "a"}\n'))
    assert {document.source for document in read(Source(str(tmp_path)))[0]} == {"en"}
