"""Plain and packed files against the lines that were written, whole, cut off at every byte, and damaged."""

import gzip
import json
import random
import sys
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.data import corpus_files, read_documents, text_parts, tokenize
from pinisi.data.lines import read_lines
from pinisi.data.shards import TokenShards

from .conftest import TEXTS, write_corpus

zstandard = pytest.importorskip("zstandard")


def pack(content: bytes, kind: str, frames: int = 1) -> bytes:
    size = max(1, -(-len(content) // frames))
    parts = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    if kind == ".gz":
        return b"".join(map(gzip.compress, parts))
    if kind == ".zst":
        return b"".join(map(zstandard.ZstdCompressor().compress, parts))
    return content


def drawn(seed: int, lines: int) -> bytes:
    """Lines of very different lengths, some empty, some longer than what is unpacked at once."""
    rng = random.Random(seed)
    made = [rng.randbytes(rng.choice([0, 1, 17, 900, 70001])).replace(b"\n", b"\r") for _ in range(lines)]
    return b"\n".join(made)


@pytest.mark.parametrize("kind", ["", ".gz", ".zst"])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_lines_are_those_that_were_written(tmp_path, kind, frames, seed):
    content = drawn(seed, lines=1 + 13 * seed)
    path = tmp_path / f"x.jsonl{kind}"
    path.write_bytes(pack(content, kind, frames))
    seen: list[int] = []
    assert list(read_lines(path, seen.append)) == content.splitlines(keepends=True) or b"\r" in content
    assert b"".join(read_lines(path)) == content
    assert all(line.find(b"\n") in (-1, len(line) - 1) for line in read_lines(path))
    assert seen == sorted(seen) and (not content or seen[-1] == path.stat().st_size)


@pytest.mark.parametrize("kind", [".gz", ".zst"])
def test_cut_off_anywhere(tmp_path, kind):
    """Cut at any byte: an error that names file, line and byte; lines before it are whole lines of the file."""
    content = b"".join(json.dumps({"text": f"{n} " * (n + 1)}).encode() + b"\n" for n in range(40))
    whole = pack(content, kind)
    path = tmp_path / f"x.jsonl{kind}"
    for size in [*range(1, 30), *range(30, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:size])
        got: list[bytes] = []
        with pytest.raises(DataError) as error:
            got.extend(read_lines(path))
        assert f"{path}:{len(got) + 1}: " in str(error.value) and f"byte {size};" in str(error.value)
        assert content.startswith(b"".join(got))


@pytest.mark.parametrize("kind", [".gz", ".zst"])
def test_damaged(tmp_path, kind):
    path = tmp_path / f"x.jsonl{kind}"
    path.write_bytes(pack(b'{"text": "a"}\n', kind) + b"no packed data at all")
    with pytest.raises(DataError, match=r":2: packed data are damaged before byte \d+"):
        list(read_lines(path))


def test_zstd_without_zstandard_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(pack(b'{"text": "a"}\n', ".zst"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(DataError, match=r"pip install 'pinisi\[curate\]'"):
        list(read_documents(path))
    (tmp_path / "y.jsonl.gz").write_bytes(pack(b'{"text": "a"}\n', ".gz"))
    assert [document.text for document in read_documents(tmp_path / "y.jsonl.gz")] == ["a"]


def packed_corpus(folder: Path) -> Path:
    write_corpus(folder)
    for number, language in enumerate(sorted(TEXTS)):
        plain, kind = folder / f"{language}.jsonl", ["", ".gz", ".zst"][number % 3]
        content = plain.read_bytes()
        plain.unlink()
        (folder / f"{language}.jsonl{kind}").write_bytes(pack(content, kind, frames=2))
    return folder


def test_a_packed_corpus_gives_the_same_tokens(tmp_path, shards_folder, tokenizer_folder):
    corpus = packed_corpus(tmp_path / "c")
    assert list(corpus_files(corpus)) == sorted(TEXTS)
    tokenize(corpus, tokenizer_folder, tmp_path / "s", report=lambda line: None)
    for language in TEXTS:
        for end in (".tokens", ".documents", ".names", ".name_bounds"):
            name = f"00000/{language}{end}"
            assert (tmp_path / "s" / name).read_bytes() == (shards_folder / name).read_bytes()
    assert TokenShards(tmp_path / "s").index["languages"] == TokenShards(shards_folder).index["languages"]


def test_progress_counts_what_lies_on_disk(tmp_path, tokenizer_folder, monkeypatch):
    """Packed files are read to 100 %, not to the size of what is in them."""
    monkeypatch.setattr(sys.modules["pinisi.data.tokenize"], "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(  # each file is a part
        text_parts,
        "_together",
        lambda pieces, most: [text_parts.TextPart((each,), size) for each, size in pieces],
    )
    said: list[str] = []
    corpus = packed_corpus(tmp_path / "c")
    tokenize(corpus, tokenizer_folder, tmp_path / "s", report=said.append)
    size, done = sum(path.stat().st_size for path in corpus.iterdir()), 0
    *said, _ = said  # the last line is what was made
    assert len(said) == len(TEXTS)
    for line, path in zip(said, corpus_files(corpus).values(), strict=True):
        done += path.stat().st_size
        assert f": {done / size:.0%} of " in line


def test_an_id_is_made_of_file_and_line(tmp_path):
    path = tmp_path / "lo.jsonl.gz"
    path.write_bytes(pack('\n{"text": "ກ", "metadata": {"input": "a:3"}}\n'.encode(), ".gz"))
    (document,) = read_documents(path)
    assert (document.id, document.language) == ("lo.jsonl.gz:2", "lo")
    assert document.metadata == {"input": "a:3"}


def test_two_files_of_one_language(tmp_path):
    write_corpus(tmp_path)
    (tmp_path / "lo.jsonl.zst").write_bytes(b"")
    with pytest.raises(DataError, match=r"lo\.jsonl and lo\.jsonl\.zst, both of language 'lo'"):
        corpus_files(tmp_path)
    with pytest.raises(DataError, match="holds no"):
        (tmp_path / "empty").mkdir()
        corpus_files(tmp_path / "empty")
