"""What is said before a curation: documents are counted from beginnings, time by a clock, room from what is kept."""

import gzip
import json
import types

import pyarrow
import pyarrow.parquet
import pytest

from pinisi.base.errors import DataError
from pinisi.curate import estimate as module
from pinisi.curate.run import curate
from tests.curate.test_run import config, packs  # noqa: F401
from tests.curate.texts import Language
from tests.effort import only_full

COUNT = 400


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock is .01 s later, so that a document takes .01 s; 20 of them are a sample."""
    seconds = iter(range(10**9))
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: next(seconds) / 100))
    monkeypatch.setattr(module, "SECONDS", 0.195)
    monkeypatch.setattr(module, "SMALL", 0)


def write(path, kind: str) -> None:
    records = [{"text": document.text, "language": "xa"} for document in Language("xa").documents(COUNT)]
    raw = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.mkdir()
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path / "a.parquet")
    elif kind == "txt":
        for n, record in enumerate(records):
            (path / str(n)).mkdir()
            (path / str(n) / "xa.txt").write_text(record["text"])
    else:
        (path / f"a.{kind}").write_bytes(gzip.compress(raw) if kind.endswith("gz") else raw)


def said(path, *overrides: str) -> list[str]:
    lines: list[str] = []
    curate(path, overrides, report=lines.append)
    return lines


@pytest.mark.parametrize(
    ("kind", "off"),
    [
        pytest.param("jsonl", 0.1, marks=only_full),
        pytest.param("jsonl.gz", 0.1, marks=only_full),
        ("parquet", 0.01),
        pytest.param("txt", 0.1, marks=only_full),
    ],
)
def test_documents_time_and_room(tmp_path, packs, clock, kind, off):  # noqa: F811
    write(tmp_path / "raw", kind)
    path = config(tmp_path, tmp_path / "raw", packs)
    found = module.estimate(*_tools(path))
    assert found is not None and abs(found.documents - COUNT) <= off * COUNT
    assert found.seconds == pytest.approx(found.documents * 0.01 * (1 + module.LATER), rel=0.15)
    (line,) = [line for line in said(path) if line.startswith("input: ")]
    assert "documents; about" in line and "with 1 worker;" in line and "are free" in line
    packed = (tmp_path / "out" / "documents" / "xa.jsonl.zst").stat().st_size
    vectors = sum(file.stat().st_size for file in (tmp_path / "out" / "work").rglob("xa.npz"))
    assert 0.3 < found.room / (3 * packed + vectors) < 3


def _tools(path):
    from pinisi.base.settings import load
    from pinisi.curate.config import CurateConfig
    from pinisi.curate.tools import Tools
    from pinisi.data.reading import parts_of

    tools = Tools(load(path, into=CurateConfig))
    return tools, parts_of(tools.config.sources)


def test_a_disk_that_is_too_small_stops_before_the_work(tmp_path, packs, clock, monkeypatch):  # noqa: F811
    write(tmp_path / "raw", "jsonl")
    path = config(tmp_path, tmp_path / "raw", packs)
    monkeypatch.setattr(module, "free_bytes", lambda folder: 1000)
    with pytest.raises(
        DataError,
        match=r"run\.folder = .*out' has 0 MiB free.*needed: free some space.*run\.estimate = false",
    ):
        said(path)
    assert not list((tmp_path / "out").rglob("*.zst"))
    lines = said(path, "run.estimate=false")
    assert lines[0].startswith("input: ") and "documents" not in lines[0]
    assert (tmp_path / "out" / "documents" / "xa.jsonl.zst").exists()
    assert not any(line.startswith("input: ") for line in said(path))  # it goes on, so nothing is estimated


def test_little_input_is_not_measured(tmp_path, packs, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "estimate", lambda *_: pytest.fail("measured"))
    write(tmp_path / "raw", "jsonl")
    assert said(config(tmp_path, tmp_path / "raw", packs))[0].startswith("input: ")


def test_what_can_not_be_read_is_no_trouble(tmp_path, packs, clock):  # noqa: F811
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_text("nothing\n")
    assert module.estimate(*_tools(config(tmp_path, tmp_path / "raw", packs))) is None
