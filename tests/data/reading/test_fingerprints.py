"""A fingerprint changes with content, names and cuts, whatever a file's size and time say, and with nothing else."""

import json
import os
import shutil
import time

import pytest

from pinisi.base.errors import DataError
from pinisi.data.reading import Source, fingerprint, fingerprints, parts_of


def of(folder, known=None):
    return fingerprint(parts_of([Source(str(folder))]), known)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "en.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "raw" / "lo.jsonl").write_text('{"text": "b"}\n')
    return tmp_path / "raw"


@pytest.mark.parametrize("cached", [False, True])
def test_an_edit_in_place_with_size_and_time_put_back(folder, tmp_path, monkeypatch, cached):
    monkeypatch.setattr(fingerprints, "FRESH", -1e9)  # what was written just now is trusted, too
    known, path = tmp_path / "known.json" if cached else None, folder / "en.jsonl"
    before, status = of(folder, known), path.stat()
    time.sleep(0.02)  # a kernel's clock ticks each 4 ms
    with path.open("r+b") as file:
        file.seek(10)
        file.write(b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (status.st_size, status.st_mtime_ns, status.st_ino)
    assert of(folder, known) != before


def test_a_copy_a_touch_and_another_place_are_no_change(folder, tmp_path):
    known = tmp_path / "known.json"
    before = of(folder, known)
    os.utime(folder / "en.jsonl", (1, 1))
    (folder / "lo.jsonl").chmod(0o600)
    assert of(folder, known) == of(folder) == before
    shutil.copytree(folder, tmp_path / "elsewhere" / "raw")
    assert of(tmp_path / "elsewhere" / "raw", known) == before
    (folder / "lo.jsonl").rename(folder / "km.jsonl")
    assert of(folder, known) != before


def test_each_file_is_read_once(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "FRESH", -1e9)
    known, seen = tmp_path / "work" / "known.json", []
    true = fingerprints.of_file
    monkeypatch.setattr(fingerprints, "of_file", lambda path: seen.append(path) or true(path))
    before = of(folder, known)
    assert len(seen) == 2 and of(folder, known) == before and len(seen) == 2
    (folder / "km.jsonl").write_text('{"text": "c"}\n')
    assert of(folder, known) != before and len(seen) == 3
    for rubbish in ("", "[]", '{"x": 3}', "{"):
        known.write_text(rubbish)
        assert of(folder, known) == of(folder)


def test_what_was_written_just_now_is_read_again(folder, tmp_path):
    """It could change within the tick of the file system's clock."""
    known = tmp_path / "known.json"
    of(folder, known)
    assert json.loads(known.read_text()) == {}


def test_a_file_that_went_away(folder):
    parts = parts_of([Source(str(folder))])
    (folder / "en.jsonl").unlink()
    with pytest.raises(DataError, match=r"cannot read .*en\.jsonl: No such file"):
        fingerprint(parts)
