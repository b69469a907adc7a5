"""Takes names out of lists of names, which say little about the language that they stand in."""

import re

NAMES = 0.75  # of a text's words: from here on it is a list of names, and not prose, of which no language capitalises half
FEW = 3, 12  # words and letters: what is left of a list says nothing about its language with fewer
_WORD = re.compile(r"[^\W\d_]+")


def without_names(text: str) -> str:
    """Returns a list of names without its names, other text as it is.

    A name is a word with a capital and small letters, or an abbreviation: of two to five capitals, or one.
    """
    words = _WORD.findall(text)
    cased = [word for word in words if word.lower() != word.upper()]
    if len(cased) < 0.9 * len(words) or sum(map(_is_name, cased)) < NAMES * len(words) or not words:
        return text
    return _WORD.sub(lambda found: "" if _is_name(found[0]) else found[0], text)


def says_enough(text: str) -> bool:
    """Whether there is enough of a text to tell its language."""
    words = _WORD.findall(text)
    return len(words) >= FEW[0] and sum(map(len, words)) >= FEW[1]


def _is_name(word: str) -> bool:
    return word[0].isupper() and (word[1:].islower() or (len(word) <= 5 and word.isupper()))
