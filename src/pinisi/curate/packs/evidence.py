"""Measures how well each pack explains a text, and how well the background does.

All comparisons are of log-likelihoods per character (nats). A word counts as its best model says, but for a
floor below the likeliest: no single word decides (`FOREIGN`), and a pack that is compared with the background
may borrow words of other packs (`BORROWED`), as texts that mix two languages do.
"""

import math
from collections.abc import Sequence

import numpy as np

# A word may be a name or come from elsewhere: no model gives it less than this many nats below the model that
# likes it best, so that no single word decides. What stands between spaces may be a whole sentence: of more than
# 11 characters each counts, up to what float32 can tell from nothing.
FOREIGN, EACH, FURTHEST = 9.0, 0.8, 80.0
# When a pack is compared with the background, a word may come from another pack at this price (nats; more for long
# ones, as above): people mix languages, and a name in English is not foreign. Fitted with the margin below.
BORROWED = 4.0
# Neighbouring n-grams of a text tell the same thing again, and its topic is not the pack's: likelihoods are
# flattened to that of fewer, independent characters: a 15th of the text's, but at least 10 and at most 25 of
# them (a quarter of a very short text's). Fitted on held-out lines and documents of the sample corpus, also of
# sources that the packs had not seen.
INDEPENDENT, LEAST, MOST, SHORTEST = 1 / 15, 10.0, 25.0, 40
# Share of the scripts in a text to the power of this is their share of the probability: 70 % Thai is Thai.
DOMINANCE = 3
# A text is foreign if the background explains it better than its pack by MARGIN nats a character, and SHORT nats
# more for the text as a whole. Fitted on Latin script: texts of 60 characters and more of the fifteen languages
# from sources that their packs had not seen lie below at 99.8 %, of thirty foreign languages that the background
# had not seen above at 99.5 % (benchmarks/foreign.py judges both on others).
MARGIN, SHORT = 0.15, 6.0
# More for packs of languages that may themselves be in the background: their own text must not be foreign.
UNSURE = 0.4
# A text that its owner declares to be of one language is doubted where another pack explains it better by RIVAL
# nats a character and WHOLE nats more for the text: Indonesian is up to 0.16 from Malay's pack, other relatives'
# texts are 0.1 to 0.5 apart, unrelated ones' 0.5 to 2.
RIVAL, WHOLE = 0.12, 12.0
# ... or where less than this share of its letters is of the language's scripts.
SCRIPT = 1 / 3
# Simplified Chinese has fewer characters than this share, and one more, beyond its standard (han.py); Cantonese
# in simplified characters has from a 20th on.
BEYOND = 0.04
STEEP = 0.05  # nats a character from a doubt of 0.5 to one of 0.27 or 0.73


class Scores:
    """Of one group of packs, which are compared with each other, summed over the pieces of a text.

    packs: their codes. sure: which of them are of languages that the background leaves out. simplified: which are
    of simplified Chinese. rivals: how many background models there are. share: of the text's letters that are of
    the group's scripts.
    """

    def __init__(
        self, packs: Sequence[str], sure: Sequence[bool], simplified: Sequence[bool], rivals: int
    ) -> None:
        self.packs, self.sure, self.simplified = packs, sure, simplified
        self.share, self.length = 0.0, 0  # characters compared
        self.own = np.zeros(len(packs))  # log-likelihood under each pack
        self.mixed = np.zeros(len(packs))  # the same, with words of other packs
        self.rivals = np.zeros(rivals)  # of each background model
        self.han, self.beyond = 0, 0  # Chinese characters, those that simplified Chinese lacks

    def add(self, logs: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> None:
        """Adds a piece as `Table.runs` gives it: of each different run the log-likelihood under each model, float32
        [runs, models], the packs first; how often it stands there; its characters."""
        packs = len(self.packs)
        top = logs.max(1, keepdims=True)
        chances = np.exp(logs - top)
        deep = np.clip(EACH * lengths, FOREIGN, FURTHEST)[:, None]
        floor = np.exp(-deep).astype(np.float32)
        price = np.exp(deep * (-BORROWED / FOREIGN)).astype(np.float32)
        borrowed = chances[:, :packs].max(1, keepdims=True) * price
        weights = counts.astype(np.float64)
        best = weights @ top.astype(np.float64)
        every = best + weights @ np.log(chances + floor).astype(np.float64)
        self.own += every[:packs]
        self.rivals += every[packs:]
        self.mixed += best + weights @ np.log(chances[:, :packs] + borrowed + floor).astype(np.float64)
        self.length += int(counts @ lengths)

    def add_han(self, count: int, beyond: int) -> None:
        """Adds Chinese characters, and how many of them simplified Chinese lacks."""
        self.han += count
        self.beyond += beyond

    def foreign(self, pack: int) -> float:
        """Nats a character by which the background explains the text better than a pack, beyond the margin; for a
        pack of simplified Chinese the share of characters that are not, beyond what names make, if that is more."""
        if not self.length:
            return -math.inf
        found = -math.inf
        if len(self.rivals):
            margin = MARGIN + SHORT / self.length + (0.0 if self.sure[pack] else UNSURE)
            found = float(self.rivals.max() - self.mixed[pack]) / self.length - margin
        if self.simplified[pack] and self.han:
            found = max(found, (self.beyond - 1) / self.han - BEYOND)
        return found

    def other(self, pack: int) -> float:
        """Nats a character by which another pack explains the text better, beyond what relatives may."""
        others = np.delete(self.own, pack)
        if not len(others) or not self.length:
            return -math.inf
        return float(others.max() - self.own[pack]) / self.length - RIVAL - WHOLE / self.length

    def odds(self) -> np.ndarray:
        """Probability of each pack within the group."""
        independent = min(max(self.length * INDEPENDENT, LEAST), MOST)
        odds = np.exp((self.own - self.own.max()) * independent / max(self.length, SHORTEST))
        return odds / odds.sum()


class Evidence:
    """What the packs say of a text. groups: packs that share scripts; elsewhere: share of the text's letters that
    are of scripts without a pack."""

    def __init__(self, groups: Sequence[Scores], elsewhere: float) -> None:
        self._groups, self._elsewhere = groups, elsewhere

    def identify(self) -> list[tuple[str, float]]:
        """[(language, probability)] of all packs, the likeliest first. Empty where the text is none of theirs: no
        letters, mostly of other scripts, or explained better by the background."""
        top = max(self._groups, key=lambda group: group.share, default=None)
        if top is None or top.share == 0 or self._elsewhere > top.share:
            return []
        if top.foreign(int(top.own.argmax())) > 0:
            return []
        shares = np.array([group.share if group.length else 0.0 for group in self._groups]) ** DOMINANCE
        found: list[tuple[str, float]] = []
        for group, share in zip(self._groups, shares / shares.sum(), strict=True):
            found += zip(group.packs, (share * group.odds()).tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def fits(self, language: str, background: bool = True) -> float:
        """How plausible it is that the text is of `language`, given that its owner says so: from 0 to 1.

        Below 0.5 something else is clearly better: another pack, by more than relatives may be; the background;
        or the scripts. 0 for a text without letters. background: False leaves it out, whose models know few names.
        Raises KeyError for a language without a pack.
        """
        group = next((group for group in self._groups if language in group.packs), None)
        if group is None:
            raise KeyError(language)
        if not group.length or not group.share:
            return 0.0
        pack = group.packs.index(language)
        excess = max(group.foreign(pack) if background else -math.inf, group.other(pack)) / STEEP
        return min(1 / (1 + math.exp(min(excess, 700.0))), group.share / SCRIPT / 2, 1.0)
