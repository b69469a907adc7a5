"""A built wheel, used outside of the clone, holds what the editable installation has and does the same."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pinisi.data.documents import Document, write_documents

ROOT = Path(__file__).parent.parent
TEXT = "Kapal itu berlayar dari pelabuhan kecil di selatan menuju pulau yang jauh, dengan layar putih dan muatan kayu."


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The unpacked wheel. It is built from a copy, so that nothing is left in the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "out",
        ".",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (built,) = (folder / "out").glob("*.whl")
    with zipfile.ZipFile(built) as file:
        file.extractall(folder / "site")
    return folder / "site"


def test_it_holds_every_file_of_the_package(wheel):
    def files(folder: Path) -> set[str]:
        paths = (path.relative_to(folder) for path in (folder / "pinisi").rglob("*") if path.is_file())
        return {path.as_posix() for path in paths if "__pycache__" not in path.parts}

    assert files(wheel) == files(ROOT / "src")


def test_it_curates_outside_of_the_clone(wheel, tmp_path):
    write_documents(tmp_path / "id.jsonl", (Document(f"d{n}", f"{TEXT} Nomor {n}.", "id") for n in range(3)))
    (tmp_path / "curate.toml").write_text(
        '[run]\nfolder = "out"\nworkers = 1\n[[sources]]\npath = "id.jsonl"\n'
    )
    program = "import pinisi, sys; print(pinisi.__file__); from pinisi.cli import main; sys.exit(main(['curate', 'curate.toml']))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(wheel)) and (tmp_path / "out" / "documents" / "id.jsonl.zst").exists()
    page = (tmp_path / "out" / "report.html").read_text("utf-8")  # made of the wheel's templates
    style = (ROOT / "src" / "pinisi" / "report" / "templates" / "style.css").read_text("utf-8")
    assert "Pinisi curation report" in page and style in page
