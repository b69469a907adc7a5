"""Finds the files of text that a command is given, and reads their documents, each with its language."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pinisi.base.errors import ConfigError, DataError
from pinisi.data.documents import SUFFIXES, Document, corpus_files, language_of, read_documents
from pinisi.data.languages import is_code
from pinisi.data.lines import Stretch
from pinisi.data.reading import Part, Source, Unreadable, documents_of, parts_of
from pinisi.data.storage import is_url

Progress = Callable[[int], None]


class Input(NamedTuple):
    """Names a whole file, or a stretch of its lines. language: what its name says, which a record's own goes before."""

    part: Part
    language: str
    stretch: Stretch | None = None

    @property
    def path(self) -> str:
        """Here, or a URL."""
        return self.part.path

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name if is_url(self.path) else Path(self.path).name

    @property
    def is_corpus(self) -> bool:
        """Whether it is a `<language>.jsonl`, packed or not, whose documents are named as `read_documents` does."""
        return not is_url(self.path) and self.name.lower().endswith(SUFFIXES)


def inputs_of(given: str | Path, tell: Callable[[str], None] = lambda line: None) -> list[Input]:
    """The files of a file, a folder or a pattern, in a fixed order.

    In a folder with `<language>.jsonl` files (packed or not) only these are read, and files of other kinds beside them that are
    named after a language; any other folder is read with all that lies below it. tell: is told of files that are left out.
    Raises DataError if there is nothing, or two `<language>.jsonl` of one language.
    """
    path = Path(given)
    if path.is_dir() and any(_is_corpus(each) for each in path.iterdir()):
        return _by_language(path, tell)
    try:
        parts = parts_of([Source(path=str(given))], ["text"])
    except ConfigError as error:
        if is_url(given) or path.exists():
            raise DataError(str(error)) from None
        raise DataError(
            f"no corpus folder {path}: give the folder that holds <language>.jsonl files, or a file or a pattern ({error})"
        ) from None
    return [_whole(part) for part in parts if part.first == 0]


def _by_language(folder: Path, tell: Callable[[str], None]) -> list[Input]:
    corpus_files(folder)  # raises DataError for two of one language
    found, left = [], []
    for part in parts_of([Source(path=str(folder))], ["text"]):
        path = Path(part.path)
        if part.first or path.parent != folder:
            continue
        each = _whole(part)
        if each.is_corpus or is_code(each.language):
            found.append(each)
        elif path.suffix != ".json":
            left.append(path.name)
    if left:
        tell(f"left out, since they are not named after a language: {', '.join(sorted(left))}")
    return sorted(found, key=lambda each: (each.language, each.name))


def _is_corpus(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _whole(part: Part) -> Input:
    each = Input(replace(part, stop=None), "")
    return each._replace(language=language_of(Path(each.name)) if each.is_corpus else each.name.split(".")[0])


def documents_in(each: Input, progress: Progress = lambda position: None) -> Iterator[Document]:
    """A file's documents. Raises DataError with file and place for what can't be read, for a language that is no code (BCP 47,
    such as id or zh-Hans), and for a text that no file of UTF-8 can hold."""
    if each.part.format == "jsonl" and not is_url(each.path):
        documents = read_documents(each.path, each.language, progress=progress, stretch=each.stretch)
    else:
        documents = documents_of(each.part, Source(path=each.path), _raise)
    last = None  # they come by language, mostly
    for document in documents:
        if document.language != last:
            _check_language(each, document)
            last = document.language
        _check_text(each, document)
        yield document


def _raise(error: Unreadable) -> None:
    raise error


def _check_language(each: Input, document: Document) -> None:
    if not is_code(document.language):
        whose = "its name says" if document.language == each.language else f"document {document.id} says"
        raise DataError(
            f"{each.path}: {whose} that the language is {document.language!r}, which is no language's code (BCP 47: id, zh-Hans, "
            f"...); name the file after its language, such as id{''.join(PurePosixPath(each.name).suffixes)}, or leave it out"
        )


def _check_text(each: Input, document: Document) -> None:
    try:
        document.text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{each.path}: character {error.start} of document {document.id} is half a surrogate pair, no character; remove it "
            "first"
        ) from None
