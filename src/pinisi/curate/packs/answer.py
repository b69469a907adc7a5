"""Says in which language a line of an answer is written, and whether that is the language asked for.

Letters of other scripts are counted first: in Lao, Thai, Khmer, Burmese and Chinese they tell without a model, where a whole line
is one word to a rule that counts words. In a script that languages share the packs decide. A line that is too short for either is
not judged; a name in Latin letters says nothing of the language. Relatives pass for one another where packs can't tell them clearly
apart: Malay for Indonesian mostly.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from pinisi.curate.packs import zawgyi
from pinisi.curate.packs.identify import Packs
from pinisi.data.text.scripts import COMMON, LETTER, classes, script_table, unspaced
from pinisi.data.text.segmentation import codes, normal, words

RIGHT, WRONG, UNJUDGED = "right", "wrong", "unjudged"
OWN = 1 / 3  # of a line's letters that are of the language's scripts: fewer is another language
# Another script is judged from so many words on, or letters with their marks where words aren't parted: fewer may be a name.
WORDS, CLUSTERS = 3, 4
LETTERS = 20  # from which on packs are asked, and two words of another script are judged
SURE = 60  # from which on a line that is in no known language is a wrong one: in fewer letters names outweigh the rest
LETTERS_UNSPACED = 8  # the same of scripts without spaces: Chinese from Japanese, Burmese from Shan
OTHER = "other"  # a language without a pack


class LineVerdict(NamedTuple):
    """verdict: RIGHT, WRONG or UNJUDGED. found: the language of a wrong line, "zawgyi", or OTHER. letters, foreign: how many it
    has, and how many of them are of scripts that the wanted language isn't written in."""

    verdict: str
    found: str
    letters: int
    foreign: int


class LineJudge:
    """Judges lines by a set of packs; the shipped ones are read when the first line is judged."""

    def __init__(self, packs: Packs | None = None) -> None:
        self._given = packs

    @cached_property
    def packs(self) -> Packs:
        return Packs.load() if self._given is None else self._given

    def knows(self, language: str) -> bool:
        return language in self.packs

    def words(self, language: str) -> list[str]:
        """Frequent words of a language, of two letters at least where words are parted by spaces; none without a pack."""
        if language not in self.packs:
            return []
        pack = self.packs[language]
        least = 1 if pack.segmentation == "characters" else 2
        return [word for word in pack.stop_shares if len(word) >= least]

    def judge(self, text: str, language: str) -> LineVerdict:
        """Judges a line, or a whole answer. Of a language without a pack nothing is judged."""
        if language not in self.packs:
            return LineVerdict(UNJUDGED, "", 0, 0)
        own, letters = self._own(text, language)
        foreign = letters - own
        if not letters:
            return LineVerdict(UNJUDGED, "", 0, 0)
        if language == "my" and zawgyi.is_zawgyi(text):
            return LineVerdict(WRONG, "zawgyi", letters, foreign)
        if own < OWN * letters:
            if not _enough_of_another(text, letters):
                return LineVerdict(UNJUDGED, "", letters, foreign)
            return LineVerdict(WRONG, self._found(text), letters, foreign)
        if own < (LETTERS_UNSPACED if self.packs[language].segmentation == "characters" else LETTERS):
            # a script that no other pack has is enough
            return LineVerdict(RIGHT if self._alone(language) else UNJUDGED, "", letters, foreign)
        evidence = self.packs.weigh(text)
        if evidence.fits(language) >= 0.5:
            return LineVerdict(RIGHT, "", letters, foreign)
        found = self._found(text)
        if found == OTHER and own < SURE and self.packs[language].segmentation != "characters":
            return LineVerdict(UNJUDGED, "", letters, foreign)
        return LineVerdict(WRONG, found, letters, foreign)

    def _own(self, text: str, language: str) -> tuple[int, int]:
        """(letters of the language's scripts, letters of any script but the common one)."""
        names, script = script_table()
        found = codes(normal(text))
        of = script[found[classes()[found] == LETTER]]
        of = of[of != names.index(COMMON)]
        mine = [names.index(name) for name in self.packs[language].scripts if name in names]
        return int(np.isin(of, mine).sum()), len(of)

    def _alone(self, language: str) -> bool:
        mine = set(self.packs[language].scripts)
        return not any(mine & set(pack.scripts) for pack in self.packs if pack.language != language)

    def _found(self, text: str) -> str:
        likeliest = self.packs.identify(text)
        return likeliest[0][0] if likeliest else OTHER


def _enough_of_another(text: str, letters: int) -> bool:
    found = codes(normal(text))
    if unspaced()[found].sum() * 2 > letters:
        return len(words(text, spaces=False)) >= CLUSTERS
    count = len(words(text))
    return count >= WORDS or (count >= 2 and letters >= LETTERS)
