"""Marks the folders that Pinisi made, so that nothing else is ever replaced."""

import json
from collections.abc import Callable
from pathlib import Path

from pinisi.base import json_text
from pinisi.base.errors import DataError

MARK = ".pinisi.json"  # in a folder that we made: what it is, and the files that we put there


def mark(folder: Path, what: str) -> None:
    """Writes into a folder that is being made what it is and which files are ours: all that are there. Raises OSError."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    (folder / MARK).write_text(json.dumps({"what": what, "files": files}, indent=1) + "\n", "utf-8")


def check_ours(
    out: Path, what: str, setting: str, before: Callable[[Path], list[str] | None] = lambda out: None
) -> None:
    """Raises DataError if `out` is there and anything in it was not made as `what` by us; names the first such file.

    setting: the option that chose `out`, such as "--out". before: of a folder without a mark, the names of the files in it that an
    older version made, or None if it is none of ours.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise DataError(f"{out} is a file, and is left alone: give another {setting}")
    known = _marked(out, what)
    known = before(out) if known is None else known
    if known is None:
        raise DataError(
            f"{out} exists and was not made as {what} by this program, so it is left alone: give another {setting}, or empty it"
        )
    ours = {MARK, *known}
    ours |= {parent.as_posix() for name in known for parent in Path(name).parents}
    there = {
        path.relative_to(out).as_posix() for path in out.rglob("*")
    }  # links, pipes and empty folders too
    if strange := sorted(there - ours):
        raise DataError(
            f"{out} holds {strange[0]}, which was not put there with the {what}, so the folder is left alone: move it away, or "
            f"give another {setting}"
        )


def _marked(out: Path, what: str) -> list[str] | None:
    """The files that a folder's mark names; None if it has no mark of this kind."""
    try:
        found = json_text.parse((out / MARK).read_text("utf-8"))
        ours = found["what"] == what and all(isinstance(name, str) for name in found["files"])
        return found["files"] if ours else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
