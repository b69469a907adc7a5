"""A pack from a user's files."""

import gzip
import json

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from pinisi.base.errors import DataError
from pinisi.cli import main
from pinisi.curate.packs import Pack, Packs, build_pack, langpack
from tests.curate.packs.texts import documents, write


@pytest.mark.parametrize("name", ["bb.txt", "bb.jsonl"])
def test_a_file_becomes_a_pack(tmp_path, name):
    texts = documents("bb", 90)
    said = []
    made = langpack(
        "bb",
        write(tmp_path / name, texts),
        tmp_path / "out",
        name="Made up",
        licence="CC0-1.0",
        report=said.append,
    )
    back = Pack.load(tmp_path / "out")
    assert back.version == made.version
    assert (back.name, back.sizes["documents"]) == ("Made up", 90)
    assert back.sources == ({"name": name, "licence": "CC0-1.0", "characters": back.sizes["characters"]},)
    assert len(said) == 1 and "90 documents" in said[0] and "LATIN 100%" in said[0]
    assert Packs.load(["bb"], [tmp_path / "out"]).identify(texts[0])[0][0] == "bb"


def test_a_folder_is_read_in_order(tmp_path):
    texts = documents("bb", 30)
    write(tmp_path / "in" / "b" / "x.txt", texts[20:])
    write(tmp_path / "in" / "a.jsonl", texts[:20])
    (tmp_path / "in" / "note.md").write_text("left alone")
    pack = langpack("bb", tmp_path / "in", tmp_path / "out", report=lambda line: None)
    assert [source["name"] for source in pack.sources] == ["a.jsonl", "b/x.txt"]
    assert pack.sources[0]["licence"] == "not stated"
    assert pack.version == build_pack("bb", [*texts[:20], *(text + "\n" for text in texts[20:])]).version


def test_little_text_is_a_warning(tmp_path):
    said = []
    langpack("bb", write(tmp_path / "bb.txt", documents("bb", 10)), tmp_path / "out", report=said.append)
    assert len(said) == 2 and said[1].startswith("warning: ") and "below 20,000" in said[1]


def test_limits_come_from_who_builds(tmp_path):
    def build(language, documents, **more):
        return build_pack(language, documents, limits={"words": len(documents)}, **more)

    langpack(
        "bb",
        write(tmp_path / "b.txt", documents("bb", 30)),
        tmp_path / "out",
        build=build,
        report=lambda line: None,
    )
    assert Pack.load(tmp_path / "out").limits == {"words": 30}


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("missing.txt", None, r"missing\.txt': no such file"),
        ("a.xyz", b"x", r"a\.xyz is of no known kind; let its name end in \.txt, \.jsonl"),
        ("a.txt", b"", "holds no text"),
        ("a.jsonl", b'{"text": " "}\n', "holds no text"),
        ("a.txt", b"kata " * 100, "got 500 characters of text, needed at least 1,000"),
        ("a.txt", b"kata\nki\xffta\n" * 500, r"a\.txt:2: byte 2 of the line is not UTF-8"),
        ("a.jsonl", b'{"text": "kata"}\n{"text": "\xff"}\n', r"a\.jsonl:2: byte 10 of the line is not UTF-8"),
        ("a.jsonl", b'{"text": "kata"}\n{"no": 1}\n', r"a\.jsonl:2: no key 'text'"),
    ],
)
def test_what_is_wrong_with_the_text_is_said(tmp_path, name, raw, says):
    if raw is not None:
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match=says):
        langpack("bb", tmp_path / name, tmp_path / "out", report=lambda line: None)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_text_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"in': no such file"):
        langpack("bb", tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("kind", ["a.txt.gz", "a.ndjson", "a.parquet", "a.jsonl.gz"])
def test_every_kind_gives_the_same_pack(tmp_path, kind):
    texts = documents("bb", 60)
    path = tmp_path / kind
    if kind.endswith("parquet"):
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)
    elif "txt" in kind:
        path.write_bytes(gzip.compress("\n\n".join(texts).encode()))
    else:
        raw = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        path.write_bytes(gzip.compress(raw) if kind.endswith("gz") else raw)
    pack = langpack("bb", path, tmp_path / "out", report=lambda line: None)
    assert pack.sizes["documents"] == 60 and pack.sources[0]["name"] == kind
    given = [text + "\n" for text in texts[:-1]] + [texts[-1]] if "txt" in kind else texts
    assert pack.version == build_pack("bb", given).version


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_another_language_is_left_out_and_counted(tmp_path, kind):
    """Records that say so, by any code of theirs, and files that are named so."""
    mine, other, said = documents("bb", 60), documents("cc", 20), []
    records = [{"text": text, "language": "bb-Latn"} for text in mine] + [
        {"text": text, "language": "id"} for text in other
    ]
    folder = tmp_path / "in"
    folder.mkdir()
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), folder / "x.parquet")
    else:
        (folder / "x.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    write(folder / "vi.txt", other)
    pack = langpack("bb", folder, tmp_path / "out", report=said.append)
    assert said[0] == "left out: 20 documents in 'id', vi.txt, which say another language than 'bb'"
    assert pack.version == build_pack("bb", mine).version
    with pytest.raises(
        DataError, match=r"holds no text in 'xx' \(left out: 60 documents in 'bb-Latn', 20 documents in 'id'"
    ):
        langpack("xx", folder, tmp_path / "other", report=said.append)


@pytest.mark.parametrize("code", ["", "../x", "a/b", "<b>", "javanese", "x", "j v", "jv.txt"])
def test_a_language_is_a_code(tmp_path, code):
    with pytest.raises(DataError, match="needed its code"):
        langpack(
            code, write(tmp_path / "a.txt", documents("bb", 60)), tmp_path / "out", report=lambda line: None
        )
    assert not (tmp_path / "out").exists()


def test_a_pack_is_not_overwritten_unless_told(tmp_path, capsys):
    first, second = (write(tmp_path / f"{code}.txt", documents(code, 60)) for code in ("bb", "cc"))
    command = ["langpack", "bb", "--from", str(first), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    version = Pack.load(tmp_path / "out").version
    command[3] = str(second)
    assert main(command) == 2 and "holds a pack already" in capsys.readouterr().err
    assert Pack.load(tmp_path / "out").version == version
    assert main([*command, "--overwrite"]) == 0 and Pack.load(tmp_path / "out").version != version


def test_a_url(tmp_path):
    texts = documents("bb", 60)
    raw = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    fsspec.filesystem("memory").pipe_file("/packs/a.jsonl.gz", gzip.compress(raw))
    pack = langpack("bb", "memory://packs/a.jsonl.gz", tmp_path / "out", report=lambda line: None)
    assert pack.version == build_pack("bb", texts).version and pack.sources[0]["name"] == "packs/a.jsonl.gz"


def test_files_that_may_be_of_another_language_are_named(tmp_path):
    said: list[str] = []
    texts = documents("bb", 60)
    write(tmp_path / "in" / "bb.txt", texts[:40])
    write(tmp_path / "in" / "bug.txt", texts[40:])
    langpack("bb", tmp_path / "in", tmp_path / "out", report=said.append)
    assert any("bug.txt is read as 'bb', too, beside bb.txt" in line for line in said)
    said.clear()
    (tmp_path / "in" / "bug.txt").rename(tmp_path / "in" / "longer-name.txt")
    langpack("bb", tmp_path / "in", tmp_path / "out", overwrite=True, report=said.append)
    assert not any("read as" in line for line in said)


def test_text_in_two_scripts_is_said(tmp_path):
    said: list[str] = []
    latin, thai = documents("bb", 40), ["มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ " * 4] * 40
    langpack("bb", write(tmp_path / "two.txt", [*latin, *thai]), tmp_path / "out", report=said.append)
    assert any("the text is in LATIN and THAI" in line for line in said)
    said.clear()
    japanese = ["カタカナとひらがなと漢字がある日本語の文章は一つの言語である。" * 30] * 40
    langpack("ja", write(tmp_path / "ja.txt", japanese), tmp_path / "ja", report=said.append)
    assert not any("the text is in" in line for line in said)


def test_a_name_instead_of_a_code_gets_the_code(tmp_path):
    with pytest.raises(DataError, match="such as jv, which this one has"):
        langpack("Javanese", tmp_path, tmp_path / "out")
