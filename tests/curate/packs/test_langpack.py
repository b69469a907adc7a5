"""A pack from a user's files."""

import pytest

from pinisi.base.errors import DataError
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
        ("missing.txt", None, "no file or folder .*missing.txt"),
        ("a.pdf", b"x", r"got a '\.pdf' file, needed one that ends in \.txt or \.jsonl"),
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
    with pytest.raises(DataError, match=r"in holds no \.txt or \.jsonl file"):
        langpack("bb", tmp_path / "in", tmp_path / "out")
