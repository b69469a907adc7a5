"""Writes the page of a curation: what went in, what each rule took from each language, and what it looked like."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.report.funnel import Languages, funnel, name_of, rules_of
from pinisi.report.headline import Card
from pinisi.report.numbers import count, percent, short
from pinisi.report.render import render

Rows = list[list[str]]
UNREADABLE = 50  # that are named
NONE = "·"


def write_curation_report(data: Mapping[str, Any], out: Path, *, title: str) -> Path:
    """One self-contained HTML file of what report.json holds; returns where it is."""
    return write_whole(out, page(data, title))


def page(data: Mapping[str, Any], title: str) -> str:
    """The page's HTML, which is also well-formed XML."""
    languages: Languages = dict(sorted(data["languages"].items()))
    return render(
        "curation.html",
        title=title,
        lead="",
        languages=list(languages),
        cards=list(_cards(languages, data["errors"])),
        funnel=funnel(languages),
        rules=_rules(languages),
        told=[(name_of(f"/{rule}"), of) for rule, of in data.get("rules", {}).items()],
        documents=_documents(languages),
        cuts=_cuts(languages),
        personal=_personal(languages),
        flagged=_flagged(languages, data.get("flagged", {})),
        identified=list(_identified(languages)),
        lengths=_lengths(languages),
        quality=_quality(languages, data.get("quality", {})),
        samples=list(_samples(languages)),
        unreadable=[[error, count(number)] for error, number in sorted(data["errors"].items())][:UNREADABLE],
    )


def _cards(languages: Languages, errors: Mapping[str, int]) -> Iterator[Card]:
    """The curation in a handful of numbers."""
    keys = ("documents", "kept", "characters", "kept_characters")
    total = {key: sum(of[key] for of in languages.values()) for key in keys}
    kept, characters = total["kept"], total["kept_characters"]
    yield Card("documents", count(total["documents"]), f"{short(total['characters'])} characters")
    yield Card(
        "kept", count(kept), f"{percent(kept / total['documents'] if total['documents'] else 0.0)} of them"
    )
    if characters:
        note = f"{percent(characters / total['characters'])} of them" if total["characters"] else ""
        yield Card("characters kept", short(characters), note)
        stays = sum(of["kept"] > 0 for of in languages.values())
        yield Card("languages", str(stays), "with documents that are kept")
    if errors:
        yield Card("unreadable", count(sum(errors.values())), "lines, records or files")


def _rules(languages: Languages) -> Rows:
    """Of each rule, how many documents it took of each language and of all."""
    rows = []
    for rule in rules_of(languages):
        numbers = [of["drops"].get(rule, 0) for of in languages.values()]
        rows.append([name_of(rule), *(count(n) if n else NONE for n in numbers), count(sum(numbers))])
    return rows


def _documents(languages: Languages) -> list[str]:
    whole = [of["documents"] for of in languages.values()]
    return [*map(count, whole), count(sum(whole))]


def _cuts(languages: Languages) -> Rows:
    """What was cut out of documents that stay."""
    return [
        [language, what, count(of["touched"][what]), count(size), percent(size / max(1, of["characters"]), 2)]
        for language, of in languages.items()
        for what, size in sorted(of["removed"].items())
    ]


def _personal(languages: Languages) -> dict[str, Any]:
    """How many addresses or numbers of each kind were found, and in how many documents."""
    kinds = sorted({kind for of in languages.values() for kind in of["personal"]})
    rows = []
    for language, of in languages.items():
        if of["personal"]:
            cells = (
                f"{count(of['personal'][kind])} in {count(of['personal_documents'][kind])}"
                if kind in of["personal"]
                else NONE
                for kind in kinds
            )
            rows.append([language, *cells])
    return {"kinds": kinds, "rows": rows}


def _flagged(languages: Languages, flagged: Mapping[str, Any]) -> dict[str, Any]:
    """The shares of documents and of words that are flagged, whether or not a rule dropped any."""
    rows = []
    for language, of in languages.items():
        if seen := of["flagged"]:
            touched, words = seen.get("touched", 0), seen.get("flagged words", 0)
            rows.append(
                [
                    language,
                    count(flagged["words"].get(language, 0)),
                    count(touched),
                    percent(touched / seen["documents"], 2),
                    count(words),
                    percent(words / max(1, seen.get("words", 0)), 3),
                ]
            )
    return {"lists": flagged["lists"] if rows else [], "rows": rows}


def _identified(languages: Languages) -> Iterator[list[str]]:
    """Declared against identified language, where they differ."""
    for language, of in languages.items():
        total = sum(of["identified"].values())
        found = ((n, other) for other, n in of["identified"].items() if other != language)
        others = sorted(found, reverse=True)[:4]
        if total:
            said = ", ".join(f"{other} {count(n)} ({percent(n / total)})" for n, other in others)
            yield [language, said or NONE, percent(1 - sum(n for n, _ in others) / total)]


def _lengths(languages: Languages) -> dict[str, Any]:
    """How many kept documents have 2^n to 2^(n+1) characters."""
    sizes = sorted({int(n) for of in languages.values() for n in of["lengths"]})
    columns = range(sizes[0], sizes[-1] + 1) if sizes else range(0)
    rows = []
    for language, of in languages.items():
        most = max([*of["lengths"].values(), 1])
        numbers = [of["lengths"].get(str(size), 0) for size in columns]
        bars = [(count(n), max(1.0, 20 * n / most) if n else 0.0) for n in numbers]
        rows.append((language, bars, count(of["kept_characters"] / of["kept"] if of["kept"] else 0)))
    return {"columns": [short(2**size) for size in columns], "rows": rows}


def _quality(languages: Languages, quality: Mapping[str, Mapping[str, Any]]) -> Rows:
    """What each language's classifier has learned from, how well it tells the two apart, and what it takes."""
    rows = []
    for language, of in sorted(quality.items()):
        graded = languages[language]["graded"]
        best, rest = (graded.get(f"{which} by quality", 0) for which in ("best", "rest"))
        area, cut = (NONE if of[key] is None else f"{of[key]:.3f}" for key in ("area", "cut"))
        share = percent(best / (best + rest)) if best + rest else NONE
        rows.append([language, count(of["good"]), count(of["sample"]), area, cut, count(best), share])
    return rows


def _samples(languages: Languages) -> Iterator[dict[str, Any]]:
    """Of each language and rule a few documents."""
    for language, of in languages.items():
        numbers = {**of["drops"], **of["touched"], **of["graded"], "kept": of["kept"]}
        keys = sorted(of["samples"], key=lambda key: (key != "kept", key))
        groups = [
            (
                name_of(key) if "/" in key else key,
                count(numbers.get(key, 0)),
                [_quote(*sample[1:]) for sample in of["samples"][key]],
            )
            for key in keys
        ]
        note = f"{count(of['kept'])} of {count(of['documents'])} documents kept"
        yield {"language": language, "note": note, "groups": groups}


def _quote(name: str, url: str, value: Any, shown: str) -> tuple[str, str]:
    return name + ("" if value is None else f" · {value}"), shown or "(empty)"
