"""Nothing is replaced that we did not make."""

import os
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.base.made import check_ours, mark

STRANGE = {
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to a folder": lambda path: path.symlink_to("/"),
    "an empty folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
}


def make(out):
    with new_folder(out) as new:
        (new / "inner").mkdir()
        (new / "inner" / "ours").write_text("")
        mark(new, "things")
    return out


@pytest.mark.parametrize("strange", STRANGE)
def test_whatever_else_is_in_our_folder_is_left_alone(tmp_path, strange):
    out = make(tmp_path / "out")
    check_ours(out, "things", "--out")
    STRANGE[strange](out / "mine")
    with pytest.raises(DataError, match="holds mine, which was not put there"):
        check_ours(out, "things", "--out")


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_leads_to_what_was_made(tmp_path, there):
    if there:
        (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    make(tmp_path / "link")
    make(tmp_path / "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target" / "inner" / "ours").exists()


def test_the_working_folder_can_be_made(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make(Path("."))
    assert (tmp_path / "here" / "inner" / "ours").exists()
