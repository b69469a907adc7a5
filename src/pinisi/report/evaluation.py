"""Writes the page of evaluations: models by languages by tasks with intervals, what changed, and examples to read.

It takes what `pinisi evaluate --out` wrote, and what `pinisi compare` found of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.files import write_whole
from pinisi.report import numbers
from pinisi.report.cost_chart import colour
from pinisi.report.render import render
from pinisi.report.score_chart import ScoreRow, ScoreUnit, both_widths

# Of a kind of task: the measure that is drawn. The others stand in the tables.
MAIN = {"choice": "accuracy", "answer": "f1", "translation": "chrf++", "loss": "bits_per_byte"}
SHARES = ("accuracy", "exact_match", "f1", "language_", "other_scripts")  # names that begin so are shares
SHARE, POINTS, BITS, PLAIN = ScoreUnit(100, 1, " %"), ScoreUnit(1, 1), ScoreUnit(1, 3), ScoreUnit(1, 3)
EXAMPLES = 6  # of a task
COMPARED = [
    "task or text",
    "measure",
    "verdict",
    "before",
    "after",
    "difference",
    "interval",
    "differ",
    "corrected p",
]
Results = Mapping[str, Mapping[str, Any]]


class ScoreGroup(NamedTuple):
    """Tasks that are asked alike in several languages, or the text of one component: by row the part of each model that has it."""

    title: str
    kind: str
    rows: dict[str, dict[str, Mapping[str, Any]]]


def write_evaluation(
    results: Results,
    path: str | Path,
    *,
    comparison: Mapping[str, Any] | None = None,
    left_out: Sequence[str] = (),
    languages: Mapping[str, str] | None = None,
    title: str = "Evaluation",
) -> Path:
    """Writes the page, one HTML file that loads nothing; returns where it is.

    results: by name of the model. comparison: of `evaluate.comparison.compare`. left_out: sentences on what isn't compared.
    languages: names by code.
    """
    shown = evaluation_page(
        results, comparison=comparison, left_out=left_out, languages=languages or {}, title=title
    )
    return write_whole(path, shown)


def evaluation_page(
    results: Results,
    *,
    comparison: Mapping[str, Any] | None,
    left_out: Sequence[str],
    languages: Mapping[str, str],
    title: str,
) -> str:
    """The page's HTML, which is also well-formed XML."""
    models = list(results)
    groups = list(score_groups(results))
    level = numbers.percent(next(iter(results.values()))["intervals"]["level"], 0)
    return render(
        "evaluation.html",
        title=title,
        lead=", ".join(models),
        level=level,
        names=models,
        compared=COMPARED,
        key=[(colour(number), name) for number, name in enumerate(models)],
        models=[_model(name, result) for name, result in results.items()],
        groups=[_group(group, models, languages) for group in groups],
        changes=[]
        if comparison is None
        else [_change(comparison, each) for each in comparison["comparisons"]],
        left_out=list(left_out),
        examples=[view for group in groups for view in _examples(group, models)],
    )


def unit_of(measure: str) -> ScoreUnit:
    """How a measure's numbers are written."""
    if measure.startswith(SHARES):
        return SHARE
    return POINTS if measure.startswith(("chrf", "bleu")) else BITS if measure == "bits_per_byte" else PLAIN


def told(measure: str) -> str:
    """A measure's name as people write it."""
    if measure.startswith("bleu_"):
        return f"BLEU of {'characters' if measure == 'bleu_char' else measure.removeprefix('bleu_')}"
    return {"chrf++": "chrF++", "f1": "F1"}.get(measure, measure.replace("_", " "))


def score_groups(results: Results) -> Iterator[ScoreGroup]:
    """All tasks and texts, in the order in which the results have them."""
    found: dict[tuple, ScoreGroup] = {}
    for model, result in results.items():
        for part in [*result["tasks"], *result["losses"]]:
            key, title, kind = _kind(part)
            group = found.setdefault(key, ScoreGroup(title, kind, {}))
            row = part["name"] if kind != "loss" and _taken(group, part, model) else part["language"]
            group.rows.setdefault(row, {})[model] = part
    yield from found.values()


def _kind(part: Mapping[str, Any]) -> tuple[tuple, str, str]:
    """(what tells groups apart, title, kind) of a task or a text."""
    if "component" in part:
        return ("loss", part["component"]), f"Text: {part['component']}", "loss"
    how = part["settings"]
    shots = f"{how['shots']} examples" if how["shots"] else ""
    source = f"from {how['source']}" if how["source"] else ""
    more = [
        how["style"],
        source,
        shots,
        "as a chat" if how["chat"] else "",
        f"first {how['limit']}" if how["limit"] else "",
    ]
    title = ", ".join(str(each) for each in (how["format"], *more) if each)
    return ("task", title, part["kind"]), title, part["kind"]


def _taken(group: ScoreGroup, part: Mapping[str, Any], model: str) -> bool:
    """Whether the language's row of this model is that of another task."""
    there = group.rows.get(part["language"], {})
    return any(name == model or each["name"] != part["name"] for name, each in there.items())


def _model(name: str, result: Mapping[str, Any]) -> list[str]:
    model = result["model"]
    digests = [str(model.get(key) or "")[:12] for key in ("digest", "tokenizer")]
    version = str(result["versions"]["pinisi"])
    return [
        name,
        str(model["path"]),
        str(model["kind"]),
        str(model["dtype"]),
        str(model["longest"]),
        *digests,
        version,
    ]


def _group(group: ScoreGroup, models: Sequence[str], languages: Mapping[str, str]) -> dict[str, Any]:
    """A chart of the main measure, a table of it, and one of all measures."""
    main, unit = MAIN[group.kind], unit_of(MAIN[group.kind])
    rows = [
        ScoreRow(
            languages.get(name, name),
            [_score(parts.get(model), main) for model in models],
            next((part.get("chance") for part in parts.values()), None),
        )
        for name, parts in group.rows.items()
    ]
    return {
        "title": group.title,
        "measure": told(main),
        "better": "less" if group.kind == "loss" else "more",
        "of": "documents" if group.kind == "loss" else "items",
        "chance": any(row.level is not None for row in rows),
        "chart": both_widths(rows, models, unit, f"{told(main)} of {group.title} by language"),
        "rows": [_row(group, name, row, unit) for name, row in zip(group.rows, rows, strict=True)],
        "every": [line for name in group.rows for line in _every(group, name, models, languages)],
    }


def _row(group: ScoreGroup, name: str, row: ScoreRow, unit: ScoreUnit) -> list[str]:
    count = next(iter(group.rows[name].values()))["documents" if group.kind == "loss" else "items"]
    level = [] if row.level is None else [unit.text(row.level)]
    return [row.name, numbers.count(count), *level, *(_cell(score, unit) for score in row.scores)]


def _cell(score: Mapping[str, Any] | None, unit: ScoreUnit) -> str:
    if score is None:
        return ""
    return f"{unit.text(score['value'])} ({unit.text(score['low'])} to {unit.text(score['high'])})"


def _every(
    group: ScoreGroup, name: str, models: Sequence[str], languages: Mapping[str, str]
) -> Iterator[list[str]]:
    parts = group.rows[name]
    for measure in dict.fromkeys(measure for part in parts.values() for measure in part["scores"]):
        cells = (_cell(_score(parts.get(model), measure), unit_of(measure)) for model in models)
        yield [languages.get(name, name), told(measure), *cells]


def _score(part: Mapping[str, Any] | None, measure: str) -> Mapping[str, Any] | None:
    return None if part is None else part["scores"].get(measure)


def _change(comparison: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """One model against the baseline: a chart for each measure that is drawn, and all measures in tables."""
    main = set(MAIN.values())
    drawn = [score for score in change["scores"] if score["measure"] in main]
    charts = []
    for measure in dict.fromkeys(score["measure"] for score in drawn):
        found = [(each["name"], each["difference"]) for each in drawn if each["measure"] == measure]
        rows = [ScoreRow(name, [{**each, "value": each["difference"]}]) for name, each in found]
        less = " (less is better)" if measure == MAIN["loss"] else ""
        label = f"{told(measure)} of {change['model']} less that of {comparison['baseline']}"
        chart = both_widths(rows, [change["model"]], unit_of(measure), label, zero=True)
        charts.append((told(measure) + less, chart))
    verdicts = [score["verdict"] for score in drawn]
    return {
        "model": change["model"],
        "baseline": comparison["baseline"],
        "counts": {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(sorted(verdicts))},
        "charts": [(name, both) for name, both in charts if both is not None],
        "main": [_compared(score) for score in drawn],
        "others": [_compared(score) for score in change["scores"] if score["measure"] not in main],
        "settings": [[key, *map(_setting, pair)] for key, pair in change["configuration"].items()],
        "only": [
            (whose, ", ".join(change[key]))
            for key, whose in (
                ("only_in_baseline", comparison["baseline"]),
                ("only_in_model", change["model"]),
            )
            if change[key]
        ],
    }


def _compared(score: Mapping[str, Any]) -> list[str]:
    found, unit = score["difference"], unit_of(score["measure"])
    low, high = (unit.text(found[key], signed=True) for key in ("low", "high"))
    return [
        score["name"],
        told(score["measure"]),
        score["verdict"],
        unit.text(score["baseline"]),
        unit.text(score["score"]),
        unit.text(found["difference"], signed=True),
        f"{low} to {high}",
        f"{found['telling']} of {found['samples']}",
        f"{score['p_corrected']:.2g}",
    ]


def _setting(value: Any) -> str:
    return "–" if value is None else str(value)


def _examples(group: ScoreGroup, models: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Of each task some items, those first on which models differ, then those that the first one got wrong."""
    for parts in group.rows.values():
        if items := _items(parts, models):
            first = next(iter(parts.values()))
            yield {
                "title": f"{group.title}: {first['language']}",
                "language": first["language"],
                "items": items,
            }


def _items(parts: Mapping[str, Mapping[str, Any]], models: Sequence[str]) -> list[dict[str, Any]]:
    asked = {
        name: {each["id"]: each for each in parts[name].get("examples", ())}
        for name in models
        if name in parts
    }
    first = next(iter(asked.values()))

    def order(id: str) -> tuple[bool, bool]:
        answers = {each[id]["answer"] for each in asked.values() if id in each}
        return len(answers) < 2, first[id]["score"] == 1

    found = []
    for id in sorted(first, key=order)[:EXAMPLES]:
        answers = [(name, each[id]["answer"], _mark(each[id])) for name, each in asked.items() if id in each]
        kept = {key: first[id][key] for key in ("id", "question", "choices", "right")}
        found.append({**kept, "answers": answers})
    return found


def _mark(example: Mapping[str, Any]) -> str:
    score = example["score"]
    if score is None or not numbers.is_number(score):
        return ""
    return "right" if score == 1 else "wrong" if score == 0 else f"F1 {score:.2f}"
