"""Knows which files in run.folder a run made itself: only these are ever replaced or deleted."""

import json
from collections.abc import Iterable
from pathlib import Path

from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.base.made import MARK

WHAT = "curation"
REPORTS = "dropped/all.jsonl.zst", "dropped/unreadable.jsonl.zst", "report.html", "report.json"


def result_of(languages: Iterable[str], graded: Iterable[str]) -> list[str]:
    """Returns the names of the files that a run may make, from its folder on. graded: languages that get a top/ file."""
    documents = [f"documents/{language}.jsonl.zst" for language in sorted(languages)]
    return [*documents, *(f"top/{language}.jsonl.zst" for language in sorted(graded)), *REPORTS]


def is_report(text: str | bytes) -> bool:
    """Whether this is the content of a report.json that a curation wrote."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and {"languages", "errors"} <= found.keys()


class Made:
    """Keeps, in a hidden file of run.folder, the names of the files that runs made there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names, self._before = self._read()

    @property
    def names(self) -> list[str]:
        """The files that are known, sorted."""
        return sorted(self._names)

    def check(self, names: Iterable[str]) -> None:
        """Raises DataError for a file of these names that lies there and that no run made."""
        for name in names:
            path = self._folder / name
            if name not in self._names and not self._before and (path.exists() or path.is_symlink()):
                raise DataError(
                    f"{path} is there and no curation made it, so it is left alone: move it away, or give another run.folder"
                )

    def begin(self, names: Iterable[str]) -> None:
        """Notes the files that are about to be made, so that a killed run's are known, too. Raises DataError, OSError."""
        names = list(names)
        self.check(names)
        self._write(self._names | set(names))

    def remove_others(self, names: Iterable[str]) -> None:
        """Deletes what runs made and the last one did not. Raises OSError."""
        for name in sorted(self._names - set(names)):
            (self._folder / name).unlink(missing_ok=True)
        self._write(set(names))

    def _write(self, names: set[str]) -> None:
        self._names, self._before = names, False
        table = {"what": WHAT, "files": sorted(names)}
        write_whole(self._folder / MARK, json.dumps(table, ensure_ascii=False, indent=1) + "\n")

    def _read(self) -> tuple[set[str], bool]:
        """The names; and whether there are none because a version that kept none made what lies there."""
        try:
            found = json.loads((self._folder / MARK).read_text("utf-8"))
            names = {name for name in found["files"] if _inside(name)} if found["what"] == WHAT else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set(), self._has_report()
        return names, False

    def _has_report(self) -> bool:
        try:
            return is_report((self._folder / "report.json").read_bytes())
        except OSError:
            return False


def _inside(name: object) -> bool:
    """Whether a name is one that `result_of` gives: an edited list never has another file deleted."""
    if not isinstance(name, str):
        return False
    folder, _, file = name.rpartition("/")
    return name in REPORTS or (folder in ("documents", "top") and file.endswith(".jsonl.zst"))
