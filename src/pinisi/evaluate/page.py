"""Makes one page of several results of `pinisi evaluate`: reads them, compares what can be compared, and has it written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.evaluate.comparison import compare, parts_of, read_result
from pinisi.evaluate.prompts import LANGUAGE_NAMES
from pinisi.report.evaluation import write_evaluation


def write_page(files: Mapping[str, str | Path], out: str | Path, *, seed: int = 0) -> Path:
    """Writes the page of these results, by the models' names; the first is what the others are compared with. Returns where it is.

    Raises DataError for a file that is no result.
    """
    results = {name: read_result(path) for name, path in files.items()}
    try:
        comparison, notes = _compared(results, seed)
        return write_evaluation(results, out, comparison=comparison, left_out=notes, languages=LANGUAGE_NAMES)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration) as error:
        names = ", ".join(map(str, files.values()))
        raise DataError(
            f"{names}: a result isn't of the form that `pinisi evaluate --out` writes ({type(error).__name__}: {error}); "
            "evaluate again"
        ) from None


def _compared(results: Mapping[str, Any], seed: int) -> tuple[dict[str, Any] | None, list[str]]:
    """What `compare` finds of all that was asked alike, and sentences on what is left out."""
    first, *others = results
    notes = {part: note for other in others for part, note in _differing(results, first, other).items()}
    shared = {name: {part.name for part in parts_of(result)} - set(notes) for name, result in results.items()}
    apart = [name for name in others if not shared[first] & shared[name]]
    told = [*notes.values(), *(f"{name} and {first} share nothing that can be compared." for name in apart)]
    kept = {name: result for name, result in results.items() if name not in apart}
    if len(kept) < 2:
        return None, told
    return compare(kept, seed=seed, leave_out=list(notes)), told


def _differing(results: Mapping[str, Any], first: str, other: str) -> dict[str, str]:
    """{task or text: why it isn't compared} of what both have, of other samples."""
    mine, theirs = ({part.name: part.content for part in parts_of(results[name])} for name in (first, other))
    return {
        name: f"{name} isn't compared: {first} and {other} were given other files or other items of them."
        for name in mine
        if name in theirs and _samples(mine[name]) != _samples(theirs[name])
    }


def _samples(part: Mapping[str, Any]) -> tuple[Any, ...]:
    return part["language"], part["digest"], part["samples"]["ids"]
