"""What a run reads and writes: not its own output, its result where it is wanted, anew only what has changed."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError, DataError
from pinisi.curate.fit import with_limits
from pinisi.curate.packs import Pack
from pinisi.curate.packs.content import content
from pinisi.curate.run import curate
from pinisi.data.documents import write_documents
from tests.curate.texts import Language

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packs") / "xa"
    with_limits("xa", Language("xa", seed=1).documents(120)).save(folder)
    return folder


@pytest.fixture
def place(tmp_path, pack) -> Path:
    """A folder with a source, a pack and a configuration."""
    shutil.copytree(pack, tmp_path / "packs" / "xa")
    write_documents(tmp_path / "raw" / "xa.jsonl", Language("xa").documents(20))
    (tmp_path / "c.toml").write_text(
        f'languages = ["xa"]\npacks = ["{tmp_path}/packs"]\n[run]\nfolder = "{tmp_path}/out"\nworkers = 1\n'
        f'[[sources]]\npath = "{tmp_path}/raw"\n'
    )
    return tmp_path


def run(place: Path, *overrides: str) -> list[str]:
    said: list[str] = []
    curate(place / "c.toml", overrides, report=said.append)
    return said


def of(place: Path, **keys: str) -> list[str]:
    text = (place / "c.toml").read_text()
    for key, value in keys.items():
        old = "raw" if key == "path" else "out"
        text = text.replace(f'{key} = "{place}/{old}"', f'{key} = "{value}"')
    (place / "c.toml").write_text(text)
    return run(place)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("", "out"),
        ("raw", "raw"),
        ("raw", "raw/deep/out"),
        ("**/*.jsonl*", "out"),
        ("*/documents/*.zst", "out"),
        ("out/documents/xa.jsonl.zst", "out"),
        ("out/documents", "out"),
        ("link", "out"),
        ("raw", "mine"),
    ],
)
def test_a_run_does_not_read_what_it_writes(place, path, folder):
    """Also where there is nothing to be read yet, and through links either way."""
    if path.startswith("out"):
        (place / "out" / "documents").mkdir(parents=True)
        (place / "out" / "documents" / "xa.jsonl.zst").write_bytes(b"")
    if "*/documents" in path:
        write_documents(place / "other" / "documents" / "x.jsonl.zst", [])
    (place / "link").symlink_to(place)
    (place / "mine").symlink_to(place / "raw")
    with pytest.raises(ConfigError) as error:
        of(place, path=f"{place}/{path}".rstrip("/"), folder=f"{place}/{folder}")
    assert f"sources[0].path = '{f'{place}/{path}'.rstrip('/')}'" in str(error.value)
    assert f"run.folder = '{place}/{folder}'" in str(error.value)


def test_sources_beside_the_run_are_read(place):
    """Also in the run's folder, if not where it writes."""
    shutil.copytree(place / "raw", place / "out" / "raw")
    said = of(place, path=f"{place}/out/raw")
    assert "20 documents" in said[-2] or "documents in 1 languages" in " ".join(said)
    of(place, path=f"{place}/*/*.jsonl")


@pytest.mark.parametrize("url", [True, False])
def test_the_result_is_copied_where_it_is_wanted(place, url):
    store = fsspec.filesystem("memory")
    store.store.clear()
    output = "memory://bucket/curated" if url else str(place / "elsewhere")

    def copied() -> dict[str, bytes]:
        if url:
            return {
                name.removeprefix("/bucket/curated/"): store.cat(name)
                for name in store.find("/bucket/curated")
            }
        return {
            p.relative_to(output).as_posix(): p.read_bytes() for p in Path(output).rglob("*") if p.is_file()
        }

    said = run(place, f"run.output={output}")
    names = ["documents/xa.jsonl.zst", "dropped/all.jsonl.zst", "dropped/unreadable.jsonl.zst"]
    wanted = {name: (place / "out" / name).read_bytes() for name in [*names, "report.html", "report.json"]}
    assert copied() == wanted and said[-1] == f"5 files copied to {output}"
    again = run(place, f"run.output={output}")
    assert copied() == wanted and int(again[-1].split()[0]) <= 2  # the reports tell their time
    if url:
        store.pipe_file("/bucket/curated/documents/old.jsonl.zst", b"")
        store.pipe_file("/bucket/curated/documents/xa.jsonl.zst", b"")
        store.pipe_file("/bucket/curated/documents/mine.txt", b"")
    else:
        for name in ("old.jsonl.zst", "xa.jsonl.zst", "mine.txt"):
            (Path(output) / "documents" / name).write_bytes(b"")
    run(place, f"run.output={output}")
    assert copied() == {**wanted, "documents/mine.txt": b"", "documents/old.jsonl.zst": b""} | {
        name: (place / "out" / name).read_bytes() for name in ("report.html", "report.json")
    }
    store.store.clear()


def test_an_output_that_can_not_be_written_is_named(place, monkeypatch):
    with pytest.raises(DataError, match=r"nowhere://x can't be reached"):
        run(place, "run.output=nowhere://x")
    assert not (place / "out").exists()  # before any work
    monkeypatch.setattr(fsspec.filesystem("memory"), "put_file", lambda *arguments: 1 / 0)
    with pytest.raises(
        DataError, match=r"memory://x/documents/xa\.jsonl\.zst can't be reached \(ZeroDivisionError"
    ):
        run(place, "run.output=memory://x")
    with pytest.raises(ConfigError, match=r"run\.output = '.*raw/x'"):
        run(place, f"run.output={place}/raw/x")
    with pytest.raises(ConfigError, match=r"run\.folder"):
        run(place, "run.folder=s3://bucket/x")


def test_documents_from_a_store(place):
    store = fsspec.filesystem("memory")
    store.store.clear()
    run(place)
    wanted = (place / "out" / "documents" / "xa.jsonl.zst").read_bytes()
    store.put(str(place / "raw"), "/bucket/raw", recursive=True)
    of(place, path="memory://bucket/raw", folder=f"{place}/second")
    assert (place / "second" / "documents" / "xa.jsonl.zst").read_bytes() == wanted
    store.store.clear()


def test_an_input_edited_in_place_is_curated_anew(place):
    run(place)
    path = place / "raw" / "xa.jsonl"
    assert any("1 done before" in line for line in run(place))
    status, data = path.stat(), path.read_bytes()
    word = next(word for word in data.split() if word.isalpha() and len(word) > 3)
    with path.open("r+b") as file:
        file.write(data.replace(word, word[::-1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    said = run(place)
    assert said[0].startswith("read and what follows is done anew") and "done before" not in said[1]
    path.write_bytes(data)
    run(place)
    os.utime(path, (1, 1))
    assert "done anew" not in run(place)[0]


EDITS = {
    "limits": lambda facts: facts["limits"].update(words=3),
    "scripts": lambda facts: facts["scripts"].update(LAO=0.5),
    "stop_words": lambda facts: facts["stop_words"].popitem(),
    "segmentation": lambda facts: facts.update(segmentation="characters"),
    "unknown": lambda facts: facts["ngrams"].update(unknown=-3.0),
    "other_run": lambda facts: facts["ngrams"].update(other_run=-3.0),
}


@pytest.mark.parametrize("edit", EDITS)
def test_any_edit_of_a_pack_is_noticed(place, edit):
    """Though its version stays as it was."""
    path = place / "packs" / "xa" / "pack.json"
    facts = json.loads(path.read_text())
    before = content(Pack.load(path.parent))
    EDITS[edit](facts)
    path.write_text(json.dumps(facts))
    assert content(Pack.load(path.parent)) != before


def test_an_edited_pack_does_the_run_anew(place):
    run(place)
    path = place / "packs" / "xa" / "pack.json"
    facts = json.loads(path.read_text())
    facts["stop_words"].popitem()
    path.write_text(json.dumps(facts))
    assert run(place)[0].startswith("read and what follows is done anew")
    facts["name"] = "Another"
    path.write_text(json.dumps(facts))
    assert "done anew" not in run(place)[0]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda facts: facts["limits"].update(words="many"),
            "'limits' has 'many' for 'words', needed a number",
        ),
        (lambda facts: facts["stop_words"].update(a=None), "'stop_words' has None for 'a'"),
        (lambda facts: facts["scripts"].update(LAO=True), "'scripts' has True for 'LAO'"),
        (lambda facts: facts["ngrams"].update(sha256="0"), "ngrams.npz is not the file"),
    ],
)
def test_a_pack_edited_wrongly_is_refused_by_name(place, edit, said):
    path = place / "packs" / "xa" / "pack.json"
    facts = json.loads(path.read_text())
    edit(facts)
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match=said) as error:
        run(place)
    assert str(path.parent) in str(error.value)


def test_an_array_edited_in_a_pack_is_refused_by_name(place):
    path = place / "packs" / "xa" / "ngrams.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"ngrams\.npz is not the file"):
        run(place)


def test_bad_records_never_end_a_run(place):
    """Each in a line of its own, the good ones between them."""
    lines = (place / "raw" / "xa.jsonl").read_text().splitlines()
    bad = [
        "", "{", "[]", "null", "3", '"x"', "{}", '{"text": null}', '{"text": ["a"]}', '{"text": ""}',
        '{"text": "a", "id": {"x": [1e999]}}', '{"text": "a", "x": NaN}', '{"text": "a", "n": ' + "7" * 9000 + "}",
        '{"text": "\\ud800", "id": "\\udfff", "url": "\\ud800"}', '{"text": "a", "x": ' + "[" * 400 + "]" * 400 + "}",
        '{"text": "a", "x": ' + "[" * 90_000, '{"text": "a", "metadata": [1]}', '{"text": "a", "metadata": "x"}',
        '{"text": "a", "lineage": "x", "metadata": {"lineage": [3], "input": 7}}', '{"text": "a", "url": 3}',
        '{"text": "a", "url": "http://[::bad"}', '{"text": "a", "source": {}}', '{"text": "\\u0000"}', "\x00",
        '{"text": "a", "url": "http://x/' + "y" * 100_000 + '"}', '{"text": "a", "id": "' + "i" * 100_000 + '"}',
        '{"text": "a", "original": 3, "input": 4}', '{"text": "a", "text": "b"}', '{"text": "a"} trailing',
    ]  # fmt: skip
    data = "\n".join(each for pair in zip(lines * 2, bad, strict=False) for each in pair).encode()
    (place / "raw" / "xa.jsonl").write_bytes(data + b"\n\xff\xfe\n" + lines[0].encode() + b"\n\xef\xbb\xbf{}")
    said = run(place, "alarm.documents=1000")
    assert any(" documents in 1 languages" in line for line in said)
    report = json.loads((place / "out" / "report.json").read_text())
    assert report["languages"]["xa"]["kept"] >= 15
