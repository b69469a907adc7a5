"""A run replaces and deletes what runs made, and nothing else: in its folder, in work/ and in run.output."""

import json
from pathlib import Path

import pytest

from pinisi.base.errors import DataError
from pinisi.curate.fit import with_limits
from pinisi.curate.made import Made, result_of
from pinisi.curate.run import curate
from pinisi.data.documents import write_documents
from tests.curate.texts import Language

CODES = ("xa", "xb")
RESULT = {"documents/xa.jsonl.zst", "dropped/all.jsonl.zst", "dropped/unreadable.jsonl.zst"}
RESULT |= {"report.html", "report.json", ".pinisi.json"}


@pytest.fixture(scope="module")
def packs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packs")
    for code in CODES:
        with_limits(code, Language(code, seed=1).documents(120)).save(folder / code)
    return folder


@pytest.fixture
def place(tmp_path, packs) -> Path:
    for code in CODES:
        write_documents(tmp_path / "raw" / f"{code}.jsonl", Language(code).documents(20))
    (tmp_path / "c.toml").write_text(
        f'packs = ["{packs}"]\n[run]\nfolder = "{tmp_path}/out"\nworkers = 1\n[[sources]]\npath = "{tmp_path}/raw"\n'
    )
    return tmp_path


def run(place: Path, *overrides: str) -> None:
    curate(place / "c.toml", ["languages=['xa', 'xb']", *overrides], report=lambda line: None)


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("work/")}


def mine(folder: Path, name: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    return folder / name


def test_files_that_no_run_made_stay(place):
    out = place / "out"
    others = ["documents/zz.jsonl.zst", "documents/notes.txt", "dropped/old.jsonl.zst", "top/xa.jsonl.zst"]
    others += ["work/read-notes.txt", "work/near-old/mine.npy", "work/finish-0123456789ab", "table.csv"]
    own = [mine(out, name) for name in others]
    run(place)
    run(place, "languages=['xa']")
    assert [path.read_text() for path in own] == ["mine"] * len(own)


def test_what_an_earlier_configuration_made_goes(place):
    run(place)
    assert files(place / "out") == RESULT | {"documents/xb.jsonl.zst"}
    run(place, "languages=['xa']")
    assert files(place / "out") == RESULT
    stages = [path.name.partition("-")[0] for path in (place / "out" / "work").glob("*-*")]
    assert len(stages) == len(set(stages))


@pytest.mark.parametrize("name", sorted(RESULT - {".pinisi.json"}))
def test_a_file_of_a_results_name_that_no_run_made_is_named_and_left(place, name):
    path = mine(place / "out", name)
    with pytest.raises(DataError, match=rf"out/{name} is there and no curation made it.*run\.folder"):
        run(place)
    assert path.read_text() == "mine" and not list((place / "out" / "work").glob("read-*"))
    path.unlink()
    run(place)


@pytest.mark.parametrize("name", ["documents/xa.jsonl.zst", "report.html", "report.json"])
def test_nor_is_one_in_the_output(place, name):
    path = mine(place / "there", name)
    with pytest.raises(DataError, match=rf"there/{name} is there and no curation put it there.*run\.output"):
        run(place, f"run.output={place}/there")
    assert path.read_text() == "mine"


def test_the_output_keeps_what_is_not_of_the_run(place):
    own = mine(place / "there", "documents/zz.jsonl.zst")
    beside = mine(place / "there2", "documents/xb.jsonl.zst")
    run(place, f"run.output={place}/there")
    assert files(place / "there") == (RESULT | {"documents/xb.jsonl.zst", "documents/zz.jsonl.zst"}) - {
        ".pinisi.json"
    }
    mine(place / "out", "documents/zz.jsonl.zst")  # is not copied, either
    run(place, f"run.output={place}/there", "languages=['xa']")
    assert files(place / "there") == (RESULT | {"documents/zz.jsonl.zst"}) - {".pinisi.json"}
    assert own.read_text() == beside.read_text() == "mine"


def test_another_output_loses_nothing_though_its_name_begins_alike(place):
    run(place, f"run.output={place}/there2")
    before = files(place / "there2")
    run(place, f"run.output={place}/there", "languages=['xa']")
    assert files(place / "there2") == before


def test_another_machine_may_write_the_same_output(place):
    """Its run's folder knows nothing of the copies; the report that lies there does."""
    run(place, f"run.output={place}/there")
    run(place, f"run.output={place}/there", f"run.folder={place}/second")


def test_a_folder_of_a_version_without_a_list_goes_on(place):
    run(place)
    (place / "out" / ".pinisi.json").unlink()
    run(place, "languages=['xa']")
    assert files(place / "out") == RESULT | {"documents/xb.jsonl.zst"}  # nobody knows whose it is


def test_what_a_killed_run_had_begun_to_make_is_its_own(tmp_path):
    names = result_of(["xa"], ["xa"])
    Made(tmp_path).begin(names)  # and is killed
    for name in names:
        mine(tmp_path, name)
    Made(tmp_path).check(names)
    Made(tmp_path).remove_others(["report.json"])
    assert files(tmp_path) == {".pinisi.json", "report.json"}


@pytest.mark.parametrize("content", ["{", "[]", '{"what": "shards", "files": []}', '{"what": "curation"}'])
def test_an_edited_list_never_deletes_another_file(tmp_path, content):
    (tmp_path / "out").mkdir()
    own = mine(tmp_path, "documents/xa.jsonl.zst")
    (tmp_path / "out" / ".pinisi.json").write_text(content)
    Made(tmp_path / "out").remove_others([])
    names = ["../documents/xa.jsonl.zst", str(own), "documents/../../documents/xa.jsonl.zst", 3]
    (tmp_path / "out" / ".pinisi.json").write_text(json.dumps({"what": "curation", "files": names}))
    Made(tmp_path / "out").remove_others([])
    assert own.exists()


def test_a_project_that_moves_goes_on_where_it_was(place, packs, tmp_path_factory):
    (place / "c.toml").write_text(
        f'packs = ["{packs}"]\n[run]\nfolder = "out"\nworkers = 1\n[[sources]]\npath = "raw"\n'
    )
    run(place)
    work = {path.name: path.stat().st_mtime_ns for path in (place / "out" / "work").iterdir()}
    moved = tmp_path_factory.mktemp("moved") / "project"
    place.rename(moved)
    run(moved)
    there = {path.name: path.stat().st_mtime_ns for path in (moved / "out" / "work").iterdir()}
    stages = {name for name in work if name.startswith(("read-", "near-", "finish-"))}
    assert stages and {name: there.get(name) for name in stages} == {name: work[name] for name in stages}
    place.mkdir()  # the fixture's folder
