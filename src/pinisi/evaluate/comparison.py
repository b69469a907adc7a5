"""Compares results of `pinisi evaluate` on the same samples: what differs in how they were made, and in their scores.

The first result is what the others are held against. p-values of one measure are corrected together, over all languages, tasks
and models (Holm).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.errors import DataError
from pinisi.base.json_text import parse, read_utf8
from pinisi.evaluate.intervals import LEVEL
from pinisi.evaluate.samples import LOWER_IS_BETTER, score_of, statistics_of
from pinisi.evaluate.statistics import SACREBLEU_SWAPS, SWAPS, PairedDifference, holm, paired_difference

FORMAT = 1  # of a comparison
RESULT_FORMAT = 1  # of what is compared
PLAIN = ("mean", "ratio", "exponential")  # kinds of scores that are quick to work out
# Of a task or text: not how it was asked, but what was found.
FOUND = (
    "scores",
    "samples",
    "examples",
    "merged_borders",
    "cut_on_the_left",
    "ended",
    "tokens",
    "fertility",
    "confusion",
    "contamination",
    "languages",
)
_NUMBERS = re.compile(r"\[\n([^\[\]{}]*?)\n\s*\]")  # a list of JSON that holds no other


class ComparedScore(NamedTuple):
    """One measure of one task or text, of two models. verdict: "better", "worse", "not told apart" or "too few differ"."""

    name: str
    language: str
    measure: str
    baseline: float
    score: float
    difference: PairedDifference
    p_corrected: float
    verdict: str


class ResultPart(NamedTuple):
    """A task, or a language of a component, within a result."""

    name: str
    language: str
    content: Mapping[str, Any]


def result_text(result: Mapping[str, Any]) -> str:
    """A result as JSON, in which lists of numbers or names stand on one line."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    return _NUMBERS.sub(lambda found: "[" + re.sub(r"\n\s*", " ", found[1]).strip() + "]", text) + "\n"


def read_result(path: str | Path) -> dict[str, Any]:
    """Reads what `pinisi evaluate --out` wrote. Raises DataError for anything else."""
    try:
        result = parse(read_utf8(Path(path)))
    except ValueError as error:
        raise DataError(
            f"{path} is no result of pinisi evaluate ({error}): give a file that --out wrote"
        ) from None
    if not isinstance(result, dict) or result.get("format") != RESULT_FORMAT or "model" not in result:
        raise DataError(f"{path} is no result of pinisi evaluate: give a file that --out wrote")
    try:
        parts = list(parts_of(result))
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is no whole result of pinisi evaluate: evaluate the model again") from None
    for part in parts:
        if "samples" not in part.content:
            raise DataError(
                f"{path}: {part.name} keeps no samples, since an earlier version wrote it: evaluate the model again"
            )
    return result


def parts_of(result: Mapping[str, Any]) -> Iterator[ResultPart]:
    """All tasks and texts of a result."""
    for task in result.get("tasks", ()):
        yield ResultPart(task["name"], task["language"], task)
    for loss in result.get("losses", ()):
        yield ResultPart(f"{loss['component']}/{loss['language']}", loss["language"], loss)


def compare(
    results: Mapping[str, Mapping[str, Any]], *, seed: int = 0, leave_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Compares each result with the first; JSON.

    results: {name: result}, at least two. leave_out: names of tasks or texts that aren't compared. Raises DataError that names
    every task and text whose samples differ, and where nothing is shared.
    """
    (first, baseline), *others = results.items()
    shared = {name: _pairs(first, baseline, name, other, leave_out) for name, other in others}
    if faults := [fault for name, pairs in shared.items() for fault in _different(first, name, pairs)]:
        raise DataError("\n".join(["results of different samples can't be compared:", *faults]))
    if empty := [name for name, pairs in shared.items() if not pairs]:
        raise DataError(f"{first} and {empty[0]} share no task and no text: evaluate both on the same")
    scores = {
        name: _scores(pairs, baseline, others_, seed)
        for (name, others_), pairs in zip(others, shared.values(), strict=True)
    }
    corrected = _corrected(scores)
    return {
        "format": FORMAT,
        "baseline": first,
        "level": LEVEL,
        "models": {name: _told(result) for name, result in results.items()},
        "comparisons": [
            {
                "model": name,
                "configuration": _configuration(baseline, other, shared[name]),
                "only_in_baseline": _only(baseline, other),
                "only_in_model": _only(other, baseline),
                "scores": [_as_json(score) for score in corrected[name]],
            }
            for name, other in others
        ],
    }


def _pairs(
    first: str, baseline: Mapping[str, Any], name: str, other: Mapping[str, Any], leave_out: Sequence[str]
) -> list[tuple[ResultPart, ResultPart]]:
    theirs = {part.name: part for part in parts_of(other)}
    mine = list(parts_of(baseline))
    known = {part.name for part in mine} | set(theirs)
    if strange := [each for each in leave_out if each not in known]:
        raise DataError(
            f"{first} and {name} have nothing called {strange[0]!r} to leave out; there are {', '.join(sorted(known))}"
        )
    return [(part, theirs[part.name]) for part in mine if part.name in theirs and part.name not in leave_out]


def _different(first: str, name: str, pairs: Sequence[tuple[ResultPart, ResultPart]]) -> Iterator[str]:
    """Says of each pair of other samples how they differ."""
    for a, b in pairs:
        if why := _difference(a.content, b.content):
            yield f"  {a.name} of {first} and {name}: {why}; evaluate both on the same, or --leave-out {a.name}"


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    if a["language"] != b["language"]:
        return f"their languages are {a['language']} and {b['language']}"
    if a["digest"] != b["digest"]:
        return f"their files differ (SHA-256 {a['digest'][:12]} and {b['digest'][:12]})"
    mine, theirs = a["samples"]["ids"], b["samples"]["ids"]
    if len(mine) != len(theirs):
        return f"they have {len(mine)} and {len(theirs)} samples"
    place = next((n for n, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1]), None)
    return None if place is None else f"sample {place} is {mine[place]!r} and {theirs[place]!r}"


def _scores(
    pairs: Sequence[tuple[ResultPart, ResultPart]],
    baseline: Mapping[str, Any],
    other: Mapping[str, Any],
    seed: int,
) -> list[ComparedScore]:
    same_tokens = baseline["model"]["tokenizer"] == other["model"]["tokenizer"]
    found = []
    for a, b in pairs:
        mine, theirs = a.content["samples"]["measures"], b.content["samples"]["measures"]
        for measure in (
            name for name in mine if name in theirs and mine[name]["kind"] == theirs[name]["kind"]
        ):
            if measure == "perplexity" and not same_tokens:
                continue  # of other tokens: no number to compare
            kind = mine[measure]["kind"]
            difference = paired_difference(
                statistics_of(mine[measure]),
                statistics_of(theirs[measure]),
                score_of(kind),
                seed,
                swaps=SWAPS if kind in PLAIN else SACREBLEU_SWAPS,
            )
            before, after = (part.content["scores"][measure]["value"] for part in (a, b))
            found.append(ComparedScore(a.name, a.language, measure, before, after, difference, 1.0, ""))
    return found


def _corrected(scores: Mapping[str, Sequence[ComparedScore]]) -> dict[str, list[ComparedScore]]:
    """Corrects each measure over all of its tests, and says what they tell."""
    found = {name: list(each) for name, each in scores.items()}
    places: dict[str, list[tuple[str, int]]] = {}
    for name, each in found.items():
        for number, score in enumerate(each):
            places.setdefault(score.measure, []).append((name, number))
    for family in places.values():
        p_values = holm([found[name][number].difference.p for name, number in family])
        for (name, number), p in zip(family, p_values, strict=True):
            score = found[name][number]
            found[name][number] = score._replace(
                p_corrected=p, verdict=verdict_of(score.measure, score.difference, p)
            )
    return found


def verdict_of(measure: str, found: PairedDifference, p: float) -> str:
    """What a corrected p-value tells."""
    if found.telling and found.least_p > 1 - LEVEL:
        return "too few differ"
    if not p <= 1 - LEVEL:
        return "not told apart"
    return "better" if (found.difference > 0) != (measure in LOWER_IS_BETTER) else "worse"


def _configuration(
    baseline: Mapping[str, Any], other: Mapping[str, Any], pairs: Sequence[tuple[ResultPart, ResultPart]]
) -> dict[str, list[Any]]:
    """{key: [the baseline's, the other's]} of all settings that differ."""
    sides: list[dict[str, Any]] = [{}, {}]
    for side, result in zip(sides, (baseline, other), strict=True):
        for section in ("versions", "model", "intervals"):
            side |= dict(_flat(section, result.get(section)))
    for pair in pairs:
        for side, part in zip(sides, pair, strict=True):
            asked = {key: value for key, value in part.content.items() if key not in FOUND}
            side |= dict(_flat(part.name, asked))
    keys = dict.fromkeys([*sides[0], *sides[1]])
    return {key: [side.get(key) for side in sides] for key in keys if sides[0].get(key) != sides[1].get(key)}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value


def _only(result: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    theirs = {part.name for part in parts_of(other)}
    return [part.name for part in parts_of(result) if part.name not in theirs]


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result["model"].get(key) for key in ("path", "kind", "digest")}


def _as_json(score: ComparedScore) -> dict[str, Any]:
    return {**score._asdict(), "difference": score.difference._asdict()}
