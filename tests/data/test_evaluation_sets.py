"""Evaluation sets from their addresses: resumed, held against digests, each with its licence; a clear error without a network."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pinisi.base.errors import DataError
from pinisi.cli import main
from pinisi.data.sample import evaluation_sets
from pinisi.data.sample.download import NotFetched, download
from pinisi.data.sample.evaluation_sets import fetch_sets
from pinisi.data.sample.evaluation_sources import SETS, SourceFile, source_files


class Files:
    """What a server has, and how it behaves. cut: it hangs up after so many bytes, once."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cut: int | None = None
        self.ranges, self.headers, self.moved = True, {}, {}


@contextmanager
def serving(files: Files) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            files.asked.append((self.path, asked))
            if self.path in files.moved:
                self.send_response(302)
                self.send_header("Location", files.moved[self.path])
                for name, value in files.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            content = files.content.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(re.findall(r"\d+", asked)[0]) if asked and files.ranges else 0
            if start >= len(content) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cut, files.cut = files.cut, None
            self.wfile.write(content[start : None if cut is None else start + cut])

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_that_breaks_off_is_gone_on_with_and_only_the_right_bytes_count(tmp_path) -> None:
    files, content = Files(), bytes(range(256)) * 40
    files.content["/a"] = content
    path = tmp_path / "a"
    with serving(files) as home:
        files.cut = 3000
        assert download(f"{home}/a", path, sha(content)).sha256 == sha(content)
        assert path.read_bytes() == content
        assert files.asked == [("/a", None), ("/a", "bytes=3000-")]
        # what is there in part is of another version: begun anew, and right in the end
        path.unlink()
        (tmp_path / ".a.part").write_bytes(b"other" * 100)
        download(f"{home}/a", path, sha(content))
        assert path.read_bytes() == content
        # all of it is there, and a server that knows no ranges
        path.rename(tmp_path / ".a.part")
        download(f"{home}/a", path, sha(content))
        files.ranges = False
        (tmp_path / ".a.part").write_bytes(content[:77])
        download(f"{home}/a", path, sha(content))
        assert path.read_bytes() == content
        with pytest.raises(NotFetched, match=f"has the SHA-256 {sha(content)}, needed {'0' * 64}"):
            download(f"{home}/a", tmp_path / "b", "0" * 64)
        assert not (tmp_path / "b").exists()
        with pytest.raises(NotFetched, match="says 404"):
            download(f"{home}/none", tmp_path / "b")
    assert not list(tmp_path.glob(".*.part"))


def test_a_digest_that_the_hub_names_before_it_sends_on_is_held(tmp_path) -> None:
    files = Files()
    files.content["/cdn"], files.moved["/a"] = b"right", "/cdn"
    with serving(files) as home:
        files.headers["X-Linked-Etag"] = f'"{sha(b"right")}"'
        assert download(f"{home}/a", tmp_path / "a").told == sha(b"right")
        files.headers["X-Linked-Etag"] = f'"{sha(b"other")}"'
        with pytest.raises(NotFetched, match="needed"):
            download(f"{home}/a", tmp_path / "b")


def lines(*records) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()


def made(home: str, files: Files) -> list[SourceFile]:
    """One file of each way of publishing, as their addresses have them."""
    import pyarrow
    import pyarrow.parquet

    xcopa = lines({"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0, "idx": 0})
    rows = io.BytesIO()
    item = {
        "question": "q",
        "option_a": "1",
        "option_b": "2",
        "option_c": "3",
        "option_d": "4",
        "answer": "B",
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([item, {**item, "question": "ก"}]), rows)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for code, text in (("tha_Thai", "หนึ่ง\nสอง\n"), ("eng_Latn", "one\ntwo\n"), ("../../evil", "x")):
            member = tarfile.TarInfo(f"./flores200_dataset/devtest/{code}.devtest")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    questions = [
        {"id": f"{name}-1-0", "question": "Q?", "answers": [{"text": "a", "answer_start": 0}]}
        for name in ("indonesian", "english", "telugu")
    ]
    tydiqa = {"data": [{"paragraphs": [{"context": "a b", "qas": [q]}]} for q in questions]}
    files.content |= {
        "/xcopa/test": xcopa,
        "/xcopa/val": xcopa * 2,
        "/mmlu.parquet": rows.getvalue(),
        "/flores.tar.gz": archive.getvalue(),
        "/tydiqa.json": json.dumps(tydiqa).encode(),
    }
    return [
        SourceFile("xcopa", "th", "xcopa/test.th.jsonl", f"{home}/xcopa/test", sha(xcopa)),
        SourceFile("xcopa", "th", "xcopa/val.th.jsonl", f"{home}/xcopa/val", examples=True),
        SourceFile("global-mmlu", "th", "global-mmlu/test.th.jsonl", f"{home}/mmlu.parquet", becomes="lines"),
        SourceFile("flores", "th", "flores/th.txt", f"{home}/flores.tar.gz", becomes="flores"),
        SourceFile("flores", "en", "flores/en.txt", f"{home}/flores.tar.gz", becomes="flores"),
        SourceFile("tydiqa", "id", "tydiqa/id.json", f"{home}/tydiqa.json", becomes="tydiqa:indonesian"),
    ]


def test_the_command_fetches_all_forms_and_writes_tasks_that_can_be_asked(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = Files()
    with serving(files) as home:
        known = made(home, files)
        monkeypatch.setattr(evaluation_sets, "source_files", lambda: known)
        assert main(["corpus", "fetch", str(tmp_path / "out"), "--evaluation"]) == 0
        said = capsys.readouterr().out
        for words in (
            "xcopa-th: 1 items",
            "global-mmlu-th: 2 items",
            "flores-en-th: 2 items",
            "tydiqa-id: 1 items",
        ):
            assert words in said
        folder = tmp_path / "out" / "evaluation"
        listing = json.loads((folder / "SOURCES.json").read_text())["files"]
        assert listing.keys() == {file.name for file in known}
        for file in known:
            entry = listing[file.name]
            assert entry["licence"] == SETS[file.set].licence and entry["url"] == file.url
            assert entry["sha256"] == sha((folder / file.name).read_bytes())
            assert entry["source_sha256"] == sha(files.content[file.url.removeprefix(home)])
        assert [path for path, _ in files.asked].count("/flores.tar.gz") == 1
        # what is there isn't fetched again; what somebody changed is
        before = len(files.asked)
        assert main(["corpus", "fetch", str(tmp_path / "out"), "--evaluation"]) == 0
        assert len(files.asked) == before
        (folder / "xcopa/test.th.jsonl").write_text("{}")
        assert main(["corpus", "fetch", str(tmp_path / "out"), "--evaluation", "--sets", "xcopa"]) == 0
        assert "its digest differs" in capsys.readouterr().out and len(files.asked) == before + 1
        # an address that nobody pinned gives other bytes than at first
        (folder / "xcopa/val.th.jsonl").unlink()
        files.content["/xcopa/val"] += b"\n"
        assert main(["corpus", "fetch", str(tmp_path / "out"), "--evaluation"]) == 2
        assert "needed" in capsys.readouterr().err
    for more, words in (
        (["--sets", "nothing"], "no evaluation set 'nothing'"),
        (["--languages", "xx"], "no evaluation language 'xx'"),
        (["--small"], "leave --small"),
    ):
        assert main(["corpus", "fetch", str(tmp_path / "out"), "--evaluation", *more]) == 2
        assert words in capsys.readouterr().err
    assert main(["corpus", "fetch", str(tmp_path / "out"), "--sets", "xcopa"]) == 2


def test_without_a_network_it_says_so_once_a_host_and_goes_on_later(tmp_path) -> None:
    files, said = Files(), []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    with serving(files) as home:
        known = made(home, files)
        gone = [file._replace(url=file.url.replace(home, nowhere)) for file in known[:2]]
        with pytest.raises(
            DataError, match=r"2 of 6 files .* can't be reached.*run this again where there is a network"
        ):
            fetch_sets(tmp_path / "e", files=gone + known[2:], cache=tmp_path / "c", report=said.append)
        assert sum("can't be reached" in line for line in said) == 1
        asked = len(files.asked)
        listing = fetch_sets(tmp_path / "e", files=known, cache=tmp_path / "c", report=said.append)
        assert len(files.asked) == asked + 2 and len(listing["files"]) == 6
        files.content["/flores.tar.gz"] = b"no archive"
        with pytest.raises(DataError, match="isn't what is known of it"):
            fetch_sets(tmp_path / "f", files=known, cache=tmp_path / "d", report=said.append)
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "mine").write_text("x")
    with pytest.raises(DataError, match="holds no evaluation sets"):
        fetch_sets(tmp_path / "g", files=known)


def test_the_known_sources_are_whole() -> None:
    """Each set has notes and files; names are unique; pinned ones stand at a commit."""
    found = list(source_files())
    assert {file.set for file in found} == SETS.keys()
    assert len({file.name for file in found}) == len(found)
    for file in found:
        assert file.url.startswith("https://")
        if "githubusercontent" in file.url:
            assert re.search(r"/[0-9a-f]{40}/", file.url) and re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert not any(file.set == "ntrex" and file.language == "my" for file in found)  # it is Zawgyi
