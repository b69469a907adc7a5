"""Explains on a curation's page, in plain words, what each rule measures and where its limit lies."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from pinisi.curate.config import CurateConfig
from pinisi.curate.measures import ORDER
from pinisi.curate.packs import zawgyi
from pinisi.curate.rules import AT_LEAST
from pinisi.curate.stages.finish import STUMP, STUMP_CHARACTERS
from pinisi.curate.tools import Tools

Format = Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.4g} %"


def _plain(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


# What a rule that has a limit for each language measures, and how its limit is written.
MEASURED: dict[str, tuple[str, Format]] = {
    "words": (
        "How many words a text has; where no spaces part words, how many letters with their marks.",
        _plain,
    ),
    "character_repetition": (
        "The share of a text that its most frequent runs of ten characters make up.",
        _percent,
    ),
    "word_repetition": (
        "The share of runs of five words, or of ten letters where no spaces part words, that occur more than once.",
        _percent,
    ),
    "variety": (
        "How many different words a text has for its length; a list of search words has few.",
        _plain,
    ),
    "special": ("The share of characters that are digits and signs instead of letters.", _percent),
    "stop_words": ("The share of words that are the most common ones of the language.", _percent),
    "flagged": ("The share of words that are on the list of flagged words.", _percent),
    "language": ("How well the text fits the language that it is said to be in, from 0 to 1.", _plain),
    "bits": ("How many bits a character costs the language's model; strange text costs many.", _plain),
}
# What the other rules look at; some have a limit in the configuration.
TOLD = {
    "length": "How many characters a document has.",
    "empty": "Whether any text is left after repair and cuts.",
    "no pack": "Whether there is a language pack for the language that the document is said to be in.",
    "not wanted": "Whether the document's language is one of those that the configuration names.",
    "personal data": "Whether a document has personal data of a kind for which it is dropped.",
    "zawgyi": "The share of Burmese marks that stand in the order of the Zawgyi font instead of Unicode's.",
    "near duplicate": "How much of the text another document has too; one document of such a group stays.",
    "same URL": "Whether a longer document has the same web address.",
    "outlier": "How strange the language's model finds a text beside the rest of its source and language.",
    "stump": "The share of a document that is left after cuts, where few characters are left.",
    "repeated passages": "Passages that occurred before, here or in another document; they are cut out.",
    "frequent lines": "Lines that stand in many documents, such as menus and notices; they are taken out.",
}


def told(tools: Tools, languages: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns of each rule that was on {"about": a sentence, "limit": words, empty where it has none}."""
    known = [language for language in sorted(languages) if language in tools.packs]
    limits = {language: tools.limits(language) for language in known}
    found = {}
    for rule in ORDER:
        about, written = MEASURED[rule]
        values = {language: of[rule] for language, of in limits.items() if rule in of}
        if values:
            found[rule] = {"about": about, "limit": _by_language(rule, values, written)}
    other = dict(_limits(tools.config))
    return found | {rule: {"about": TOLD[rule], "limit": other[rule]} for rule in TOLD if rule in other}


def _by_language(rule: str, values: Mapping[str, float], written: Format) -> str:
    """A limit that most languages share, then those of others."""
    word = "at least" if rule in AT_LEAST else "at most"
    groups: dict[str, list[str]] = {}
    for language, value in values.items():
        groups.setdefault(written(value), []).append(language)
    (usual, _), *others = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    rest = (f"{', '.join(of)}: {limit}" for limit, of in others)
    return "; ".join([f"{word} {usual}", *rest])


def _limits(config: CurateConfig) -> Iterator[tuple[str, str]]:
    """The rules beside the measures that the configuration leaves on, and their limits."""
    yield "length", f"at most {_plain(config.repair.longest)}"
    yield from ((rule, "") for rule in ("empty", "no pack", "not wanted"))
    if "drop" in vars(config.personal).values():
        yield "personal data", ""
    yield "zawgyi", f"at most {_percent(zawgyi.LIMIT)}"
    if config.near.on:
        yield "near duplicate", f"less than {_percent(config.near.similarity)}"
    if config.urls:
        yield "same URL", ""
    if config.rules.outliers:
        yield "outlier", f"takes at most {_percent(config.rules.outliers)} of a source"
    yield "stump", f"at least {_percent(STUMP)}, or {STUMP_CHARACTERS} characters"
    if config.exact.on:
        yield "repeated passages", f"shorter than {config.exact.characters} characters"
    if config.lines.on:
        yield "frequent lines", _lines(config)


def _lines(config: CurateConfig) -> str:
    most = f"in at most {config.lines.most} documents"
    return (
        f"{most}, or {_percent(config.lines.share)} of them where that is more"
        if config.lines.share
        else most
    )
