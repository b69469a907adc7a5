"""Holds flagged words of a language: a user's own, and those of a public list that is fetched when it is asked for.

The list is LDNOOBW's, "List of Dirty, Naughty, Obscene, and Otherwise Bad Words" (CC BY 4.0), as npm's package naughty-words has
it: of 28 languages, among them en, th, tl (as fil) and zh. It is kept in the user's cache, and never part of Pinisi.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.data.languages import same_language
from pinisi.data.sample.packages import Fetcher, Unavailable
from pinisi.data.text.segmentation import SOLID, codes, kinds

NAME, VERSION, LICENCE = "naughty-words", "1.2.0", "CC-BY-4.0"
LIST = {
    "name": "LDNOOBW",
    "source": f"https://www.npmjs.com/package/{NAME}/v/{VERSION}",
    "licence": LICENCE,
}


class Flagged:
    """Words, and phrases of several words. In a script without spaces a word is a row of clusters, and is looked for as that."""

    def __init__(self, phrases: Iterable[Sequence[str]] = ()) -> None:
        self.phrases = frozenset(tuple(phrase) for phrase in phrases if phrase)
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for phrase in sorted(self.phrases, key=lambda phrase: (-len(phrase), phrase)):
            self._by_first.setdefault(phrase[0], []).append(phrase)

    def __bool__(self) -> bool:
        return bool(self.phrases)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """In a fixed order."""
        return iter(sorted(self.phrases))

    def count(self, words: Sequence[str]) -> int:
        """How many of the words belong to a flagged word or phrase; of two that begin together the longer one counts."""
        found = end = 0
        for place, word in enumerate(words):
            if place < end or word not in self._by_first:
                continue
            for phrase in self._by_first[word]:
                if tuple(words[place : place + len(phrase)]) == phrase:
                    found, end = found + len(phrase), place + len(phrase)
                    break
        return found


def of_file(path: str, key: str, words: Callable[[str], list[str]]) -> list[list[str]]:
    """The words of a file, one or a phrase a line. words: cuts as the language's pack does. Raises DataError with the key."""
    try:
        lines = Path(path).read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{key}: {path} can't be read ({error})") from error
    return [words(line) for line in lines if line.strip()]


def of_list(language: str, words: Callable[[str], list[str]]) -> list[list[str]]:
    """LDNOOBW's words of a language; none if it has none. Left out are numbers, and those of one cluster in a script without
    spaces: such a cluster is part of many words. Raises DataError if the list can't be fetched."""
    found = [words(line) for line in _fetched(language)]
    return [phrase for phrase in found if len(phrase) > 1 or (phrase and not _says_little(phrase[0]))]


def _says_little(word: str) -> bool:
    return word.isdecimal() or bool((kinds()[codes(word)] & SOLID).any())


def _fetched(language: str) -> list[str]:
    said: list[str] = []
    package = Fetcher(None, ("npm",), said.append).get("npm", NAME, VERSION)
    try:
        if package is None:
            raise Unavailable("; ".join(said))
        for path, content in package.members(r"package/[A-Za-z-]+\.json"):
            code = Path(path).stem
            if code != "package" and same_language(code, language) and "-" not in code:
                return _words(json.loads(content))
    except (Unavailable, ValueError) as error:
        raise DataError(
            f"rules.flagged_list = 'ldnoobw': the list can't be had: {error}; connect to the network and install npm for the first "
            f"run, or name files of your own in rules.flagged"
        ) from error
    return []


def _words(content: Any) -> list[str]:
    return [word for word in content if isinstance(word, str)] if isinstance(content, list) else []
