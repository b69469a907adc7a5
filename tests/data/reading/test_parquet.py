"""Parquet: every column is kept, one bad value costs one row, one bad group its rows, and a small file stays small."""

import random

import pyarrow
import pytest
from pyarrow import parquet

from pinisi.data.reading import Source
from pinisi.data.reading import parquet as parquet_module
from tests.effort import only_full

from .reading import peak, read, texts
from .test_bounded import DOCUMENTS


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_those_that_were_written(tmp_path, monkeypatch, seed, dictionary):
    """Of one column the text, of the others the metadata, in groups and batches of any size."""
    draw = random.Random(seed)
    monkeypatch.setattr(parquet_module, "ROWS", draw.choice([1, 7, 1000]))
    monkeypatch.setattr(parquet_module, "BATCH", draw.choice([1, 2000, 2**26]))
    rows = [
        {
            "text": draw.choice(["satu", "dua", "ស" * draw.randrange(1, 500)]),
            "kind": draw.choice(["news", None]),
            "raw": draw.randbytes(3),
            "tags": draw.choices(["x", "y"], k=draw.randrange(3)),
            "of": {"n": draw.random(), "s": draw.choice(["p", "q"])},
        }
        for _ in range(200)
    ]
    parquet.write_table(
        pyarrow.Table.from_pylist(rows), tmp_path / "id.parquet", row_group_size=61, use_dictionary=dictionary
    )
    found, troubles = read(Source(str(tmp_path)))
    assert not troubles and [document.text for document in found] == [row["text"] for row in rows]
    for number, (document, row) in enumerate(zip(found, rows, strict=True), 1):
        assert document.id == document.metadata["input"] == f"{tmp_path.name}/id.parquet:{number}"
        assert {key: document.metadata[key] for key in ("kind", "raw", "tags", "of")} == {
            key: row[key] for key in ("kind", "raw", "tags", "of")
        }


def test_a_text_that_a_dictionary_has_once(tmp_path):
    """30 MiB in a dictionary, named 20,000 times."""
    indices = pyarrow.array([0] * 20_000, pyarrow.int32())
    column = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x" * (30 * 2**20)]))
    parquet.write_table(pyarrow.table({"text": column}), path := tmp_path / "en.parquet", compression="zstd")
    assert path.stat().st_size < 10_000
    memory, said = peak(DOCUMENTS, str(path))
    assert memory < 220 and "rows 1 to 20000 can't be read" in said and "more than 250 times" in said


def test_a_group_that_says_how_much_it_becomes(tmp_path):
    table = pyarrow.table({"text": ["y" * 2**20] * 200})
    path = tmp_path / "en.parquet"
    with parquet.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False) as writer:
        writer.write_table(table.slice(0, 1), row_group_size=1)
        writer.write_table(table)
        writer.write_table(table.slice(0, 1), row_group_size=1)
    memory, said = peak(DOCUMENTS, str(path))
    assert memory < 60 and "rows 2 to 201 can't be read" in said
    assert said.count(str(2**20)) == 2  # the rows before and behind


@only_full
def test_long_texts_are_read_few_at_a_time(tmp_path):
    draw = random.Random(5)
    long = [draw.randbytes(2**20).hex() for _ in range(4)]
    table = pyarrow.table({"text": [long[n % 4] + str(n) for n in range(200)]})
    parquet.write_table(table, path := tmp_path / "en.parquet", use_dictionary=False, row_group_size=200)
    memory, said = peak(DOCUMENTS, str(path))
    assert len(said.splitlines()) == 200 and memory < 350  # 400 MB of text in one group


def test_times_that_python_does_not_know_and_bytes_that_are_no_text(tmp_path):
    far = pyarrow.array([1, 2**62, 3], pyarrow.timestamp("us"))
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(),
        3,
        [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0\4\0\0\0"), pyarrow.py_buffer(b"a\xff\xfec")],
    )
    parquet.write_table(pyarrow.table({"text": ["a", "b", "c"], "when": far}), tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"text": broken}), tmp_path / "b.parquet")
    found, troubles = read(Source(str(tmp_path)))
    assert [document.text for document in found] == ["a", "b", "c", "a", "c"]
    assert isinstance(found[1].metadata["when"], str) and str(2**62) in found[1].metadata["when"]
    assert len(troubles) == 1 and "b.parquet:2: 'utf-8' codec can't decode" in troubles[0]


def test_a_damaged_group_costs_its_own_rows(tmp_path):
    draw = random.Random(3)
    rows = ["".join(draw.choices("abcdefgh", k=200)) for _ in range(300)]
    path = tmp_path / "en.parquet"
    parquet.write_table(pyarrow.table({"text": rows}), path, row_group_size=100, use_dictionary=False)
    first = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[first : first + 300] = bytes(300)
    path.write_bytes(data)
    found, troubles = read(Source(str(tmp_path)))
    assert [document.text for document in found] == rows[:100] + rows[200:]
    assert len(troubles) == 1 and "rows 101 to 200 can't be read" in troubles[0]
    assert found[-1].id.endswith(":300")


def test_a_parquet_without_rows(tmp_path):
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "en.parquet")
    assert texts(Source(str(tmp_path))) == []
