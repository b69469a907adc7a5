"""Decides which documents stay: each that goes is like one that stays, or has its URL.

Documents come by priority: the longest first, then by key, by id, by URL. One stays unless it is like one that stays already, or
has the URL of one. So of a chain, each link like the next, several links stay, and nobody goes for one that goes too.
"""

from typing import NamedTuple

import numpy as np

from pinisi.curate.duplicates import components
from pinisi.curate.duplicates.pairs import Equal, Pairs

NO_URL = np.uint64(0)
AGAIN = 64  # documents that stay, of its component, with which one that nobody has taken is compared directly
STAYS, LIKE, SAME_URL = 0, 1, 2


class Texts(NamedTuple):
    """What decides of N documents; equal keys are equal texts."""

    keys: np.ndarray  # [N] uint64
    lengths: np.ndarray  # [N] int64
    ids: np.ndarray  # [N] uint64
    urls: np.ndarray  # [N] uint64, 0 for none


class Settled(NamedTuple):
    """Of each document: itself if it stays, else the one that stays for it; why; how many numbers are equal where it is like it."""

    stays: np.ndarray  # [N] int64
    reason: np.ndarray  # [N] uint8: STAYS, LIKE or SAME_URL
    equal: np.ndarray  # [N] uint16


def by_priority(texts: Texts) -> np.ndarray:
    """Numbers of documents, the first to stay first; those that nothing tells apart as they were given."""
    return np.lexsort((texts.urls, texts.ids, texts.keys, -texts.lengths))


def settle(texts: Texts, pairs: Pairs, equal: Equal, least: int, permutations: int) -> Settled:
    """Goes through the documents by priority. `equal` compares two; `least` equal numbers make them alike.

    A document that no pair with one that stays has taken is compared with those that stay for its neighbours and with the last that
    stay of its component, 64 at most, since bands miss pairs. Copies of a text share its fate, except that each has its own URL.
    """
    return _Settling(texts, pairs, equal, least, permutations).result()


class _Settling:
    """Groups of documents with one text, numbered by priority; components of groups that pairs or URLs join."""

    def __init__(self, texts: Texts, pairs: Pairs, equal: Equal, least: int, permutations: int) -> None:
        self.compare, self.least, self.all = equal, least, permutations
        self.order = by_priority(texts)
        keys = texts.keys[self.order]
        self.starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        self.sizes = np.diff(np.append(self.starts, len(keys)))
        self.first = self.order[self.starts]
        self.urls = texts.urls[self.order]
        ordered = np.repeat(np.arange(len(self.starts)), self.sizes)
        self.group = np.empty(len(keys), np.int64)
        self.group[self.order] = ordered
        one, other = self.group[pairs.left], self.group[pairs.right]
        by = np.lexsort((np.minimum(one, other), np.maximum(one, other)))
        self.high, self.low = np.minimum(one, other)[by], np.maximum(one, other)[by]
        self.equal = pairs.equal[by]
        parent = np.full(len(self.starts), components.ALONE)
        components.join(parent, self.high, self.low)
        self.linked = self._link_urls(parent, ordered)
        components.flatten(parent)
        self.component = parent
        # Of each group: the document that stays, the group that it is like, how much.
        self.keeper = np.full(len(self.starts), -1)
        self.like = np.full(len(self.starts), -1)
        self.same = np.zeros(len(self.starts), np.uint16)

    def _link_urls(self, parent: np.ndarray, ordered: np.ndarray) -> np.ndarray:
        """Joins groups that share a URL; [documents in order] bool: whose URL another group has too."""
        named = np.flatnonzero(self.urls != NO_URL)
        by = named[np.argsort(self.urls[named], kind="stable")]
        same = (self.urls[by][1:] == self.urls[by][:-1]) & (ordered[by][1:] != ordered[by][:-1])
        components.join(parent, ordered[by][:-1][same], ordered[by][1:][same])
        linked = np.zeros(len(self.urls), bool)
        shared = np.unique(self.urls[by][1:][same])
        linked[named] = np.isin(self.urls[named], shared)
        return linked

    def result(self) -> Settled:
        self._first_of_components()
        self._others()
        return self._by_document()

    def _first_of_components(self) -> None:
        """The first of each component stays; so those paired with it go. Most components need no more."""
        alone = self.component == components.ALONE
        first = alone | (self.component == np.arange(len(self.component)))
        self.keeper[first] = self.first[first]
        taken = self.component[self.low] == self.high
        self.like[self.low[taken]], self.same[self.low[taken]] = self.high[taken], self.equal[taken]
        self.undecided = np.flatnonzero(~first & (self.like < 0))

    def _others(self) -> None:
        """The undecided, one by one."""
        staying: dict[int, list[int]] = {}  # component -> its groups that stay
        self.taken: dict[int, int] = {}  # URL -> the document that stays
        self.by_url: dict[int, int] = {}  # place in the order -> the document that stays for it
        for group in np.flatnonzero(self.keeper >= 0).tolist() if self.linked.any() else ():
            self._stays(group)
        begin = np.searchsorted(self.low, self.undecided).tolist()
        end = np.searchsorted(self.low, self.undecided, "right").tolist()
        for group, first, last in zip(self.undecided.tolist(), begin, end, strict=True):
            component = int(self.component[group])
            others = staying.setdefault(component, [component])
            neighbours = self.high[first:last]
            found = np.flatnonzero(self.keeper[neighbours] >= 0)
            if len(found):
                self.like[group] = neighbours[found[0]]
                self.same[group] = self.equal[first:last][found[0]]
            elif not self._like_one_of(group, self._near(neighbours, others)) and self._stays(group):
                others.append(group)

    def _near(self, neighbours: np.ndarray, others: list[int]) -> np.ndarray:
        """Groups that stay: those that stay for the neighbours, then the last ones of the component, which are about as long."""
        near = np.unique(self.like[neighbours])
        near = near[near >= 0][-AGAIN:]
        last = others[len(near) - AGAIN :] if len(near) < AGAIN else []
        return np.unique(np.append(near, np.array(last, np.int64)))

    def _like_one_of(self, group: int, others: np.ndarray) -> bool:
        counts = self.compare(np.full(len(others), self.first[group]), self.first[others])
        alike = np.flatnonzero(counts >= self.least)
        if len(alike):
            self.like[group], self.same[group] = others[alike[0]], counts[alike[0]]
        return len(alike) > 0

    def _stays(self, group: int) -> bool:
        """The first document of the group whose URL nobody has stays; False if there is none."""
        start = int(self.starts[group])
        for place in range(start, start + int(self.sizes[group])):
            url, document = int(self.urls[place]), int(self.order[place])
            if self.linked[place] and url in self.taken:
                self.by_url[place] = self.taken[url]
                continue
            if self.linked[place]:
                self.taken[url] = document
            self.keeper[group] = document
            return True
        return False

    def _by_document(self) -> Settled:
        group, place = self.group, np.empty(len(self.group), np.int64)
        place[self.order] = np.arange(len(place))
        like = np.where(self.like >= 0, self.like, np.arange(len(self.like)))
        stays = self.keeper[like][group]
        reason = np.where(stays == np.arange(len(stays)), STAYS, LIKE).astype(np.uint8)
        equal = np.where(self.like >= 0, self.same, self.all)[group].astype(np.uint16)
        for at, other in self.by_url.items():
            document = self.order[at]
            stays[document], reason[document] = other, SAME_URL
        return Settled(stays, reason, equal)
