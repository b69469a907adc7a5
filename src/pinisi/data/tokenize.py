"""Text files to token shards: batched, atomic, and not done twice."""

import hashlib
import json
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.base.made import check_ours, mark
from pinisi.data.documents import Document, corpus_files, read_documents
from pinisi.data.roundtrip import Altered, describe
from pinisi.data.shards import (
    BOUND_DTYPE,
    CONTENT,
    FORMAT,
    INDEX,
    TOKEN_DTYPE,
    TOKENIZER,
    read_index,
)
from pinisi.data.tokenizer import end_of_document_id, load_tokenizer, vocabulary_size

BATCH_CHARACTERS = 1 << 19  # characters handed to the tokenizer at once: enough to keep its threads busy
BATCH_DOCUMENTS = 512
PROGRESS_SECONDS = 5.0

WHAT = "token shards"

Report = Callable[[str], None]


def tokenize(
    corpus_folder: str | Path,
    tokenizer_folder: str | Path,
    out_folder: str | Path,
    *,
    end_of_document: int | None = None,
    rows: int | None = None,
    strict: bool = False,
    report: Report = print,
) -> dict[str, Any]:
    """Turns every `<language>.jsonl` (.gz, .zst) of a corpus into token shards (see shards.py); returns their index.

    end_of_document: the token id that ends each document; None takes the tokenizer's eos_token.
    rows: rows of the model's vocabulary; a token beyond it is an error that names token and document.
    strict: a document whose tokens do not decode back to its text is an error that names it.
    The folder appears only when complete, replaces older shards, and stays as it is if the fingerprint
    (tokenizer files, text files, end token) and the format are the same. Special tokens that are spelled out
    in a text are encoded as ordinary text.
    Every document is decoded again (a twentieth to a quarter of the time). Those that do not come back as they
    were are counted in the index, by language and by what happened to them ("altered": NFC, white space,
    other), each with its first document; the tokens stay as they are.
    Raises DataError for unreadable text (file:line), an empty language, a broken tokenizer, a full disk.
    """
    files, out = corpus_files(corpus_folder), Path(out_folder)
    tokenizer = load_tokenizer(tokenizer_folder)
    end = end_of_document_id(tokenizer) if end_of_document is None else end_of_document
    size = vocabulary_size(tokenizer) if rows is None else rows
    if not 0 <= end < size:
        raise DataError(f"end_of_document is {end}, the vocabulary has ids 0 to {size - 1}")
    made_from = fingerprint(files, Path(tokenizer_folder), end, rows)
    if (out / INDEX).is_file() and _same(out, made_from):
        report(f"token shards in {out} are up to date")
        index = read_index(out)
        for language, counts in index["languages"].items():
            _tell(language, counts, strict, report)
        return index
    check_ours(out, WHAT, "--out", _files_of_before)
    with new_folder(out) as partial:
        (partial / TOKENIZER).write_text(tokenizer.backend_tokenizer.to_str(), "utf-8")
        writer = _Writer(tokenizer, partial, end, rows, _Progress(files, report), strict)
        index = {
            "format": FORMAT,
            "fingerprint": made_from,
            "end_of_document": end,
            "vocabulary": vocabulary_size(tokenizer),
            "languages": {language: writer.language(language, path) for language, path in files.items()},
        }
        index["files"] = {path.name: digests.of_file(path) for path in sorted(partial.iterdir())}
        index["digest"] = digests.of_index(index)
        (partial / INDEX).write_text(json.dumps(index, indent=1), "utf-8")
        mark(partial, WHAT)
    tokens, documents = (
        sum(of[what] for of in index["languages"].values()) for what in ("tokens", "documents")
    )
    report(
        f"{tokens:,} tokens of {documents:,} documents in {len(files)} {'language' if len(files) == 1 else 'languages'}: {out}"
    )
    return index


def fingerprint(files: dict[str, Path], tokenizer_folder: Path, end: int, rows: int | None) -> str:
    """sha256 over all that decides the shards' content; a file's name counts, its folder does not."""
    total = hashlib.sha256(json.dumps([CONTENT, end, rows]).encode())
    tokenizer_files = [
        path
        for path in sorted(tokenizer_folder.iterdir())
        if path.suffix in (".json", ".txt", ".model") and path.is_file()
    ]
    for path in [*tokenizer_files, *files.values()]:
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
            *(f"{language}.{ending}" for language in index["languages"] for ending in endings),
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _same(out: Path, made_from: str) -> bool:
    try:
        return read_index(out)["fingerprint"] == made_from
    except DataError:  # a torn index or an older format: make the shards anew
        return False


def _tell(language: str, counts: dict[str, Any], strict: bool, report: Report) -> None:
    """Says which documents of a language do not decode back. Raises DataError if that must not be."""
    if altered := counts["altered"]:
        number = sum(found["documents"] for found in altered.values())
        line = f"{language}: {number} of {counts['documents']} documents do not decode back to their text: "
        if strict:
            raise DataError(line + describe(altered) + "; clean the text first, or leave strict out")
        report(line + describe(altered))


class _Progress:
    """A line with share and time left, at most every few seconds; counts bytes of the corpus files."""

    def __init__(self, files: dict[str, Path], report: Report):
        self.total = sum(path.stat().st_size for path in files.values())
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

    def end(self, path: Path) -> None:
        self.before, self.here = self.before + path.stat().st_size, 0


class _Writer:
    """Writes the files of one language after the other into a folder."""

    def __init__(
        self,
        tokenizer: Any,
        folder: Path,
        end: int,
        rows: int | None,
        progress: _Progress,
        strict: bool,
    ):
        self.tokenizer, self.folder, self.end, self.rows = tokenizer, folder, end, rows
        self.backend = tokenizer.backend_tokenizer
        self.backend.encode_special_tokens = True  # text must not be able to spell a control token
        self.backend.no_truncation()
        self.backend.no_padding()
        self.progress, self.strict = progress, strict

    def language(self, language: str, path: Path) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        altered = Altered()
        bounds, name_bounds = array("q", [0]), array("q", [0])
        documents = read_documents(path, language, progress=self.progress.at)
        with (
            (self.folder / f"{language}.tokens").open("wb") as tokens,
            (self.folder / f"{language}.names").open("wb") as names,
        ):
            for batch in batched(_with_text(documents, dropped)):
                for document, ids, predicted, decoded in self._encode(batch):
                    tokens.write(np.asarray(ids, dtype=TOKEN_DTYPE).tobytes())
                    bounds.append(bounds[-1] + len(ids))
                    name_bounds.append(name_bounds[-1] + names.write(_name(document)))
                    altered.add(document.id, document.text, decoded)
                    counts["characters"] += len(document.text)
                    counts["bytes"] += len(document.text.encode("utf-8"))
                    counts["predicted_bytes"] += predicted
                self.progress.show(language)
        self.progress.end(path)
        if len(bounds) == 1:
            raise DataError(f"{path} holds no document with text; remove the file or fill it")
        np.asarray(bounds, dtype=BOUND_DTYPE).tofile(self.folder / f"{language}.documents")
        np.asarray(name_bounds, dtype=BOUND_DTYPE).tofile(self.folder / f"{language}.name_bounds")
        found = {"documents": len(bounds) - 1, "tokens": bounds[-1], **counts, "dropped": dict(dropped)}
        found["altered"] = altered.reasons
        _tell(language, found, self.strict, self.progress.report)
        return found

    def _encode(self, batch: list[Document]) -> Iterator[tuple[Document, list[int], int, str]]:
        """Each document with its ids, the bytes that are predicted, and what the ids decode to."""
        encodings = self.backend.encode_batch([document.text for document in batch], add_special_tokens=False)
        texts = self.backend.decode_batch([each.ids for each in encodings], skip_special_tokens=False)
        for document, encoding, decoded in zip(batch, encodings, texts, strict=True):
            ids = encoding.ids
            if self.rows is not None and ids and max(ids) >= self.rows:
                raise self._beyond(document, max(ids))
            # a document's first token is never a target, so its bytes do not count in bits per byte
            first = encoding.offsets[0][1] if ids else 0
            yield document, [*ids, self.end], len(document.text[first:].encode("utf-8")), decoded

    def _beyond(self, document: Document, id: int) -> DataError:
        token = self.tokenizer.convert_ids_to_tokens(id)
        return DataError(
            f"token {token!r} has id {id}, the model's vocabulary has {self.rows} rows; "
            f"it stands in document {document.id} ({document.language}); use the model's own tokenizer"
        )


def _name(document: Document) -> bytes:
    """A line of .names."""
    fields = [document.id, document.url, document.source, document.metadata]
    try:
        return (json.dumps(fields, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair in a URL or in metadata
        return (json.dumps(fields) + "\n").encode("ascii")


def _with_text(documents: Iterable[Document], dropped: Counter[str]) -> Iterator[Document]:
    for document in documents:
        if document.text.strip():
            yield document
        else:
            dropped["empty text"] += 1


def batched(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Groups documents by total length, so that one call of the tokenizer costs bounded memory."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS or len(batch) == BATCH_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
