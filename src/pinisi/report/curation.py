"""The page of a curation: what went in, what each rule took from each language, and what it looked like."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.report.charts import svg, text
from pinisi.report.numbers import count, percent, short
from pinisi.report.sections import legend, missing, section, table
from pinisi.report.style import STYLE

WIDTH = 1080
KINDS = 8  # colours: the seven rules that take most, and the rest
STAGES = {"read": "first pass", "near": "duplicates", "finish": "second pass"}
MORE = """
details{border-top:1px solid var(--rule);padding:7px 0}
summary{cursor:pointer;font-weight:560}
summary small{color:var(--quiet);font-weight:400;margin-left:8px}
blockquote{margin:5px 0 9px;padding:2px 0 2px 12px;border-left:3px solid var(--rule);font-size:14px;
white-space:pre-wrap;overflow-wrap:anywhere}
blockquote small{color:var(--quiet);display:block;font-size:12.5px}
td.heat{text-align:right}
h4{margin:12px 0 2px;font-size:13.5px;font-weight:600}
"""
Languages = Mapping[str, dict[str, Any]]


def write_curation_report(data: Mapping[str, Any], out: Path, *, title: str) -> Path:
    """One self-contained HTML file of what report.json holds; returns where it is."""
    return write_whole(out, page(data, title))


def page(data: Mapping[str, Any], title: str) -> str:
    """The page's HTML, which is also well-formed XML."""
    languages: Languages = data["languages"]
    parts = [
        _headline(languages, data["errors"]),
        _funnel(languages),
        _rules(languages),
        _cuts(languages),
        _personal(languages),
        _flagged(languages, data.get("flagged", {})),
        _identified(languages),
        _lengths(languages),
        _quality(languages, data.get("quality", {})),
        _samples(languages),
        _unreadable(data["errors"]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{_visible(title)} · Pinisi</title><style>{STYLE}{MORE}</style></head><body>"
        f"<header><p>Pinisi curation report</p><h1>{_visible(title)}</h1></header>"
        f"<main>{''.join(parts)}</main></body></html>\n"
    )


def _headline(languages: Languages, errors: Mapping[str, int]) -> str:
    total = {
        key: sum(of[key] for of in languages.values())
        for key in ("documents", "kept", "characters", "kept_characters")
    }
    share = total["kept"] / total["documents"] if total["documents"] else 0.0
    cards = [
        ("documents", count(total["documents"]), f"{short(total['characters'])} characters"),
        ("kept", count(total["kept"]), f"{percent(share)} of them"),
        (
            "characters kept",
            short(total["kept_characters"]),
            _share(total["kept_characters"], total["characters"]),
        ),
        ("languages", str(sum(of["kept"] > 0 for of in languages.values())), "with documents that are kept"),
        ("unreadable", count(sum(errors.values())), "lines, records or files"),
    ]
    inside = "".join(
        f'<div class="card"><span>{label}</span><b>{value}</b><small>{note}</small></div>'
        for label, value, note in cards
    )
    return section("headline", "In short", f'<div class="cards">{inside}</div>')


def _share(part: float, whole: float) -> str:
    return f"{percent(part / whole)} of them" if whole else ""


def _drops(languages: Languages) -> list[str]:
    """Stage/rule, those that took most documents first."""
    totals: dict[str, int] = {}
    for of in languages.values():
        for rule, number in of["drops"].items():
            totals[rule] = totals.get(rule, 0) + number
    return sorted(totals, key=lambda rule: (-totals[rule], rule))


def _name(rule: str) -> str:
    stage, _, name = rule.partition("/")
    words = name.replace("_", " ").replace("bits", "language model")
    return f"{words} ({STAGES[stage]})" if stage == "finish" else words


def _funnel(languages: Languages) -> str:
    """A bar for each language: the share that is kept, then what each rule took."""
    rules = _drops(languages)
    shown, rest = rules[: KINDS - 2], rules[KINDS - 2 :]
    step, left, right = 26, 60, 150
    height = step * len(languages) + 10
    width = WIDTH - left - right
    out = []
    for index, (language, of) in enumerate(sorted(languages.items())):
        y, x, total = step * index + 6, float(left), max(1, of["documents"])
        pieces = [
            ("kept", of["kept"], "c3"),
            *((rule, of["drops"].get(rule, 0), _colour(n)) for n, rule in enumerate(shown)),
        ]
        pieces.append(("other rules", sum(of["drops"].get(rule, 0) for rule in rest), "c8"))
        out.append(text("name", left - 10, y + 14, language, "end"))
        for name, number, colour in pieces:
            size = number / total * width
            if size > 0:
                label = name if "/" not in name else _name(name)
                out.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{max(size - 1, 0.6):.1f}" height="{step - 8}" rx="2" '
                    f'fill="var(--{colour})"><title>{_visible(f"{language}: {label}, {count(number)} documents, ")}'
                    f"{percent(number / total)}</title></rect>"
                )
            x += size
        note = f"{percent(of['kept'] / total)} of {short(total)}"
        out.append(text("value", WIDTH - 4, y + 14, note, "end"))
    items = [("c3", "kept"), *((_colour(n), _name(rule)) for n, rule in enumerate(shown))]
    if rest:
        items.append(("c8", "other rules"))
    lead = "Of each language's documents, the share that is kept, and the rule that took each of the others."
    chart = svg(WIDTH, height, "documents kept and dropped by language", "".join(out))
    return section("funnel", "Kept and dropped", legend(items), chart, lead=lead)


def _colour(number: int) -> str:
    return ("c2", "c1", "c5", "c4", "c6", "c7")[number]


def _rules(languages: Languages) -> str:
    rules = _drops(languages)
    if not rules:
        return section("rules", "By rule", missing("No rule took a document."))
    head = ["rule", *map(_visible, sorted(languages)), "all"]
    rows = []
    for rule in rules:
        numbers = [languages[language]["drops"].get(rule, 0) for language in sorted(languages)]
        rows.append([_visible(_name(rule)), *(count(n) if n else "·" for n in numbers), count(sum(numbers))])
    whole = [languages[language]["documents"] for language in sorted(languages)]
    rows.append(["<b>documents</b>", *map(count, whole), count(sum(whole))])
    return section("rules", "By rule", table(head, rows), lead="Documents that each rule took.")


def _cuts(languages: Languages) -> str:
    rows = []
    for language, of in sorted(languages.items()):
        for what, size in sorted(of["removed"].items()):
            touched = of["touched"][what]
            rows.append(
                [
                    _visible(language),
                    _visible(what),
                    count(touched),
                    count(size),
                    percent(size / max(1, of["characters"]), 2),
                ]
            )
    if not rows:
        return section("cuts", "Cut out of documents that stay", missing("Nothing was cut."))
    head = ["language", "what", "documents", "characters", "of all"]
    return section("cuts", "Cut out of documents that stay", table(head, rows, text_columns=2))


def _personal(languages: Languages) -> str:
    """Documents with personal data, and how many addresses or numbers of each kind were found in them."""
    kinds = sorted({kind for of in languages.values() for kind in of["personal"]})
    if not kinds:
        return ""
    rows = []
    for language, of in sorted(languages.items()):
        if of["personal"]:
            cells = (
                f"{count(of['personal'][kind])} in {count(of['personal_documents'][kind])}"
                if kind in of["personal"]
                else "·"
                for kind in kinds
            )
            rows.append([_visible(language), *cells])
    lead = "What was found, and in how many documents; [personal] in the configuration says what is done with it."
    return section("personal", "Personal data", table(["language", *map(_visible, kinds)], rows), lead=lead)


def _flagged(languages: Languages, flagged: Mapping[str, Any]) -> str:
    """The shares of documents and of words that are flagged, whether or not a rule dropped any."""
    rows = []
    for language, of in sorted(languages.items()):
        if seen := of["flagged"]:
            touched, words = seen.get("touched", 0), seen.get("flagged words", 0)
            rows.append(
                [
                    _visible(language),
                    count(flagged["words"].get(language, 0)),
                    count(touched),
                    percent(touched / seen["documents"], 2),
                    count(words),
                    percent(words / max(1, seen.get("words", 0)), 3),
                ]
            )
    if not rows:
        return ""
    lead = (
        "Documents with a flagged word, and such words, before any rule took a document. In a script without spaces a word here "
        "is a letter with its marks."
    )
    for one in flagged["lists"]:
        name, source, licence = (_visible(one[key]) for key in ("name", "source", "licence"))
        lead += f" The list is {name} ({source}), {licence}, and what rules.flagged names."
    head = ["language", "words and phrases", "documents", "of all", "flagged words", "of all"]
    return section("flagged", "Flagged words", table(head, rows), lead=lead)


def _identified(languages: Languages) -> str:
    """Declared against identified language, where they differ."""
    rows = []
    for language, of in sorted(languages.items()):
        total = sum(of["identified"].values())
        others = sorted(
            ((n, found) for found, n in of["identified"].items() if found != language), reverse=True
        )[:4]
        if total:
            text_ = ", ".join(f"{found} {count(n)} ({percent(n / total)})" for n, found in others)
            rows.append(
                [_visible(language), _visible(text_) or "·", percent(1 - sum(n for n, _ in others) / total)]
            )
    lead = "What the language packs say about documents that were declared, or taken, to be in a language."
    return section(
        "identified",
        "Languages",
        table(["declared", "identified as another", "as declared"], rows, text_columns=2),
        lead=lead,
    )


def _lengths(languages: Languages) -> str:
    """How many kept documents have 2^n to 2^(n+1) characters."""
    sizes = sorted({int(n) for of in languages.values() for n in of["lengths"]})
    if not sizes:
        return section("lengths", "Lengths", missing("No document was kept."))
    most = {language: max([*of["lengths"].values(), 1]) for language, of in languages.items()}
    columns = range(sizes[0], sizes[-1] + 1)
    rows = []
    for language, of in sorted(languages.items()):
        cells = []
        for size in columns:
            number = of["lengths"].get(str(size), 0)
            high = max(1.0, 20 * number / most[language]) if number else 0
            bar = f'<rect x="0" y="{20 - high:.1f}" width="34" height="{high:.1f}" fill="var(--c1)"/>'
            cells.append(
                f'<svg width="34" height="20" role="img"><title>{count(number)} documents</title>{bar}</svg>'
            )
        mean = of["kept_characters"] / of["kept"] if of["kept"] else 0
        rows.append([_visible(language), *cells, count(mean)])
    head = ["characters", *(short(2**size) for size in columns), "mean"]
    return section(
        "lengths",
        "Lengths of what is kept",
        table(head, rows),
        lead="Each column twice as long as the one before.",
    )


def _quality(languages: Languages, quality: Mapping[str, Mapping[str, Any]]) -> str:
    """What each language's classifier has learned from, how well it tells the two apart, and what it takes."""
    rows = []
    for language, of in sorted(quality.items()):
        best, rest = (
            languages[language]["graded"].get(f"{which} by quality", 0) for which in ("best", "rest")
        )
        area, cut = ("·" if of[key] is None else f"{of[key]:.3f}" for key in ("area", "cut"))
        share = percent(best / (best + rest)) if best + rest else "·"
        rows.append(
            [_visible(language), count(of["good"]), count(of["sample"]), area, cut, count(best), share]
        )
    if not rows:
        return ""
    lead = (
        "A classifier for each language, of good texts against its own documents; every text is graded by a model that has not "
        "seen it. Told apart: how often a good text's score is above a document's (1: always, 0.5: chance)."
    )
    head = ["language", "good texts", "documents learned from", "told apart", "least score", "best", "of all"]
    return section("quality", "Quality", table(head, rows), lead=lead)


def _samples(languages: Languages) -> str:
    parts = []
    for language, of in sorted(languages.items()):
        inside = []
        for key in sorted(of["samples"], key=lambda key: (key != "kept", key)):
            numbers = {**of["drops"], **of["touched"], **of["graded"], "kept": of["kept"]}
            number = numbers.get(key, 0)
            inside.append(f"<h4>{_visible(_name(key) if '/' in key else key)} · {count(number)}</h4>")
            inside += [_quote(*sample[1:]) for sample in of["samples"][key]]
        note = f"{count(of['kept'])} of {count(of['documents'])} documents kept"
        parts.append(
            f"<details><summary>{_visible(language)}<small>{note}</small></summary>"
            f'<div lang="{_visible(language)}">{"".join(inside)}</div></details>'
        )
    return section(
        "samples", "Samples", *parts, lead="Of each language and rule a few documents, drawn by their id."
    )


def _quote(name: str, url: str, value: Any, shown: str) -> str:
    said = "" if value is None else f" · {value}"
    return f"<blockquote><small>{_visible(name + said)}</small>{_visible(shown) or '(empty)'}</blockquote>"


def _visible(words: str) -> str:
    """Text as HTML; a control character, which no page may hold, as one that is seen."""
    return escape("".join(c if c in "\n\t" or ord(c) >= 32 else "\ufffd" for c in words))


def _unreadable(errors: Mapping[str, int]) -> str:
    if not errors:
        return ""
    items: Iterable[str] = sorted(errors)
    rows = [[_visible(error), count(errors[error])] for error in list(items)[:50]]
    return section("unreadable", "Unreadable", table(["what", "times"], rows))
