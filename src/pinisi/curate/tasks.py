"""The work on one part: read and judge it; compare a language's documents; cut what is repeated and judge again.

A task's folder appears when all of it is written, so a task that has its folder is done; what a task writes depends on
nothing but the configuration and its input.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.base.files import new_folder
from pinisi.base.settings import byte_count
from pinisi.curate import records
from pinisi.curate.config import MAKE_UP, CurateConfig
from pinisi.curate.counts import Counts
from pinisi.curate.duplicates import exact, lines, near, urls
from pinisi.curate.inputs import Part, Unreadable, documents_of
from pinisi.curate.packs import Packs
from pinisi.curate.quality import stages as quality
from pinisi.curate.repair import repaired
from pinisi.curate.rules import Text, excerpt, limits_of, verdict
from pinisi.data.documents import Document

STATS, DROPS, ERRORS = "stats.json", "drops", "errors"
READ, NEAR, FINISH, LEARN, GRADE = "read", "near", "finish", "learn", "grade"
EXACT_SHARE = 24  # bytes of memory that comparing a byte of text takes, all in all


class Arrays(NamedTuple):
    """Of documents that are kept so far, in the order of their file."""

    keys: np.ndarray  # [N] uint64: a text's hash
    ids: np.ndarray  # [N] uint64: an id's hash, which decides between equal texts
    urls: np.ndarray  # [N] uint64: 0 for none
    lengths: np.ndarray  # [N] characters
    sizes: np.ndarray  # [N] bytes
    signatures: np.ndarray  # [N, permutations] uint32


class Bench:
    """What all tasks of a process use again: packs, limits, flagged words."""

    def __init__(self, config: CurateConfig) -> None:
        self.config = config
        # All packs, whichever languages are wanted: among those alone every text in Latin letters would be one of them.
        self.packs = Packs.load(None, [Path(folder) for folder in config.packs])
        self.wanted = frozenset(config.languages or self.packs.languages)
        for language in config.languages:
            self.packs[language]  # raises DataError for one without a pack
        self._limits: dict[str, dict[str, float]] = {}
        self._flagged: dict[str, frozenset[str]] = {}

    def judged(self, document: Document, probabilities: dict[str, float] | None = None) -> Any:
        """The first rule that a document breaks, or None."""
        language = document.language
        if probabilities is None:
            probabilities = dict(self.packs.identify(excerpt(document.text)))
        text = Text(
            document.text, self.packs[language], probabilities.get(language, 0.0), self.flagged(language)
        )
        return verdict(text, self.limits(language))

    def spaces(self, language: str) -> bool:
        """Whether its script puts spaces between words."""
        return self.packs[language].segmentation == "spaces"

    def limits(self, language: str) -> dict[str, float]:
        if language not in self._limits:
            rules = self.config.rules
            self._limits[language] = limits_of(self.packs[language], rules.preset, rules.limits, rules.off)
        return self._limits[language]

    def flagged(self, language: str) -> frozenset[str]:
        if language not in self._flagged:
            path = self.config.rules.flagged.get(language)
            try:
                words = Path(path).read_text("utf-8").split("\n") if path else []
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"rules.flagged.{language}: {path} can't be read ({error})") from error
            self._flagged[language] = frozenset(word.strip().lower() for word in words if word.strip())
        return self._flagged[language]


class Task(NamedTuple):
    """A stage's function by name and what it is called with; the last argument is the folder that it makes."""

    stage: str
    arguments: tuple

    @property
    def folder(self) -> Path:
        return self.arguments[-1]


_benches: dict[str, Bench] = {}


def work(config: CurateConfig, task: Task) -> None:
    """Do a task, unless it is done."""
    if task.folder.exists():
        return
    if (key := repr(config)) not in _benches:
        _benches.clear()
        _benches[key] = Bench(config)
    _STAGES[task.stage](_benches[key], *task.arguments)


def read_part(bench: Bench, part: Part, out: Path) -> None:
    """Read, mend, identify, judge; signatures of what is kept."""
    config, counts = bench.config, Counts(bench.config.run.seed)
    source = config.sources[part.source]
    kept: dict[str, list[tuple]] = {}
    with new_folder(out) as folder, records.Writers(folder) as writers:

        def trouble(error: Unreadable) -> None:
            if config.run.on_error == "stop":
                raise DataError(f"{error}; run.on_error = 'skip' goes on with the rest")
            counts.unreadable(str(error))
            writers.write(ERRORS, {"error": str(error)})

        for document in documents_of(part, source, trouble):
            document, drop = _read_document(bench, document, counts)
            if drop is not None:
                counts.dropped(document, READ, drop[0], drop[1])
                writers.write(DROPS, records.drop(document, READ, *drop))
                continue
            writers.write(document.language, vars(document))
            kept.setdefault(document.language, []).append(_row(bench, document))
        for language, rows in kept.items():
            _save(folder / f"{language}.npz", rows)
        _finish(folder, counts)


def _read_document(bench: Bench, document: Document, counts: Counts) -> tuple[Document, tuple | None]:
    """The mended document and, if it is dropped, (rule, value, limit)."""
    config = bench.config
    if len(document.text) > config.repair.longest:
        if document.language == MAKE_UP:
            document = replace(document, language="unknown")
        counts.taken(document, ())
        return document, ("length", len(document.text), config.repair.longest)
    text, mended = repaired(document.text, markup=config.repair.markup)
    if mended:
        lineage = [*document.metadata.get("lineage", []), "mended: " + ", ".join(mended)]
        document = replace(document, text=text, metadata={**document.metadata, "lineage": lineage})
    found = bench.packs.identify(excerpt(text))
    probabilities, best = dict(found), found[0][0] if found else "none"
    declared = document.language
    if declared == MAKE_UP:
        document = replace(document, language=best if found else "unknown")
    elif declared not in bench.packs:
        raise DataError(
            f"{document.metadata['input']}: language '{declared}' has no pack; make one with `pinisi langpack {declared} --from "
            f"TEXT` and name its folder under packs, or give the source another language"
        )
    counts.taken(document, mended)
    counts.found(document.language, best)
    if not text:
        return document, ("empty", 0, 1)
    if document.language == "unknown":
        return document, ("language", 0.0, None)
    if document.language not in bench.wanted:
        return document, ("not wanted", best, None)
    return document, bench.judged(document, probabilities)


def _row(bench: Bench, document: Document) -> tuple:
    config = bench.config
    if config.near.on:
        grams = near.shingles(document.text, spaces=bench.spaces(document.language))
        signature = near.signature(grams, permutations=config.near.permutations, seed=config.run.seed)
    else:
        signature = np.zeros(0, dtype=np.uint32)
    size = len(document.text.encode("utf-8", "surrogatepass"))
    # Only the web has one page behind one address; a package's file ("apt:...") is cut into many documents.
    web = document.url.lower().startswith(("http://", "https://"))
    url = urls.url_hash(document.url) if web else urls.NO_URL
    return text_key(document.text), text_key(document.id), url, len(document.text), size, signature


def _save(path: Path, rows: Sequence[tuple]) -> None:
    keys, ids, links, lengths, sizes, signatures = zip(*rows, strict=True)
    np.savez(
        path,
        keys=np.array(keys, dtype=np.uint64),
        ids=np.array(ids, dtype=np.uint64),
        urls=np.array(links, dtype=np.uint64),
        lengths=np.array(lengths, dtype=np.int64),
        sizes=np.array(sizes, dtype=np.int64),
        signatures=np.stack(signatures),
    )


def _finish(folder: Path, counts: Counts) -> None:
    (folder / STATS).write_text(json.dumps(counts.table(), ensure_ascii=False), "utf-8")


def arrays_of(parts: Sequence[Path], language: str, width: int, spill: Path, most: int) -> Arrays:
    """Of all parts, one after the other. Signatures [N, width] of more than `most` bytes are written to the file `spill` and
    mapped from there, so that the kernel may take their memory back."""
    paths = [path for part in parts if (path := part / f"{language}.npz").exists()]
    columns: list[list[np.ndarray]] = []
    for path in paths:
        with np.load(path, allow_pickle=False) as stored:
            columns.append([stored[name] for name in Arrays._fields[:-1]])
    small = [np.concatenate(of) for of in zip(*columns, strict=True)]
    shape = len(small[0]), width
    if 4 * shape[0] * width > most:
        signatures: np.ndarray = np.lib.format.open_memmap(spill, mode="w+", dtype=np.uint32, shape=shape)
    else:
        signatures = np.empty(shape, np.uint32)
    first = 0
    for path, (keys, *_) in zip(paths, columns, strict=True):
        with np.load(path, allow_pickle=False) as stored:
            signatures[first : first + len(keys)] = stored["signatures"]
        first += len(keys)
    return Arrays(*[*small, signatures])


def compare(bench: Bench, parts: Sequence[Path], language: str, out: Path) -> None:
    """Of a language's documents: which stay, and whose duplicates the others are."""
    config, counts = bench.config, Counts(bench.config.run.seed)
    half = byte_count(config.run.budget) // 2
    with new_folder(out) as folder, records.Writers(folder) as writers:
        spill = folder / "signatures.npy"
        of = arrays_of(parts, language, config.near.permutations if config.near.on else 0, spill, half)
        if config.near.on and near.BYTES_PER_DOCUMENT * len(of.keys) > half:
            raise DataError(
                f"run.budget = '{config.run.budget}' is too small to compare the {len(of.keys):,} documents in {language}: give "
                f"{-(-2 * near.BYTES_PER_DOCUMENT * len(of.keys) // 2**20)} MiB or more"
            )
        keep, like, reason = _duplicates(config, of, half)
        np.save(folder / "keep.npy", keep)
        np.save(folder / "sizes.npy", np.where(keep, of.sizes, 0))
        _write_duplicates(writers, counts, parts, language, of, like, reason)
        spill.unlink(missing_ok=True)
        _finish(folder, counts)


def _duplicates(config: CurateConfig, of: Arrays, budget: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[N] each: which stay; of which document each is a duplicate; why (1 near, 2 by URL, 0 it stays)."""
    number = len(of.keys)
    keep, like = np.ones(number, dtype=bool), np.arange(number)
    reason = np.zeros(number, dtype=np.uint8)
    if config.near.on:
        bands, rows = near.bands_for(config.near.similarity, config.near.permutations)
        groups = near.clusters(
            of.signatures,
            of.keys,
            threshold=config.near.similarity,
            bands=bands,
            rows=rows,
            budget_bytes=budget,
        )
        keep = near.keep(groups, of.lengths, of.keys, of.ids)
        stays = np.full(number, -1)
        stays[groups[keep]] = np.flatnonzero(keep)
        like, reason = stays[groups], np.where(keep, 0, 1).astype(np.uint8)
    if config.urls:
        left = np.flatnonzero(keep)
        longest = urls.keep_longest(of.urls[left], of.lengths[left], of.keys[left], of.ids[left])
        first = {int(of.urls[i]): int(i) for i in left[longest]}
        for i in left[~longest]:
            keep[i], reason[i], like[i] = False, 2, first[int(of.urls[i])]
    return keep, like, reason


def _write_duplicates(
    writers: records.Writers,
    counts: Counts,
    parts: Sequence[Path],
    language: str,
    of: Arrays,
    like: np.ndarray,
    reason: np.ndarray,
) -> None:
    """A drop for each duplicate, with the document that stays (behind a near one's may be another with its URL) and, of near ones,
    how much of the signatures is equal."""
    stays = like[like]
    wanted = set(stays[reason > 0].tolist())
    names: dict[int, str] = {}
    for at, document in enumerate(_documents(parts, language)):
        if at in wanted:
            names[at] = document.id
    for at, document in enumerate(_documents(parts, language)):
        if not reason[at]:
            continue
        if reason[at] == 1:
            same = float((of.signatures[at] == of.signatures[like[at]]).mean())
            rule, value = "near duplicate", same
        else:
            rule, value = "same URL", int(of.lengths[at])
        counts.dropped(document, NEAR, rule, f"{round(value, 3)}, like {names[int(stays[at])]}")
        writers.write(DROPS, {**records.drop(document, NEAR, rule, value), "of": names[int(stays[at])]})


def _documents(
    parts: Sequence[Path], language: str, first: int = 0, stop: int | None = None
) -> Iterator[Document]:
    """Those from `first` to `stop` of all parts together; parts that lie outside are not read."""
    begin = 0
    for part in parts:
        if not (path := part / f"{language}.npz").exists():
            continue
        with np.load(path, allow_pickle=False) as stored:
            end = begin + len(stored["keys"])
        if end > first and (stop is None or begin < stop):
            inside = slice(max(0, first - begin), None if stop is None else stop - begin)
            yield from islice(
                records.read_documents(part / f"{language}.jsonl.zst"), inside.start, inside.stop
            )
        begin = end


def buckets(bench: Bench, compared: Path) -> list[tuple[int, int]]:
    """First and last + 1 document of the stretches whose text can be compared within the budget."""
    sizes = np.load(compared / "sizes.npy")
    most = max(1, byte_count(bench.config.run.budget) // EXACT_SHARE)
    bounds, held = [0], 0
    for at, size in enumerate(sizes.tolist()):
        if held and held + size > most:
            bounds.append(at)
            held = 0
        held += size
    return list(zip(bounds, [*bounds[1:], len(sizes)], strict=True))


def finish_bucket(
    bench: Bench, parts: Sequence[Path], language: str, compared: Path, bucket: tuple[int, int], out: Path
) -> None:
    """Cut what is repeated, take out frequent lines, judge again what has changed."""
    counts = Counts(bench.config.run.seed)
    keep = np.load(compared / "keep.npy")
    documents = [
        document for at, document in enumerate(_documents(parts, language, *bucket), bucket[0]) if keep[at]
    ]
    with new_folder(out) as folder, records.Writers(folder) as writers:
        texts = [document.text for document in documents]
        texts, notes = _without_repeats(bench, documents, texts, counts)
        texts = _without_frequent_lines(bench, documents, texts, notes, counts)
        for document, text, said in zip(documents, texts, notes, strict=True):
            if said:
                lineage = [*document.metadata.get("lineage", []), *said]
                document = replace(document, text=text, metadata={**document.metadata, "lineage": lineage})
                found = ("empty", 0, 1) if not text else bench.judged(document)
                if found is not None:
                    counts.dropped(document, FINISH, found[0], found[1])
                    writers.write(DROPS, records.drop(document, FINISH, *found))
                    continue
            counts.kept(document)
            writers.write("documents", vars(document))
        _finish(folder, counts)


def _without_repeats(
    bench: Bench, documents: Sequence[Document], texts: list[str], counts: Counts
) -> tuple[list[str], list[list[str]]]:
    config, notes = bench.config, [[] for _ in texts]  # type: ignore[var-annotated]
    if not config.exact.on or not texts:
        return texts, notes
    keys = np.array([text_key(text) for text in texts], dtype=np.uint64)
    found = exact.repeated(texts, keys, least=config.exact.bytes, budget_bytes=byte_count(config.run.budget))
    result = []
    for document, text, spans, said in zip(documents, texts, found, notes, strict=True):
        if spans:
            size = sum(stop - start for start, stop in spans)
            counts.removed(document, "repeated passages", size, text[slice(*spans[0])])
            said.append(f"cut: {len(spans)} repeated passages, {size} characters")
            text = exact.cut(text, spans)
        result.append(text)
    return result, notes


def _without_frequent_lines(
    bench: Bench, documents: Sequence[Document], texts: list[str], notes: list[list[str]], counts: Counts
) -> list[str]:
    if not bench.config.lines.on or not texts:
        return texts
    seen = lines.merge(lines.count(lines.line_hashes(text)) for text in texts)
    frequent = lines.frequent(seen, more_than=bench.config.lines.most)
    result = []
    for document, text, said in zip(documents, texts, notes, strict=True):
        text, gone = lines.without(text, frequent)
        if gone:
            size = sum(map(len, gone))
            counts.removed(document, "frequent lines", size, gone[0])
            said.append(f"cut: {len(gone)} frequent lines, {size} characters")
        result.append(text)
    return result


def learn_quality(
    bench: Bench, parts: Sequence[Part], finished: Sequence[Path], language: str, out: Path
) -> None:
    """What the good texts of a language are like."""
    counts = Counts(bench.config.run.seed)
    with new_folder(out) as folder:
        quality.learn(bench.config, parts, finished, language, bench.spaces(language), folder, counts)
        _finish(folder, counts)


def grade_bucket(bench: Bench, learned: Path, finished: Path, language: str, out: Path) -> None:
    """A stretch's documents with their scores."""
    counts = Counts(bench.config.run.seed)
    with new_folder(out) as folder, records.Writers(folder) as writers:
        quality.grade(learned, finished, bench.spaces(language), writers, counts)
        _finish(folder, counts)


_STAGES: dict[str, Callable[..., None]] = {
    READ: read_part,
    NEAR: compare,
    FINISH: finish_bucket,
    LEARN: learn_quality,
    GRADE: grade_bucket,
}
