"""Settings that can't work are refused in one line that names the key, before any work."""

import pytest

from pinisi.base.errors import PinisiError
from pinisi.curate.run import curate
from pinisi.data.documents import Document, write_documents
from pinisi.recipe import cluster

TEXT = "Ibu membeli beras dan minyak di pasar bersama adik kemarin sore."


@pytest.fixture
def place(tmp_path):
    write_documents(tmp_path / "x.jsonl", [Document("a", TEXT, "id")])
    (tmp_path / "c.toml").write_text(
        f'[run]\nfolder = "{tmp_path}/out"\nworkers = 1\n[[sources]]\npath = "{tmp_path}/x.jsonl"\n'
    )
    return tmp_path


def run(place, *overrides):
    curate(place / "c.toml", overrides, report=lambda line: None)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("run.folder=''", "run.folder"),
        ("run.folder=/proc/x", "cannot write /proc/x"),
        ("run.folder=/dev/null", "cannot write /dev/null"),
        ("rules.limits.id={word=3}", "rules.limits.id"),
        ("rules.limits.id={words=nan}", "rules.limits.id.words is nan"),
        ("rules.limits.xx={words=3}", "rules.limits.xx: no language pack"),
    ],
)
def test_odd_settings_are_refused_by_name(place, setting, said, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(PinisiError) as error:
        run(place, setting)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert {path.name for path in place.iterdir()} == {"c.toml", "x.jsonl"}


def test_ray_that_is_not_installed_is_named(place, monkeypatch):
    pytest.importorskip("datatrove")
    library = cluster.library

    def missing(module, extra="curate"):
        return library("no_such_module" if module == "ray" else module, extra)

    monkeypatch.setattr(cluster, "library", missing)
    with pytest.raises(PinisiError, match="is not installed"):
        run(place, "run.executor=ray")


def test_an_output_may_be_a_file_url(place):
    run(place, f"run.output=file://{place}/a/b")
    assert (place / "a" / "b" / "documents" / "id.jsonl.zst").is_file()
