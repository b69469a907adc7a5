"""Judges lists of names, which say little about the language that they stand in, by what else they say.

Only where an owner has said which language it is: without that, a list of labels in a language that writes its nouns with capitals
would be taken for whichever pack likes the few words between them.
"""

import re

from pinisi.curate.measures import excerpt
from pinisi.curate.packs import Packs
from pinisi.curate.packs.evidence import Evidence

UNDOUBTED = 0.5  # from here on a text may be of its language (see Evidence.fits)

NAMES = 0.75  # of a text's words: from here on it is a list of names, and not prose, of which no language capitalises half
FEW = 3, 12  # words and letters: what is left of a list says nothing about its language with fewer
_WORD = re.compile(r"[^\W\d_]+")


def fits(packs: Packs, text: str, language: str, evidence: Evidence) -> float:
    """Returns how plausible a text's declared language is; of a list of names by what else it says, if it says anything.

    evidence: what `packs.weigh` makes of the text's excerpt.
    """
    found, piece = evidence.fits(language), excerpt(text)
    if found >= UNDOUBTED or (rest := without_names(piece)) == piece:
        return found
    if says_enough(rest):
        return max(found, packs.weigh(rest).fits(language))
    return max(found, evidence.fits(language, background=False))


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
