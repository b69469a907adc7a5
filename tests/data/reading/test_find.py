"""Which files a path means: literal brackets, links, endings in capitals, hidden ones, folders within one another."""

import gzip
import itertools
import os
from pathlib import Path

import pytest
import zstandard

from pinisi.base.errors import ConfigError, DataError
from pinisi.data.reading import Source, parts_of
from pinisi.data.reading.find import find, matches, reads

from .reading import texts


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"text": "{text}"}}\n')
    return path


def test_brackets_in_a_name_are_brackets(tmp_path):
    write(tmp_path / "crawl[1].jsonl", "with")
    write(tmp_path / "crawl1.jsonl", "without")
    assert texts(Source(f"{tmp_path}/crawl[1].jsonl")) == ["with"]
    (tmp_path / "crawl[1].jsonl").unlink()
    assert texts(Source(f"{tmp_path}/crawl[1].jsonl")) == ["without"]  # now it can only be a pattern
    write(tmp_path / "year[2024]" / "a" / "en.jsonl", "folder")
    for path in ("year[2024]", "year[2024]/*/*.jsonl", "year[2024]/**/*.jsonl", "year[2024]/a/e?.jsonl"):
        assert texts(Source(f"{tmp_path}/{path}")) == ["folder"]


def test_endings_in_capitals(tmp_path):
    line = b'{"text": "a"}\n'
    (tmp_path / "EN.JSONL").write_bytes(line)
    (tmp_path / "b.Jsonl.ZST").write_bytes(zstandard.ZstdCompressor().compress(line))
    (tmp_path / "c.TXT.GZ").write_bytes(gzip.compress(b"a"))
    (tmp_path / "d.NDJSON.gz").write_bytes(gzip.compress(line))
    assert texts(Source(str(tmp_path))) == ["a"] * 4
    assert texts(Source(f"{tmp_path}/*.*")) == ["a"] * 4


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path):
    write(tmp_path / "elsewhere" / "x" / "en.jsonl", "elsewhere")
    raw = tmp_path / "raw"
    write(raw / "real" / "en.jsonl", "here")
    (raw / "link").symlink_to(tmp_path / "elsewhere")
    (raw / "a second name").symlink_to(raw / "real")
    (raw / "real" / "loop").symlink_to(raw)
    (raw / "real" / "self").symlink_to(raw / "real")
    (tmp_path / "source").symlink_to(raw)
    for path in ("raw", "source", "raw/**/*.jsonl", "source/**", "source/**/en.jsonl"):
        assert sorted(texts(Source(f"{tmp_path}/{path}"))) == ["elsewhere", "here"]
    names = [part.name for part in parts_of([Source(f"{tmp_path}/source")])]
    assert names == ["raw/link/x/en.jsonl", "raw/real/en.jsonl"]
    assert texts(Source(f"{tmp_path}/raw/link/x/*")) == ["elsewhere"]
    assert texts(Source(f"{tmp_path}/raw/*/en.jsonl")) == ["here"] * 2  # it names each of the two folders


def test_what_is_hidden_or_not_whole_is_left_out(tmp_path):
    write(tmp_path / "en.jsonl", "a")
    for name in ("._en.jsonl", ".DS_Store", ".en.jsonl.77.partial", ".cache/en.jsonl", "x/.tmp/en.jsonl"):
        write(tmp_path / name, "hidden")
    for path in ("", "*.jsonl", "**/*.jsonl", "**"):
        assert texts(Source(f"{tmp_path}/{path}")) == ["a"]
    assert texts(Source(f"{tmp_path}/.cache")) == ["hidden"]  # asked for by name
    assert texts(Source(f"{tmp_path}/._en.jsonl")) == ["hidden"]


def test_empty_files_are_fine(tmp_path):
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "b.ndjson"):
        (tmp_path / name).write_bytes(b"")
    assert texts(Source(str(tmp_path))) == []


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    write(tmp_path / "open" / "en.jsonl", "a")
    (tmp_path / "shut").mkdir()
    true = os.scandir

    def scandir(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return true(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"shut: Permission denied"):
        parts_of([Source(str(tmp_path))])


def test_nothing_there(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        parts_of([Source(str(tmp_path))])
    with pytest.raises(ConfigError, match="no such file"):
        parts_of([Source(f"{tmp_path}/no/such/en.jsonl")])


def test_patterns_mean_what_pathlib_means(tmp_path):
    """Against pathlib's own matching, over all small trees of two letters."""
    names = ["a", "b", "ab"]
    paths = [parts for depth in (1, 2, 3) for parts in itertools.product(names, repeat=depth)]
    for pattern in ("*", "a/*", "**/b", "a/**/b", "**", "*/a*", "**/a/**/b", "[ab]/b", "?"):
        for path in paths:
            (tmp_path / "t" / Path(*path)).parent.mkdir(parents=True, exist_ok=True)
        wanted = {
            path
            for path in paths
            if any(
                Path(*path).match(each) and len(Path(each).parts) == len(path)
                for each in _without_stars(pattern, 3)
            )
        }
        assert {path for path in paths if matches(path, pattern.split("/"))} == wanted, pattern


def _without_stars(pattern: str, most: int) -> list[str]:
    """The pattern with each ** as none to `most` single stars."""
    if "**" not in pattern.split("/"):
        return [pattern]
    first, _, last = pattern.partition("**")
    found = []
    for count in range(most + 1):
        middle = "/".join(["*"] * count)
        whole = "/".join(each for each in (first.strip("/"), middle, last.strip("/")) if each)
        found += _without_stars(whole, most) if whole else []
    return found


@pytest.mark.parametrize(
    ("given", "is_read"),
    [
        ("", True),
        ("out", True),
        ("**/*.zst", True),
        ("out/documents/*", True),
        ("out/documents", True),
        ("*/*/en.jsonl.zst", True),
        ("*.jsonl.zst", False),
        ("raw", False),
        ("out/raw", False),
        ("out/*.zst", False),
        ("o", False),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_what_a_source_would_read(tmp_path, given, is_read, there):
    """The file is there or not; in a folder, in a store."""
    path = tmp_path / "out" / "documents" / "en.jsonl.zst"
    if there:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        found = {each.path for each in find(f"{tmp_path}/{given}", lambda name: True)}
        assert (str(path) in found) == is_read
    if there or "/" not in given:  # a folder that isn't there is a pattern, which reads nothing yet
        assert reads(f"{tmp_path}/{given}", str(path)) == (is_read and (there or given != "out"))
    assert reads(f"s3://b/{given}".rstrip("/"), "s3://b/out/documents/en.jsonl.zst") == is_read
