"""Small files that unpack to gigabytes, in a process whose memory is measured: read in pieces, and not to the end."""

import gzip
import json
import random
import struct
import zlib
from pathlib import Path

import pytest
import zstandard

from pinisi.base.errors import DataError
from pinisi.data import unpack
from pinisi.data.lines import opened, read_lines
from pinisi.data.reading import Source

from .reading import peak, read

GIGABYTES = 2
MOST = 220  # MiB: of three buffers as long as the longest line, 64 MiB, and what zlib and zstd hold
DOCUMENTS = """
sources, troubles = [Source(sys.argv[1])], []
for part in parts_of(sources):
    for document in documents_of(part, sources[0], lambda error: troubles.append(str(error))):
        print(len(document.text))
print("\\n".join(troubles))
"""
LINES = """
try:
    print(sum(1 for line in read_lines(sys.argv[1])))
except Exception as error:
    print(error)
"""


def zstd_frame(path: Path) -> None:
    """One frame, as `zstd -19` writes it."""
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    with path.open("wb") as out:
        for _ in range(64 * GIGABYTES):
            out.write(packer.compress(bytes(2**24)))
        out.write(packer.flush())


def zstd_frames(path: Path) -> None:
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(2**24)) * 64 * GIGABYTES)


def zstd_runs(path: Path) -> None:
    """A block of 128 KiB of one letter in four bytes, as often as there is room."""
    block = struct.pack("<I", (1 << 1) | (2**17 << 3))[:3] + b"x"
    last = struct.pack("<I", 1 | (1 << 1) | (2**17 << 3))[:3] + b"x"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\x58" + block * (2**13 * GIGABYTES - 1) + last)


def gzip_member(path: Path) -> None:
    """What 16 MiB of zeros become, again and again in one member; its checksum is never come to."""
    packer = zlib.compressobj(9, wbits=31)
    begin = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(begin + block * 64 * GIGABYTES + packer.flush())


def gzip_members(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes(2**24)) * 64 * GIGABYTES)


BOMBS = [
    (".zst", zstd_frame),
    (".zst", zstd_frames),
    (".zst", zstd_runs),
    (".gz", gzip_member),
    (".gz", gzip_members),
]


@pytest.mark.parametrize(("ending", "write"), BOMBS, ids=[write.__name__ for _, write in BOMBS])
def test_a_file_that_unpacks_to_gigabytes(tmp_path, ending, write):
    write(path := tmp_path / f"en.jsonl{ending}")
    assert path.stat().st_size < 2**22
    memory, said = peak(DOCUMENTS, str(path))
    assert memory < MOST and "more than 250 times" in said and f"{path}: " in said
    assert "unpack the file and give that" in said


@pytest.mark.parametrize(("ending", "write"), [BOMBS[2], BOMBS[3]], ids=["zstd", "gzip"])
def test_so_does_a_text_and_a_corpus_file(tmp_path, ending, write):
    write(path := tmp_path / f"en.txt{ending}")
    for code in (DOCUMENTS, LINES):
        memory, said = peak(code, str(path))
        assert memory < MOST and "more than 250 times" in said


def test_much_that_packs_well_behind_ordinary_text(tmp_path):
    """What came before does not make up for it; whole lines before it are read."""
    line = json.dumps({"text": "a" * 100}).encode() + b"\n"
    drawn = random.Random(1).randbytes(8_000_000)  # which stays as long: a gigabyte is 125 times as much
    path = tmp_path / "en.jsonl.zst"
    plain = zstandard.ZstdCompressor(level=1).compress(line * 10 + drawn.replace(b"\n", b"") + b"\n")
    path.write_bytes(plain + zstandard.ZstdCompressor().compress(bytes(2**24)) * 64)
    found, troubles = read(Source(str(path)))
    assert len(found) == 10 and "250 times" in troubles[-1]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_text_that_packs_well_is_read(tmp_path, ending):
    """A page of a hundred lines again and again, 80 MB at 1 : 100 or more."""
    page = b"".join(json.dumps({"text": f"line {n} {n * n * 7919:x}"}).encode() + b"\n" for n in range(100))
    pack = gzip.compress if ending == ".gz" else zstandard.ZstdCompressor(level=3).compress
    lines, times = 100, 2**20 * 80 // len(page)
    data = b"".join(pack(page * 50) for _ in range(times // 50))
    path = tmp_path / f"en.jsonl{ending}"
    path.write_bytes(data)
    assert sum(1 for _ in read_lines(path)) == lines * 50 * (times // 50)


def test_pieces_are_small_whatever_is_packed(tmp_path):
    for ending, write in BOMBS[2:4]:
        write(path := tmp_path / f"en.jsonl{ending}")
        with path.open("rb") as file:
            pieces = unpack.pieces(path, file)
            assert max(len(next(pieces)) for _ in range(50)) <= unpack.PIECE


def test_a_frame_that_asks_for_much_memory(tmp_path):
    """zstd --long=28 and more."""
    wide = zstandard.ZstdCompressionParameters(window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    path = tmp_path / "en.jsonl.zst"
    path.write_bytes(packer.compress(b'{"text": "a"}\n') + packer.flush())
    found, troubles = read(Source(str(path)))
    assert (
        not found
        and "a window of more than 128 MiB" in troubles[0]
        and "without zstd's --long" in troubles[0]
    )
    with pytest.raises(DataError, match="a window of more than 128 MiB"):
        list(read_lines(path))


def test_a_line_without_end_is_an_error_of_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr("pinisi.data.lines.LINE", 2**20)
    path = tmp_path / "en.jsonl"
    path.write_bytes(b"a\nb\n" + b"x" * 2**22)
    got = []
    with pytest.raises(DataError, match=rf"{path}:3: a line of more than 1 MiB"):
        got.extend(read_lines(path))
    assert got == [b"a\n", b"b\n"]


def test_read_in_pieces_it_is_what_was_packed(tmp_path):
    for pack, ending in ((gzip.compress, ".gz"), (zstandard.ZstdCompressor().compress, ".zst")):
        data = bytes(2**22) + bytes(range(256)) * 2**14 + bytes(2**22)
        path = tmp_path / f"x{ending}"
        path.write_bytes(pack(data[: 2**21]) + pack(data[2**21 :]))
        with opened(path) as file:
            assert file.read() == data
        with opened(path, unpack=False) as file:
            assert file.read() == path.read_bytes()
