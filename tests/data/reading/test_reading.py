"""Parts of the input: each document once wherever the cuts fall; what can't be read is named, and the rest is read."""

import datetime
import gzip
import json
import random

import pytest
import zstandard

from pinisi.base.errors import ConfigError
from pinisi.curate import records
from pinisi.data.reading import Source, documents_of, files, fingerprint, parts_of
from pinisi.data.reading import parts as parts_module
from tests.data.reading.crawl import response


def read(parts, sources):
    troubles: list[str] = []
    found = [
        d
        for part in parts
        for d in documents_of(part, sources[part.source], lambda e: troubles.append(str(e)))
    ]
    return found, troubles


def lines(count, draw, **more):
    return [
        json.dumps({"id": str(n), "text": "ក" * draw.randrange(1, 90), **more}, ensure_ascii=False)
        for n in range(count)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_each_line_is_read_once_wherever_the_parts_begin(tmp_path, monkeypatch, seed):
    draw = random.Random(seed)
    most = draw.randrange(1, 400)
    monkeypatch.setattr(parts_module, "part_size", lambda total: most)
    path = tmp_path / "km.jsonl"
    path.write_text("\n".join(lines(40, draw)) + ("\n" if seed % 2 else ""), "utf-8")
    parts = parts_of(sources := [Source(str(path))])
    found, troubles = read(parts, sources)
    assert [document.id for document in found] == [str(n) for n in range(40)] and not troubles
    assert len(parts) == -(-path.stat().st_size // most)


def test_a_line_too_long_for_memory_is_skipped_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LINE", 300)
    long = json.dumps({"text": "x" * 5000})
    path = tmp_path / "en.jsonl"
    path.write_text("\n".join(['{"text": "a"}', long, '{"text": "b"}', long]), "utf-8")
    for size in (10**9, 1, 700, 5000):
        monkeypatch.setattr(parts_module, "part_size", lambda total, size=size: size)
        found, troubles = read(parts_of(sources := [Source(str(path))]), sources)
        assert [document.text for document in found] == ["a", "b"]
        assert len(troubles) == 2 and all("a line of more than" in trouble for trouble in troubles)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_what_is_torn_is_named_and_the_rest_is_read(tmp_path, ending):
    good = lines(50, random.Random(1), url="https://example.org")
    bad = [b"\xff\xfe", b"{", b"[1]", b'{"id": "7"}', b'{"text": 3}']
    data = b"\n".join([*(line.encode() for line in good[:25]), *bad, *(line.encode() for line in good[25:])])
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[ending]
    path = tmp_path / f"km.jsonl{ending}"
    path.write_bytes(pack(data))
    sources = [Source(str(tmp_path))]
    found, troubles = read(parts_of(sources), sources)
    assert [document.id for document in found] == [str(n) for n in range(50)]
    assert [trouble.split(f"{path}:")[1].split(":")[0] for trouble in troubles] == [
        "26",
        "27",
        "28",
        "29",
        "30",
    ]
    assert all(
        words in trouble
        for words, trouble in zip(("UTF-8", "JSON", "list", "no text", "int"), troubles, strict=True)
    )


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_packed_file_that_is_cut_off_gives_its_lines_and_an_error(tmp_path, ending, share):
    draw = random.Random(2)
    data = "\n".join(
        json.dumps({"text": "".join(draw.choices("abcdefgh", k=90))}) for _ in range(4000)
    ).encode()
    half = len(data) // 2  # two frames, as parts that were put together have
    pack = gzip.compress if ending == ".gz" else zstandard.ZstdCompressor().compress
    packed = pack(data[:half]) + pack(data[half:])
    path = tmp_path / f"en.jsonl{ending}"
    path.write_bytes(packed)
    sources = [Source(str(path))]
    assert len(read(parts_of(sources), sources)[0]) == 4000
    path.write_bytes(packed[: int(len(packed) * share)])
    found, troubles = read(parts_of(sources), sources)
    assert abs(len(found) - 4000 * share) < 1500
    assert str(path) in troubles[-1] and ("cut off" in troubles[-1] or "not JSON" in troubles[0])
    assert any("cut off or damaged" in trouble for trouble in troubles)


def test_parquet_warc_and_text(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {"id": ["a", "b"], "text": ["satu", None], "url": ["https://a", "https://b"], "score": [1, 2]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "id.parquet")
    pages = [
        response("<p>สวัสดี</p>".encode("tis-620"), "Content-Type: text/html; charset=tis-620"),
        response(b"\x89PNG", "Content-Type: image/png"),
    ]
    (tmp_path / "th.warc.gz").write_bytes(b"".join(map(gzip.compress, pages)))
    (tmp_path / "vi.txt").write_text("Xin chào", "utf-8")
    sources = [Source(str(tmp_path), name="sample")]
    found, troubles = read(parts_of(sources), sources)
    by_language = {document.language: document for document in found}
    assert {language: document.text for language, document in by_language.items()} == {
        "id": "satu",
        "th": "สวัสดี",
        "vi": "Xin chào",
    }
    assert by_language["id"].url == "https://a" and by_language["id"].metadata["score"] == 1
    assert by_language["th"].url == "https://example.org/" and by_language["vi"].source == "sample"
    assert len(troubles) == 2 and "id.parquet:2: no text" in troubles[0]
    assert "th.warc.gz:2 (https://example.org/): image/png is no text" in troubles[1]
    (tmp_path / "id.parquet").write_bytes((tmp_path / "id.parquet").read_bytes()[:-9])
    assert any("id.parquet: damaged" in trouble for trouble in read(parts_of(sources), sources)[1])


def test_sources_without_files_and_files_of_no_known_kind(tmp_path):
    with pytest.raises(ConfigError, match=r"sources\[0\]\.path = '.*nothing.*': no such file"):
        parts_of([Source(str(tmp_path / "nothing*"))])
    (tmp_path / "x.bin").write_text("hello")
    with pytest.raises(ConfigError, match=r"x\.bin is of no known kind"):
        parts_of([Source(str(tmp_path / "x.bin"))])
    assert parts_of([Source(str(tmp_path / "x.bin"), format="text")])[0].format == "text"


def test_the_fingerprint_changes_with_a_file(tmp_path):
    path = tmp_path / "en.jsonl"
    path.write_text('{"text": "a"}\n')
    before = fingerprint(parts_of([Source(str(path))]))
    assert fingerprint(parts_of([Source(str(path))])) == before
    path.write_text('{"text": "ab"}\n')
    assert fingerprint(parts_of([Source(str(path))])) != before


def test_nothing_that_a_record_says_is_lost(tmp_path):
    records = [
        {"id": 0, "text": "a", "input": "a question", "quality": 0.9, "stars": 3},
        {"id": "", "text": "b", "metadata": "a string", "language": "xx"},
        {"text": "c", "metadata": {"lineage": None, "stars": 1, "original": {"was": 1}}, "stars": 2},
        {"text": "d", "metadata": {"lineage": ["mended: markup"], "input": "raw/x:3"}, "language": "en"},
    ]
    path = tmp_path / "raw" / "en.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(map(json.dumps, records)), "utf-8")
    sources = [Source(str(path), language="en")]
    found, troubles = read(parts_of(sources), sources)
    assert not troubles and [document.id for document in found] == [
        "0",
        *(f"raw/en.jsonl:{n}" for n in (2, 3, 4)),
    ]
    assert [document.metadata for document in found] == [
        {"stars": 3, "original": {"input": "a question", "quality": 0.9}, "input": "raw/en.jsonl:1"},
        {"original": {"metadata": "a string", "language": "xx"}, "input": "raw/en.jsonl:2"},
        {"stars": 2, "original": {"was": 1, "lineage": None}, "input": "raw/en.jsonl:3"},
        {"lineage": ["mended: markup"], "original": {"input": "raw/x:3"}, "input": "raw/en.jsonl:4"},
    ]


def test_json_nested_too_deep_is_one_bad_line(tmp_path):
    path = tmp_path / "en.jsonl"
    path.write_text('{"text": ' + "[" * 200_000 + '\n{"text": "a"}\n', "utf-8")
    found, troubles = read(parts_of(sources := [Source(str(path))]), sources)
    assert [document.text for document in found] == ["a"]
    assert len(troubles) == 1 and "en.jsonl:1: JSON nested too deep" in troubles[0]


def test_a_name_is_the_path_from_the_sources_folder_on(tmp_path, monkeypatch):
    for year in ("2023", "2024"):
        (tmp_path / year / "data").mkdir(parents=True)
        (tmp_path / year / "data" / "en.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "2023" / "folder.jsonl").mkdir()  # a pattern finds it, and it is no file
    (tmp_path / "2023" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path / "2023" / "data")
    for given, names in (
        (str(tmp_path / "2023"), ["2023/data/en.jsonl:1"]),
        (f"{tmp_path}/*/*/*.jsonl", [f"{tmp_path.name}/{year}/data/en.jsonl:1" for year in ("2023", "2024")]),
        (f"{tmp_path}/2023/*", None),
        ("en.jsonl", ["data/en.jsonl:1"]),
        ("*.jsonl", ["data/en.jsonl:1"]),
        (".", ["data/en.jsonl:1"]),
        ("../../2024", ["2024/data/en.jsonl:1"]),
    ):
        sources = [Source(given)]
        if names is None:
            with pytest.raises(ConfigError, match="no such file"):
                parts_of(sources)
            continue
        assert [document.id for document in read(parts_of(sources), sources)[0]] == names


def test_what_parquet_holds_besides_is_written(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    when = datetime.datetime(2026, 1, 2, 3, 4)
    parquet.write_table(
        pyarrow.table({"text": ["a"], "when": [when], "raw": [b"\x00"]}), tmp_path / "en.parquet"
    )
    (document,), _ = read(parts_of(sources := [Source(str(tmp_path))]), sources)
    with records.Writers(tmp_path) as writers:
        writers.write("out", vars(document))
    (written,) = records.read(tmp_path / "out.jsonl.zst")
    assert written["metadata"]["when"] == str(when) and written["metadata"]["raw"] == "b'\\x00'"
