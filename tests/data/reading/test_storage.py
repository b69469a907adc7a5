"""Sources behind URLs: the same documents as from a folder, parts that are cut, changes that are noticed, errors of one line."""

import gzip
import io
import json
import sys

import pytest
import zstandard

from pinisi.base.errors import ConfigError, DataError
from pinisi.data.lines import read_lines
from pinisi.data.reading import Source, fingerprint, parts_of
from pinisi.data.reading import parts as parts_module
from pinisi.data.storage import is_url, put, remove, under

from .reading import read, texts

fsspec = pytest.importorskip("fsspec")


def lines(name: str, count: int = 30) -> bytes:
    return b"".join(json.dumps({"id": f"{name}{n}", "text": "ក" * n}).encode() + b"\n" for n in range(count))


def files() -> dict[str, bytes]:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = io.BytesIO()
    parquet.write_table(pyarrow.table({"id": ["p"], "text": ["satu"]}), table)
    return {
        "km.jsonl": lines("plain"),
        "a/km.jsonl.zst": zstandard.ZstdCompressor().compress(lines("zstd")),
        "a/b/km.JSONL.GZ": gzip.compress(lines("gzip")),
        "c[1]/id.parquet": table.getvalue(),
        "vi.txt": "Xin chào".encode(),
        ".hidden/km.jsonl": lines("hidden"),
        "a/._km.jsonl": lines("hidden"),
        "a/notes.md": b"no text",
    }


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture
def stored(memory, tmp_path):
    """The same files in a folder and in a store."""
    for name, data in files().items():
        (tmp_path / "crawl" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "crawl" / name).write_bytes(data)
        memory.pipe_file(f"/bucket/crawl/{name}", data)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    ["", "/", "/km.jsonl", "/*/*.zst", "/**/*.jsonl*", "/a/b/*", "/c[1]/id.parquet", "/c[1]", "/*.txt"],
)
@pytest.mark.parametrize("most", [300, 10**9])
def test_the_same_as_from_a_folder(stored, monkeypatch, path, most):
    monkeypatch.setattr(parts_module, "part_size", lambda total: most)
    here, troubles = read(Source(f"{stored}/crawl{path}"))
    there, more = read(Source(f"memory://bucket/crawl{path}"))
    assert here == there and here and not troubles and not more
    assert not any(document.id.startswith("hidden") for document in here)
    cut = [part for part in parts_of([Source(f"memory://bucket/crawl{path}")]) if part.stop is not None]
    assert bool(cut) == (most == 300 and any(document.id.startswith("plain") for document in here))


def test_a_corpus_file_behind_a_url(stored):
    assert list(read_lines("memory://bucket/crawl/a/km.jsonl.zst")) == lines("zstd").splitlines(keepends=True)


def test_a_change_in_a_store_is_noticed_without_reading(stored, memory, monkeypatch):
    before = fingerprint(parts_of(sources := [Source("memory://bucket/crawl")]))
    monkeypatch.setattr(memory, "_open", None)
    assert fingerprint(parts_of(sources)) == before
    monkeypatch.undo()
    memory.pipe_file("/bucket/crawl/vi.txt", b"Xin chao!")  # as many bytes
    assert len("Xin chao!") == len("Xin chào".encode())
    assert fingerprint(parts_of(sources)) != before


def test_checksums_count_where_a_store_has_them(stored, memory, monkeypatch):
    true = memory.info

    def info(path, tag="1", **more):
        return {**true(path, **more), "ETag": tag, "asked": object()}

    monkeypatch.setattr(memory, "info", info)
    before = fingerprint(parts_of(sources := [Source("memory://bucket/crawl/vi.txt")]))
    assert fingerprint(parts_of(sources)) == before
    monkeypatch.setattr(memory, "info", lambda path, **more: info(path, "2", **more))
    assert fingerprint(parts_of(sources)) != before


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory://bucket/nothing", "no such file"),
        ("memory://bucket/crawl/*.zst", "no such file"),
        ("nowhere://bucket/x", "nowhere://bucket/x can't be reached .*nowhere"),
    ],
)
def test_what_is_not_there_is_named(stored, url, said):
    with pytest.raises((ConfigError, DataError), match=said) as error:
        parts_of([Source(url)])
    assert url in str(error.value) and "\n" not in str(error.value)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(DataError, match=r"s3://bucket/x.*s3fs"):
        parts_of([Source("s3://bucket/x")])
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DataError, match=r"fsspec is not installed: pip install 'pinisi\[curate\]'"):
        parts_of([Source("memory://bucket/x")])


@pytest.mark.parametrize(
    "name", ["km.jsonl", "a/km.jsonl.zst", "a/b/km.JSONL.GZ", "c[1]/id.parquet", "vi.txt"]
)
def test_a_store_that_breaks_off_is_no_damage_of_the_file(stored, memory, monkeypatch, name):
    """It ends the run, which then goes on: else the rest of the file would be given up for good."""
    parts = parts_of(sources := [Source(f"memory://bucket/crawl/{name}")])

    class Broken(io.BytesIO):
        def read(self, *arguments):
            raise ConnectionResetError("reset by peer\nand more")

    monkeypatch.setattr(memory, "open", lambda *arguments, **more: Broken())
    with pytest.raises(DataError) as error:
        read(*sources)
    assert str(error.value).startswith(
        f"memory:///bucket/crawl/{name} can't be reached (ConnectionResetError: reset"
    )
    assert "\n" not in str(error.value) and parts


def test_local_paths_do_not_need_fsspec(stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    found = texts(Source(f"{stored}/crawl"))
    assert "Xin chào" in found and len(found) == 92
    assert not is_url(str(stored)) and not is_url("C:\\data") and is_url("hf://datasets/a/b")


@pytest.mark.parametrize("ranges", [False, True])
def test_a_web_server_that_gives_no_parts_of_files(stored, memory, monkeypatch, ranges):
    """Files are cut only where fsspec found that the server has ranges, of which it tells as "partial"."""
    monkeypatch.setattr(parts_module, "part_size", lambda total: 300)

    class Web(type(memory)):
        protocol = "https"
        store = memory.store
        pseudo_dirs = memory.pseudo_dirs

        @classmethod
        def _strip_protocol(cls, path):
            return "/" + path.removeprefix("https://").strip("/")

        def info(self, path, **more):
            return {**super().info(path, **more), **({"partial": True} if ranges else {})}

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "https", Web)
    sources = [Source("https://bucket/crawl/km.jsonl")]
    assert (len(parts_of(sources)) > 1) == ranges
    assert texts(*sources) == ["ក" * n for n in range(30)]


def test_copies_appear_and_others_go(memory, tmp_path):
    (tmp_path / "x").write_bytes(b"new")
    for folder in ("memory://out/run", str(tmp_path / "out")):
        for name in ("a/x.zst", "a/old.zst", "a/notes.txt"):
            put(tmp_path / "x", under(folder, name))
        remove(under(folder, "a/old.zst"))
        remove(under(folder, "a/old.zst"))  # gone already
        left = memory.find("/out/run") if is_url(folder) else (tmp_path / "out" / "a").iterdir()
        assert sorted(str(path).rpartition("/")[2] for path in left) == ["notes.txt", "x.zst"]
    assert memory.cat("/out/run/a/x.zst") == (tmp_path / "out" / "a" / "x.zst").read_bytes() == b"new"
