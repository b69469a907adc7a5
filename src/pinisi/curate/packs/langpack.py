"""Makes a language pack from a user's text: the work of `pinisi langpack`."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from pinisi.base.errors import ConfigError, DataError
from pinisi.curate.packs.build import LEAST, build_pack
from pinisi.curate.packs.pack import FACTS, Pack
from pinisi.data.documents import Document, read_documents
from pinisi.data.languages import LANGUAGES, is_code, same_language
from pinisi.data.lines import read_lines
from pinisi.data.reading import Part, Source, Unreadable, documents_of, parts_of
from pinisi.data.storage import is_url

# Scripts that one language is written in together: Japanese, Korean.
TOGETHER = ({"HIRAGANA", "KATAKANA", "HAN", "CJK"}, {"HANGUL", "HAN", "CJK"})
LITTLE = 20_000  # characters: fewer make a weak pack


def langpack(
    language: str,
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    overwrite: bool = False,
    build: Callable[..., Pack] = build_pack,
    report: Callable[[str], None] = print,
) -> Pack:
    """Makes the pack of `language` from the text in `source`, and saves it in the folder `out`.

    source: a file, a folder or a pattern of any kind that curate reads; a .txt file has documents parted by empty lines. Left out,
    and counted, are records that say another language, and in a folder files that are named after one. licence: the text's,
    which the pack keeps. build: what makes the pack, called as `build_pack` is (curate.fit.with_limits adds limits).

    Raises DataError: no language's code, a pack that is there already and may not be overwritten, nothing to read, what can't be
    read (with file and place), or fewer than 1,000 characters.
    """
    _check(language, Path(out), overwrite)
    reader = _TextReader(language, str(source))
    documents = list(reader.documents())
    total = sum(reader.characters.values())
    if reader.others or reader.files:
        report(reader.left_out())
    if total == 0:
        more = f" ({reader.left_out()})" if reader.others or reader.files else ""
        raise DataError(
            f"{source} holds no text in '{language}'{more}: give a file or a folder with text in it"
        )
    if total < LEAST:
        raise DataError(
            f"{source}: got {total:,} characters of text, needed at least {LEAST:,} ({LITTLE:,} for a useful pack); "
            f"add more text in '{language}'"
        )
    sources = [
        {"name": file, "licence": licence or "not stated", "characters": count}
        for file, count in reader.characters.items()
        if count
    ]
    pack = build(language, documents, name=name, sources=sources)
    pack.save(out)
    report(
        f"{pack.language}: {pack.sizes['characters']:,} characters in {pack.sizes['documents']:,} documents, "
        f"{', '.join(f'{script} {share:.0%}' for script, share in pack.scripts.items())}, words by {pack.segmentation}, "
        f"{len(pack.stop_words)} stop words, {len(pack.ngrams):,} n-grams -> {out}"
    )
    for doubt in (reader.doubt(), _two_scripts(pack)):
        if doubt:
            report(f"warning: {doubt}")
    if total < LITTLE:
        report(
            f"warning: {total:,} characters are little; below {LITTLE:,} a pack confuses close languages and its limits "
            "are rough"
        )
    return pack


def _check(language: str, out: Path, overwrite: bool) -> None:
    if not is_code(language):
        meant = next((code for code, name in LANGUAGES.items() if name.lower() == language.lower()), None)
        raise DataError(
            f"got {language!r} as a language, needed its code (BCP 47: two or three letters of ISO 639, then a script or a country "
            f"if need be, such as {f'{meant}, which this one has' if meant else 'jv, ban or zh-Hans'})"
        )
    if (out / FACTS).exists() and not overwrite:
        raise DataError(
            f"{out} holds a pack already: give another --out, or --overwrite to put the new one in its place"
        )


def _two_scripts(pack: Pack) -> str:
    """What is said of text in scripts that no one language is written in, as far as is known; empty if there is nothing to say."""
    scripts = set(pack.scripts)
    if len(scripts) < 2 or any(scripts <= known for known in TOGETHER):
        return ""
    return (
        f"the text is in {' and '.join(sorted(scripts))}: if these are two languages, make a pack of each from its own text "
        "(a file or a folder by itself)"
    )


class _TextReader:
    """Reads a language's documents, and counts what it reads and what it leaves out."""

    def __init__(self, language: str, source: str) -> None:
        self.language, self.source = language, source
        self.folder = Path(source) if not is_url(source) and Path(source).is_dir() else None
        self.characters: dict[str, int] = {}  # by file
        self.others: Counter[str] = Counter()  # documents by the other language that they say
        self.files: list[str] = []  # named after another language

    def documents(self) -> Iterator[Document]:
        for part in self._parts():
            place = self._place(part)
            stem = PurePosixPath(place).name.split(".")[0]
            if self.folder and stem in LANGUAGES and not same_language(stem, self.language):
                self.files.append(place)
                continue
            self.characters.setdefault(place, 0)
            for document in self._documents(part):
                own = document.metadata.get("original", {}).get("language", document.language)
                if not same_language(str(own), self.language):
                    self.others[str(own)] += 1
                elif document.text.strip():
                    self.characters[place] += len(document.text)
                    yield document

    def doubt(self) -> str:
        """What is said of files that were read though their names may be other languages' codes, beside a file that is named after
        this one; empty if there are none."""
        stems = {
            place: PurePosixPath(place).name.split(".")[0]
            for place, count in self.characters.items()
            if count
        }
        own = [place for place, stem in stems.items() if is_code(stem) and same_language(stem, self.language)]
        others = [place for place, stem in stems.items() if is_code(stem) and place not in own]
        if not own or not others:
            return ""
        verb = "is" if len(others) == 1 else "are"
        return (
            f"{', '.join(others)} {verb} read as '{self.language}', too, beside {own[0]}: if the names are other languages' codes, "
            "give the file alone"
        )

    def left_out(self) -> str:
        said = [f"{count:,} documents in {other!r}" for other, count in sorted(self.others.items())]
        return (
            "left out: "
            + ", ".join([*said, *self.files])
            + f", which say another language than '{self.language}'"
        )

    def _parts(self) -> list[Part]:
        try:
            return [part for part in parts_of([Source(path=self.source)], ["--from"]) if part.first == 0]
        except ConfigError as error:
            raise DataError(str(error)) from None

    def _place(self, part: Part) -> str:
        if is_url(part.path):
            return part.name
        path = Path(part.path)
        return path.relative_to(self.folder).as_posix() if self.folder else path.name

    def _documents(self, part: Part) -> Iterator[Document]:
        if part.format == "text":
            return _paragraphs(part.path, self.language)
        if part.format == "jsonl" and not is_url(part.path):
            return read_documents(part.path, self.language)
        return documents_of(part, Source(path=part.path, language=self.language), _raise)


def _raise(error: Unreadable) -> None:
    raise error


def _paragraphs(file: str, language: str) -> Iterator[Document]:
    lines: list[str] = []
    begin = 1
    for number, line in enumerate(read_lines(file), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file}:{number}: byte {error.start} of the line is not UTF-8; convert the file to UTF-8"
            ) from None
        if text.strip():
            lines.append(text)
        elif lines:
            yield Document(f"{PurePosixPath(file).name}:{begin}", "".join(lines), language)
            lines, begin = [], number + 1
    if lines:
        yield Document(f"{PurePosixPath(file).name}:{begin}", "".join(lines), language)
