"""Stops a run that removes more of a language than it should, so that somebody looks before anything is lost."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinisi.base.errors import DataError
from pinisi.curate.config import Alarm

TOGETHER = "all rules"
NO_LANGUAGE = "unknown"  # of documents in no language that has a pack
# Not the rules' doing: a corpus may be full of copies, and of languages that nobody asked for.
DUPLICATES = frozenset(("near duplicate", "same URL", "not wanted"))
SHOWN = 3  # documents that are named


def check_alarm(
    alarm: Alarm, languages: Mapping[str, Mapping[str, Any]], wanted: frozenset[str], drops: str
) -> None:
    """Raises DataError for the first language of which a rule, or all rules together, removed more than `alarm.share`.

    languages: as `Counts` has them. drops: where dropped documents can be seen.
    """
    for language, of in languages.items():
        if of["documents"] < alarm.documents or language in alarm.ignore:
            continue
        if language != NO_LANGUAGE and language not in wanted:
            continue
        for rule, number in _removed(of, language):
            share = number / of["documents"]
            if share > alarm.share and f"{language}.{rule}" not in alarm.ignore:
                raise DataError(_message(alarm, language, rule, share, of, drops))


def _removed(of: Mapping[str, Any], language: str) -> Iterator[tuple[str, int]]:
    """Each rule with how many documents it removed, then all together."""
    rules: dict[str, int] = {}
    for key, number in of["drops"].items():
        rule = key.partition("/")[2]
        # Pages in languages that nobody has a pack for are what a crawl is full of.
        if rule not in DUPLICATES and not (language == NO_LANGUAGE and rule == "language"):
            rules[rule] = rules.get(rule, 0) + number
    yield from rules.items()
    yield TOGETHER, sum(rules.values())


def _message(alarm: Alarm, language: str, rule: str, share: float, of: Mapping[str, Any], drops: str) -> str:
    keys = [key for key in of["samples"] if rule in (TOGETHER, key.partition("/")[2]) and key in of["drops"]]
    ids = [sample[1] for key in keys for sample in of["samples"][key]][:SHOWN]
    what = f"'{rule}' removes" if rule != TOGETHER else "all rules together remove"
    told = (
        f"alarm: {what} {share:.0%} of {of['documents']:,} documents in {language} (more than alarm.share = {alarm.share:g}), such "
        f"as {', '.join(ids)}: look at them in {drops}, then "
    )
    if rule == "no pack":
        values = sorted({str(sample[3]) for key in keys for sample in of["samples"][key]})
        return (
            f"{told}give their source language = 'auto' or another one (they say {', '.join(values[:SHOWN])}), make a pack with "
            f"`pinisi langpack`, or set alarm.ignore = ['{language}']"
        )
    name = f"{language}.{rule}" if rule != TOGETHER else language
    return f"{told}change rules.limits.{language} or the source's language, or set alarm.ignore = ['{name}']"
