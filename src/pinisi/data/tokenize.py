"""Turns text into token shards: batched, atomic, and not done twice."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import free_bytes, new_folder
from pinisi.base.made import check_ours, mark
from pinisi.data.control_tokens import control_tokens, stand_ins
from pinisi.data.document_bounds import beginning_id, end_of_document_id, token_id
from pinisi.data.inputs import Input, documents_in, inputs_of
from pinisi.data.roundtrip import describe
from pinisi.data.shard_writer import Encoder, ShardWriters
from pinisi.data.shards import CONTENT, FORMAT, INDEX, TOKENIZER, Shards, files_of, read_index
from pinisi.data.storage import checksum, is_url
from pinisi.data.tokenizer import load_tokenizer, vocabulary_size

PROGRESS_SECONDS = 5.0

WHAT = "token shards"
CONTROLS = "control_tokens"  # in the index: that no text has become one; missing in shards of before
PART = "00000"
PIECE = 1 << 24  # tokens looked at in one go

Report = Callable[[str], None]


def tokenize(
    corpus_folder: str | Path,
    tokenizer_folder: str | Path,
    out_folder: str | Path,
    *,
    end_of_document: int | str | None = None,
    bos: str = "auto",
    rows: int | None = None,
    strict: bool = False,
    report: Report = print,
) -> dict[str, Any]:
    """Turns a corpus into token shards (see shards.py), one for each language; returns their index.

    corpus_folder: a file, a folder or a pattern of JSON lines, text (a document a file), Parquet or WARC, packed or not (see
    inputs.py). A document's language is what its record says, or else the file's name.
    end_of_document: the token that ends each document, an id or a string; None takes the tokenizer's end of a text
        (see end_of_document_id), which is not the end of a chat's turn.
    bos: whether each document begins with the tokenizer's BOS: "auto" where its post-processor puts one, "yes" or "no".
    rows: rows of the model's vocabulary; a token beyond it is an error that names token and document.
    strict: a document whose tokens do not decode back to its text is an error that names it.
    The folder appears only when complete, replaces older shards, and stays as it is if the fingerprint
    (tokenizer files, text files, end token, BOS) and the format are the same. Control tokens that are spelled out
    in a text are encoded as ordinary text (see control_tokens.py).
    Every document is decoded again (a twentieth to a quarter of the time). Those that do not come back as they
    were are counted in the index, by language and by what happened to them ("altered": NFC, white space,
    other), each with its first document; the tokens stay as they are.
    A file without a document with text is said and left out. Raises DataError for unreadable text (file:line), no text at all, a
    broken tokenizer, a full disk or one that is clearly too small.
    """
    inputs, out = inputs_of(corpus_folder, report), Path(out_folder)
    files = {each.path: each.path if is_url(each.path) else Path(each.path) for each in inputs}
    tokenizer = load_tokenizer(tokenizer_folder)
    end = end_of_document_id(tokenizer) if end_of_document is None else token_id(tokenizer, end_of_document)
    begin = beginning_id(tokenizer, bos)
    size = vocabulary_size(tokenizer) if rows is None else rows
    for what, id in (("end_of_document", end), ("bos", end if begin is None else begin)):
        if not 0 <= id < size:
            raise DataError(f"{what} is {id}, the vocabulary has ids 0 to {size - 1}")
    made_from = fingerprint(files, Path(tokenizer_folder), end, rows, begin)
    if (out / INDEX).is_file() and _same(out, made_from) and not _spelled(out, tokenizer, report):
        report(f"token shards in {out} are up to date")
        index = read_index(out)
        _tell_all(index["languages"], strict, report)
        return index
    check_ours(out, WHAT, "--out", _files_of_before)
    _check_room(files, out)
    with new_folder(out) as partial:
        (partial / TOKENIZER).write_text(tokenizer.backend_tokenizer.to_str(), "utf-8")
        encoder = Encoder(tokenizer, end, rows, begin)
        index = {
            "format": FORMAT,
            "fingerprint": made_from,
            "end_of_document": end,
            "bos": begin,
            CONTROLS: "as text",
            "vocabulary": vocabulary_size(tokenizer),
            "languages": _write(inputs, files, partial, encoder, _Progress(files, report), strict),
        }
        if not index["languages"]:
            raise DataError(f"{corpus_folder} holds no document with text; remove the files or fill them")
        index["files"] = {
            path.relative_to(partial).as_posix(): digests.of_file(path)
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        }
        index["digest"] = digests.of_index(index)
        (partial / INDEX).write_text(json.dumps(index, indent=1), "utf-8")
        mark(partial, WHAT)
    found = index["languages"].values()
    tokens, documents = (sum(of[what] for of in found) for what in ("tokens", "documents"))
    noun = "language" if len(found) == 1 else "languages"
    report(f"{tokens:,} tokens of {documents:,} documents in {len(found)} {noun}: {out}")
    return index


def _write(
    inputs: list[Input],
    files: Mapping[str, str | Path],
    folder: Path,
    encoder: Encoder,
    progress: "_Progress",
    strict: bool,
) -> dict[str, dict[str, Any]]:
    """Writes all documents; returns what each language's shard holds, in alphabetical order."""
    (folder / PART).mkdir()
    writers = ShardWriters(folder / PART, encoder)
    for each in inputs:
        number = writers.documents
        for document in documents_in(each, progress.at):
            if writers.add(document):
                progress.show(document.language)
        if writers.flush():
            progress.show(each.language)
        progress.end(files[each.path])
        if writers.documents == number:
            progress.report(f"{each.path} holds no document with text: left out")
        if strict:
            _tell_all(writers.counts(), strict, progress.report)
    found = writers.close()
    _tell_all(found, strict, progress.report)
    return found


def _check_room(files: Mapping[str, str | Path], out: Path) -> None:
    """Raises DataError if the shards can't have room: of the bytes of text that a token stands for, eight are very many, and it
    takes four."""
    need = sum(map(_size, files.values())) // 2
    out.parent.mkdir(parents=True, exist_ok=True)
    if (free := free_bytes(out)) < need:
        raise DataError(
            f"{out} needs {need / 2**30:.2f} GiB or more for its token shards, {free / 2**30:.2f} GiB are free: free some space, "
            "or choose a folder on another disk"
        )


def fingerprint(
    files: Mapping[str, str | Path],
    tokenizer_folder: Path,
    end: int,
    rows: int | None,
    bos: int | None = None,
) -> str:
    """sha256 over all that decides the shards' content; a file's name counts, its folder does not. Without BOS it is what it was
    before there was one."""
    settings = [CONTENT, end, rows] if bos is None else [CONTENT, end, rows, {"bos": bos}]
    total = hashlib.sha256(json.dumps(settings).encode())
    tokenizer_files = [
        path
        for path in sorted(tokenizer_folder.iterdir())
        if path.suffix in (".json", ".txt", ".model") and path.is_file()
    ]
    for path in [*tokenizer_files, *files.values()]:
        if isinstance(path, str):  # a URL
            total.update(f"{path} {checksum(path)}\n".encode())
            continue
        with path.open("rb") as content:
            total.update(f"{path.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _files_of_before(out: Path) -> list[str] | None:
    """Of a folder without a mark, that an older version made: the names that its index stands for."""
    try:
        index = json.loads((out / INDEX).read_text("utf-8"))
        if not isinstance(index["fingerprint"], str) or not isinstance(index["format"], int):
            return None
        endings = ("tokens", "documents", "names", "name_bounds")
        return [
            INDEX,
            TOKENIZER,
            *(
                f"{file.name}.{ending}"
                for language, counts in index["languages"].items()
                for file in files_of(counts, language)
                for ending in endings
            ),
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _same(out: Path, made_from: str) -> bool:
    try:
        return read_index(out)["fingerprint"] == made_from
    except DataError:  # a torn index or an older format: make the shards anew
        return False


def _spelled(out: Path, tokenizer: Any, report: Report) -> bool:
    """Whether shards of before hold control tokens that texts spelled: those that are not special were tokens then."""
    if read_index(out).get(CONTROLS) is not None:
        return False
    names = {id: token.content for id, token in control_tokens(tokenizer).items() if not token.special}
    names = {id: name for id, name in names.items() if id not in stand_ins(tokenizer, names)}
    shards = Shards(out)
    for language in shards.languages if names else ():
        for piece in shards.files(language).pieces(PIECE):
            inside = piece[np.isin(piece, list(names)) & (piece != shards.end_of_document)]
            if len(inside):
                report(
                    f"{out} holds {names[int(inside[0])]} where a text ({language}) spells it: made anew, as ordinary text"
                )
                return True
    return False


def _tell(language: str, counts: dict[str, Any], strict: bool, report: Report) -> None:
    """Says which documents of a language do not decode back. Raises DataError if that must not be."""
    if altered := counts["altered"]:
        number = sum(found["documents"] for found in altered.values())
        line = f"{language}: {number} of {counts['documents']} documents do not decode back to their text: "
        if strict:
            raise DataError(line + describe(altered) + "; clean the text first, or leave strict out")
        report(line + describe(altered))


def _size(path: str | Path) -> int:
    """Bytes of a file here; of what lies behind a URL nothing is said."""
    return path.stat().st_size if isinstance(path, Path) else 0


def _tell_all(languages: dict[str, dict[str, Any]], strict: bool, report: Report) -> None:
    for language, counts in languages.items():
        _tell(language, counts, strict, report)


class _Progress:
    """A line with share and time left, at most every few seconds; counts bytes of the corpus files."""

    def __init__(self, files: Mapping[str, str | Path], report: Report):
        self.total = sum(map(_size, files.values()))
        self.report = report
        self.before = 0  # bytes of the files that are done
        self.here = 0  # of the one that is being read
        self.start = self.last = time.monotonic()

    def at(self, position: int) -> None:
        self.here = position

    def show(self, language: str) -> None:
        now, done = time.monotonic(), self.before + self.here
        if now - self.last >= PROGRESS_SECONDS and done:
            self.last = now
            share = done / self.total
            left = (now - self.start) * (1 - share) / share
            self.report(f"tokenize {language}: {share:.0%} of {self.total / 1e6:.1f} MB, {left:.0f} s left")

    def end(self, path: str | Path) -> None:
        self.before, self.here = self.before + _size(path), 0
