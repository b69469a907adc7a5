"""Data sets by the package `datasets`, streamed from folders as the Hub lays them out; what the Hub itself would say is played."""

import json
import random
from types import SimpleNamespace

import pytest

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.settings import load
from pinisi.curate.config import CurateConfig
from pinisi.data.reading import Source, dataset, fingerprint, parts_of

from .reading import read

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def fresh():
    dataset._stream.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two configurations, one of three shards, the other of two splits."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    base = tmp_path_factory.mktemp("sets") / "news"
    (base / "big").mkdir(parents=True)
    for shard in range(3):
        rows = {"text": [f"{shard}-{n}" for n in range(4)], "stars": list(range(4))}
        parquet.write_table(pyarrow.table(rows), base / "big" / f"train-{shard:05d}-of-00003.parquet")
    (base / "small").mkdir()
    for split in ("train", "test"):
        lines = [
            {"content": {"body": f"{split} {n}"}, "language": "th", "id": n, "url": "https://x"}
            for n in range(3)
        ]
        parquet.write_table(pyarrow.Table.from_pylist(lines), base / "small" / f"{split}.parquet")
    (base / "README.md").write_text(
        "---\nconfigs:\n- config_name: big\n  default: true\n  data_files: big/*.parquet\n"
        "- config_name: small\n  data_files:\n  - split: train\n    path: small/train.parquet\n"
        "  - split: test\n    path: small/test.parquet\n---\n"
    )
    return base


def test_a_part_for_each_shard_and_a_place_for_each_row(folder):
    source = Source(str(folder), format="dataset")
    parts = parts_of([source])
    assert [part.name for part in parts] == [f"news/big/train/{n:05d}" for n in range(3)]
    found, troubles = read(source)
    assert not troubles
    assert [(document.id, document.text) for document in found] == [
        (f"news/big/train/{shard:05d}:{n + 1}", f"{shard}-{n}") for shard in range(3) for n in range(4)
    ]
    first = found[0]
    assert first.metadata == {"stars": 0, "input": "news/big/train/00000:1"}
    assert (first.language, first.source, first.url) == ("auto", "news", "")


def test_configuration_split_and_a_text_within_an_object(folder):
    source = Source(
        str(folder), format="dataset", config="small", split="test", text_key="content.body", name="N"
    )
    found, troubles = read(source)
    assert not troubles and [document.text for document in found] == ["test 0", "test 1", "test 2"]
    assert [document.id for document in found] == ["0", "1", "2"]
    assert {(document.language, document.source, document.url) for document in found} == {
        ("th", "N", "https://x")
    }
    assert found[0].metadata["input"] == "news/small/test/00000:1"


@pytest.mark.parametrize(
    "wrong", [{"config": "none"}, {"split": "none"}, {"path": "no/such-set"}, {"path": "/no/such/folder"}]
)
def test_what_is_not_there_is_named(folder, wrong):
    source = Source(**{"path": str(folder), "format": "dataset", **wrong})
    with pytest.raises(
        ConfigError, match=r"sources\[0\]\.path = '.*': not streamed .*config, split and revision"
    ) as error:
        parts_of([source])
    assert "\n" not in str(error.value)


def test_keys_of_data_sets_need_the_format(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[run]\nfolder = "x"\n[[sources]]\npath = "a/b"\nrevision = "main"\n')
    with pytest.raises(ConfigError, match=r"revision.*format = 'dataset'"):
        load(path, into=CurateConfig)


def test_a_change_of_a_folder_is_noticed(folder):
    source = Source(str(folder), format="dataset", config="small")
    before = fingerprint(parts_of([source]))
    assert fingerprint(parts_of([source])) == before
    path = folder / "small" / "train.parquet"
    data = path.read_bytes()
    assert b"train 0" in data
    path.write_bytes(data.replace(b"train 0", b"train 9"))
    assert fingerprint(parts_of([source])) != before
    path.write_bytes(data)


def test_damage_leaves_the_rows_before_it(folder, tmp_path):
    draw = random.Random(1)
    lines = [json.dumps({"text": draw.randbytes(400).hex()}) for _ in range(40_000)]
    (tmp_path / "en.jsonl").write_text("\n".join([*lines, "{no JSON"]))
    found, troubles = read(Source(str(tmp_path), format="dataset"))
    assert 0 < len(found) < 40_001 and len(troubles) == 1
    assert f"damaged behind row {len(found)}" in troubles[0]


COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub:
    """What `datasets` would make of a data set on the Hub."""

    exceptions = datasets.exceptions

    def __init__(self, error=None):
        self.asked, self.error = [], error

    def disable_progress_bars(self):
        pass

    def load_dataset_builder(self, path, name=None, revision=None):
        self.asked.append((path, name, revision))
        base = f"hf://datasets/{path}@{COMMIT}"
        return SimpleNamespace(base_path=base, config=SimpleNamespace(name="default", data_files={}))

    def load_dataset(self, path, *, name, split, revision, streaming):
        assert streaming
        self.asked.append((path, name, split, revision))
        return self

    num_shards, features = 2, None

    def shard(self, count, index):
        yield {"text": f"{index} of {count}"}
        if self.error:
            raise self.error


@pytest.mark.parametrize("revision", ["", "v1"])
def test_the_commit_is_pinned_for_all_parts_and_recorded(monkeypatch, revision):
    hub = Hub()
    monkeypatch.setattr(dataset, "library", lambda *names: hub)
    source = Source("org/name", format="dataset", revision=revision)
    found, troubles = read(source)
    assert [document.text for document in found] == ["0 of 2", "1 of 2"] and not troubles
    assert found[0].metadata["input"] == f"org/name@{COMMIT}/default/train/00000:1"
    assert found[0].source == "org/name"
    assert hub.asked == [("org/name", None, revision or None), ("org/name", None, "train", COMMIT)]
    before = fingerprint(parts_of([source]))
    monkeypatch.setattr(f"{__name__}.COMMIT", "f" * 40)
    dataset._stream.cache_clear()
    assert fingerprint(parts_of([source])) != before


def test_a_hub_that_can_not_be_reached_ends_the_run_and_bad_rows_do_not(monkeypatch):
    source = Source("org/name", format="dataset")
    monkeypatch.setattr(dataset, "library", lambda *names: Hub(ConnectionError("refused\nmore")))
    with pytest.raises(
        DataError, match=r"org/name@.*/00000: can't be reached behind row 1 \(ConnectionError: refused\)"
    ):
        read(source)
    dataset._stream.cache_clear()
    monkeypatch.setattr(dataset, "library", lambda *names: Hub(ValueError("bad row")))
    found, troubles = read(source)
    assert len(found) == 2 and len(troubles) == 2 and "damaged behind row 1 (bad row)" in troubles[0]


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"datasets is not installed: pip install 'pinisi\[hub\]'"):
        parts_of([Source("org/name", format="dataset")])
