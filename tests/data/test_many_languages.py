"""More languages than a process may have files, and names of languages that are none."""

import json
import subprocess
import sys

import pytest

from pinisi.base import digests
from pinisi.base.errors import ConfigError, DataError
from pinisi.base.libraries import library
from pinisi.base.open_files import OPEN, OpenFiles
from pinisi.base.settings import load
from pinisi.curate import records
from pinisi.curate.config import CurateConfig
from pinisi.data import TokenShards, tokenize

from ..effort import only_full
from .conftest import write_corpus


@only_full
def test_two_thousand_languages_under_256_handles(tmp_path, tokenizer_folder):
    command = [sys.executable, "-m", "tests.data.many_languages", str(tmp_path), str(tokenizer_folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr


def test_up_to_the_limit_files_are_what_they_were(tmp_path):
    """One frame each, as a single writer makes it."""
    zstandard = library("zstandard")
    lines = {
        f"n{n}": [{"text": f"{n} {k} " + "kapal " * (n * k % 3000)} for k in range(9)] for n in range(OPEN)
    }
    with records.Writers(tmp_path) as writers:
        for k in range(9):
            for name, of in lines.items():
                writers.write(name, of[k])
    for name, of in lines.items():
        with records.packed(tmp_path / "one") as one:
            for record in of:
                one.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        assert (tmp_path / f"{name}.jsonl.zst").read_bytes() == (tmp_path / "one").read_bytes()
        assert zstandard.frame_content_size((tmp_path / "one").read_bytes()) is not None


@pytest.mark.parametrize("most", [1, 3])
def test_files_that_are_opened_again_go_on(tmp_path, most):
    opened: list[str] = []

    def append(path):
        opened.append(path.name)
        return path.open("ab")

    with OpenFiles(append, most) as files:
        for turn in range(5):
            for name in "abcd":
                files.write(tmp_path / name, f"{name}{turn}".encode() * 20_000)
    for name in "abcd":
        assert (tmp_path / name).read_text() == "".join(f"{name}{turn}" * 20_000 for turn in range(5))
    assert len(opened) > 4


def test_a_fault_writes_no_more(tmp_path):
    with pytest.raises(ZeroDivisionError), OpenFiles(lambda path: path.open("ab")) as files:
        files.write(tmp_path / "a", b"a")
        raise ZeroDivisionError
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["../x", "<b>id", "id/../x", "", "a b", "/etc"])
def test_an_index_with_a_language_that_is_no_code_is_refused_by_name(tmp_path, tokenizer_folder, name):
    tokenize(write_corpus(tmp_path / "c"), tokenizer_folder, tmp_path / "s", report=lambda line: None)
    index = json.loads((tmp_path / "s" / "index.json").read_text())
    index["languages"][name] = index["languages"].pop("id")
    index["digest"] = digests.of_index({key: value for key, value in index.items() if key != "digest"})
    (tmp_path / "s" / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError) as error:
        TokenShards(tmp_path / "s")
    assert repr(name) in str(error.value) and "no language's code" in str(error.value)


@pytest.mark.parametrize("name", ["../x", "<b>id", "a b"])
def test_a_curation_with_a_language_that_is_no_code_is_refused_by_name(tmp_path, name):
    path = tmp_path / "c.toml"
    sources = f'[run]\nfolder = "{tmp_path}/o"\n[[sources]]\npath = "x"\n'
    for text, key in (
        (f'languages = ["{name}"]\n{sources}', "languages"),
        (f'{sources}language = "{name}"\n', "language"),
        (f'{sources}[rules.flagged]\n"{name}" = "words.txt"\n', "rules.flagged"),
        (f'{sources}[quality.positives]\n"{name}" = "good"\n', "quality.positives"),
        (f'{sources}[rules.limits."{name}"]\n', "rules.limits"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as error:
            load(path, [], into=CurateConfig)
        assert key in str(error.value) and name in str(error.value)
    path.write_text(f'languages = ["zh-Hans"]\n{sources}language = "auto"\n')
    assert load(path, [], into=CurateConfig).languages == ["zh-Hans"]


@pytest.mark.parametrize("name", ["<b>id", "a b", "part-0"])
def test_a_corpus_file_that_is_not_named_after_a_language_is_refused_by_name(
    tmp_path, tokenizer_folder, name
):
    """Unless its records say theirs."""
    corpus = write_corpus(tmp_path / "c", {name: ["satu dua"]})
    (corpus / f"{name}.jsonl").write_text('{"text": "satu dua", "id": "7"}\n')
    with pytest.raises(DataError) as error:
        tokenize(corpus, tokenizer_folder, tmp_path / "s", report=lambda line: None)
    assert repr(name) in str(error.value) and "no language's code" in str(error.value)
    (corpus / f"{name}.jsonl").write_text('{"text": "satu dua", "language": "id"}\n')
    assert list(
        tokenize(corpus, tokenizer_folder, tmp_path / "s", report=lambda line: None)["languages"]
    ) == ["id"]
