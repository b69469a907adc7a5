"""Fetches evaluation sets from their public addresses, with licence and source beside them, and a file of tasks that asks them.

FOLDER/<set>/<files>, SOURCES.json (address, licence, digests) and tasks.toml for `pinisi evaluate --tasks`. Nothing that is fetched
here belongs into a repository.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import cache_folder, write_whole
from pinisi.base.libraries import library
from pinisi.base.lock import only_one
from pinisi.data.sample.download import NotFetched, download
from pinisi.data.sample.evaluation_sources import FLORES_CODES, SETS, SourceFile, source_files

LIST, TASKS = "SOURCES.json", "tasks.toml"
PIVOT = "en"  # translated from, and into
Report = Callable[[str], Any]


def fetch_sets(
    folder: str | Path,
    *,
    sets: Iterable[str] | None = None,
    languages: Iterable[str] | None = None,
    report: Report = print,
    files: Sequence[SourceFile] | None = None,
    cache: str | Path | None = None,
) -> dict[str, Any]:
    """Fetches what isn't there yet, and returns SOURCES.json.

    What is there is held against its digest and left as it is. Raises DataError when something can't be had, after all that can has
    been fetched; a later call goes on. files: instead of the known ones.
    """
    folder = Path(folder)
    wanted = _wanted(list(source_files()) if files is None else files, sets, languages)
    if folder.exists() and any(folder.iterdir()) and not (folder / LIST).is_file():
        raise DataError(f"{folder} exists and holds no evaluation sets: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder, folder / ".lock", "folder"):
        return _Fetching(folder, Path(cache) if cache else cache_folder() / "evaluation", report).all(wanted)


def _wanted(
    files: Sequence[SourceFile], sets: Iterable[str] | None, languages: Iterable[str] | None
) -> list[SourceFile]:
    known = {file.set for file in files}, {file.language for file in files}
    chosen = [None if names is None else set(names) for names in (sets, languages)]
    for names, there, what in zip(chosen, known, ("set", "language"), strict=True):
        if names is not None and (missing := names - there):
            raise DataError(
                f"there is no evaluation {what} {min(missing)!r}: there are {', '.join(sorted(there))}"
            )
    return [
        file
        for file in files
        if (chosen[0] is None or file.set in chosen[0])
        # translation needs the other side too
        and (
            chosen[1] is None
            or file.language in chosen[1]
            or (file.set in ("flores", "ntrex") and file.language == PIVOT)
        )
    ]


class _Fetching:
    """One call's work: what failed, and which hosts don't answer."""

    def __init__(self, folder: Path, cache: Path, report: Report) -> None:
        self.folder, self.cache, self.report = folder, cache, report
        self.unreachable: Counter[str] = Counter()
        self.failed: list[str] = []
        listing = _listing(folder)
        self.entries: dict[str, Any] = listing.get("files", {})

    def all(self, wanted: Sequence[SourceFile]) -> dict[str, Any]:
        for number, file in enumerate(wanted, 1):
            if self._is_there(file):
                continue
            host = urlsplit(file.url).netloc
            if self.unreachable[host]:
                self.failed.append(f"{file.name}: {host} can't be reached")
                continue
            try:
                self.entries[file.name] = self._entry(file)
            except NotFetched as error:
                self.unreachable[host] += error.unreachable
                self.failed.append(f"{file.name}: {error}")
                self.report(f"without {file.name}: {error}")
                continue
            self._write()
            self.report(f"{number} of {len(wanted)}: {file.name} ({SETS[file.set].licence})")
        listing = self._write()
        if self.failed:
            there = len(wanted) - len(self.failed)
            raise DataError(
                f"{len(self.failed)} of {len(wanted)} files of evaluation sets can't be had, such as {self.failed[0]}; {there} are "
                f"in {self.folder}: run this again where there is a network; it goes on with what is missing, or copy the "
                "folder from there"
            )
        return listing

    def _is_there(self, file: SourceFile) -> bool:
        entry, path = self.entries.get(file.name), self.folder / file.name
        if entry is None or entry["url"] != file.url or not path.is_file():
            return False
        if digests.of_file(path) == entry["sha256"]:
            return True
        self.report(f"{file.name} isn't what was fetched (its digest differs): fetched again")
        return False

    def _entry(self, file: SourceFile) -> dict[str, Any]:
        """Fetches one file, and says what it is."""
        path, notes = self.folder / file.name, SETS[file.set]
        old = self.entries.get(file.name, {})
        first = old.get("source_sha256") if old.get("url") == file.url else None
        if not file.becomes:
            got = download(file.url, path, file.sha256 or first)
            source = got.sha256
        else:
            source = self._converted(file, path, file.sha256 or first)
        return {
            "set": file.set,
            "language": file.language,
            "url": file.url,
            "licence": notes.licence,
            "source": notes.source,
            "source_sha256": source,
            "digest_from": "this version" if file.sha256 else "the first fetch",
            "sha256": digests.of_file(path),
            "examples": file.examples,
        }

    def _converted(self, file: SourceFile, path: Path, sha256: str | None) -> str:
        """Makes the file out of an archive or another form, which is kept in the cache: several files may be in it."""
        kept = self.cache / f"{digests.of_bytes(file.url.encode())[:16]}-{Path(urlsplit(file.url).path).name}"
        if not kept.is_file() or (sha256 is not None and digests.of_file(kept) != sha256):
            download(file.url, kept, sha256)
        try:
            write_whole(path, _content(file, kept))
        except (OSError, KeyError, ValueError, tarfile.TarError) as error:
            kept.unlink(missing_ok=True)
            raise NotFetched(
                f"{file.url} isn't what is known of it ({type(error).__name__}: {error})"
            ) from None
        return digests.of_file(kept)

    def _write(self) -> dict[str, Any]:
        listing = {"sets": {name: notes._asdict() for name, notes in SETS.items()}, "files": self.entries}
        write_whole(self.folder / LIST, json.dumps(listing, indent=1, ensure_ascii=False) + "\n")
        write_whole(self.folder / TASKS, tasks_toml(self.entries))
        return listing


def _listing(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / LIST).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise DataError(f"{folder / LIST} is no JSON: delete it to fetch everything again") from None


def _content(file: SourceFile, kept: Path) -> str:
    """A fetched file in the form that is read."""
    if file.becomes == "lines":
        table = library("pyarrow.parquet").read_table(kept)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
    if file.becomes == "flores":
        code = FLORES_CODES[file.language]
        with tarfile.open(kept) as archive:
            member = next(m for m in archive if m.name.endswith(f"/devtest/{code}.devtest") and m.isfile())
            content = archive.extractfile(member)
            assert content is not None
            return content.read().decode("utf-8")
    prefix = file.becomes.partition(":")[2]
    value = json.loads(kept.read_text("utf-8"))
    kept_articles = []
    for article in value["data"]:
        paragraphs = [
            {**paragraph, "qas": [qa for qa in paragraph["qas"] if str(qa["id"]).startswith(f"{prefix}-")]}
            for paragraph in article["paragraphs"]
        ]
        if paragraphs := [paragraph for paragraph in paragraphs if paragraph["qas"]]:
            kept_articles.append({**article, "paragraphs": paragraphs})
    if not kept_articles:
        raise ValueError(f"it has no question of {prefix}")
    return json.dumps({"data": kept_articles}, ensure_ascii=False)


def tasks_toml(entries: dict[str, Any]) -> str:
    """A file of tasks that asks all of it; with examples where the set has some, from English and into it."""
    lines = [
        "# Written by pinisi corpus fetch --evaluation: what it fetched, as tasks. pinisi evaluate MODEL --tasks THIS"
    ]
    examples = {(e["set"], e["language"]): name for name, e in entries.items() if e["examples"]}
    for name, entry in sorted(entries.items()):
        form, language = SETS[entry["set"]].format, entry["language"]
        if entry["examples"]:
            continue
        if entry["set"] in ("flores", "ntrex"):
            if language == PIVOT or f"{entry['set']}/{PIVOT}.txt" not in entries:
                continue
            for source, target in ((PIVOT, language), (language, PIVOT)):
                lines += _task(format=form, language=target, source=source, file=entry["set"])
            continue
        more = {"examples": examples[entry["set"], language]} if (entry["set"], language) in examples else {}
        lines += _task(format=form, language=language, file=name, **more)
    return "\n".join(lines) + "\n"


def _task(**settings: str) -> list[str]:
    return ["", "[[tasks]]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
