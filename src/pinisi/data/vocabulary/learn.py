"""Learns merges of byte-pair encoding on top of the ones that a tokenizer has, the most frequent pair first.

An encoder merges the pair of the lowest rank that it sees. Merges that are learned here rank behind all old ones, so a text is
first cut as before and then joined further: one in which no new pair stands is encoded as before (Sennrich et al. 2016).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise

Word = tuple[int, ...]
IdPair = tuple[int, int]
NONE = -1  # no token: the end of a word, or a place whose token was joined to another
LOWEST_COUNT = 2  # a pair that is seen once saves nothing that will come again


@dataclass(frozen=True)
class Learned:
    """New tokens: id -> its two parts, in the order of learning, and how often each stands in the encoded text."""

    parts: dict[int, IdPair]
    counts: dict[int, int]


class MergeLearner:
    """Joins pairs in words until there are enough tokens.

    words: {ids of a word: how often it occurs, weighted}. first_id: of the new tokens. allowed(left, right): whether two
    tokens may become one; it is asked once a pair, and told what became of it by `made(left, right, id)`.
    Of pairs that are as frequent as each other the one of lower ids goes first, so the result depends on nothing else.
    All words stand one behind the other in flat lists: a merge touches the places where its pair stands, and nothing else.
    """

    def __init__(
        self,
        words: Mapping[Word, int],
        first_id: int,
        allowed: Callable[[int, int], bool],
        made: Callable[[int, int, int], None],
    ):
        self.first_id, self.allowed, self.made = first_id, allowed, made
        self.ids: list[int] = []  # by place; NONE where a token has become part of the one before it
        self.weights: list[int] = []
        for word, weight in sorted(words.items()):
            self.ids += [*word, NONE]
            self.weights += [weight] * (len(word) + 1)
        self.after = list(range(1, len(self.ids) + 1))  # the place of the next token, or of the word's end
        self.before = list(range(-1, len(self.ids) - 1))
        self.counts: Counter[IdPair] = Counter()
        self.places: defaultdict[IdPair, list[int]] = defaultdict(
            list
        )  # of the left token; some are no longer so
        for place, pair in enumerate(pairwise(self.ids)):
            if NONE not in pair:
                self.counts[pair] += self.weights[place]
                self.places[pair].append(place)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapify(self.heap)

    def learn(self, tokens: int, lowest: int = LOWEST_COUNT) -> dict[int, IdPair]:
        """Returns {new id: its parts} of at most `tokens` merges, each seen at least `lowest` times."""
        parts: dict[int, IdPair] = {}
        while len(parts) < tokens and self.heap:
            count, pair = heappop(self.heap)
            if -count != self.counts[pair]:
                continue  # an old entry: a newer one is in the heap
            if -count < lowest:
                break
            if not self.allowed(*pair):
                continue
            id = self.first_id + len(parts)
            self.made(*pair, id)
            parts[id] = pair
            self._merge(pair, id)
        return parts

    def _merge(self, pair: IdPair, id: int) -> None:
        changed: set[IdPair] = set()
        for place in sorted(set(self.places.pop(pair))):  # from the left: of "aaa" the first two
            right = self.after[place]
            if self.ids[place] != pair[0] or right >= len(self.ids) or self.ids[right] != pair[1]:
                continue
            behind, front, weight = self.after[right], self.before[place], self.weights[place]
            one, two = self.ids[front] if front >= 0 else NONE, self.ids[behind]
            self.ids[place], self.ids[right] = id, NONE
            self.after[place], self.before[behind] = behind, place
            self._count(pair, -weight, place, changed)
            for old, new, at in (((one, pair[0]), (one, id), front), ((pair[1], two), (id, two), place)):
                if NONE not in old:
                    self._count(old, -weight, at, changed)
                    self._count(new, weight, at, changed)
        for each in changed:
            if count := self.counts[each]:
                heappush(self.heap, (-count, each))

    def _count(self, pair: IdPair, weight: int, place: int, changed: set[IdPair]) -> None:
        self.counts[pair] += weight
        changed.add(pair)
        if weight > 0:
            self.places[pair].append(place)

    def used(self) -> Counter[int]:
        """How often each token stands in the words as they are now."""
        found: Counter[int] = Counter()
        for id, weight in zip(self.ids, self.weights, strict=True):
            if id != NONE:
                found[id] += weight
        return found


def most_useful(parts: Mapping[int, IdPair], used: Mapping[int, int], keep: int) -> Learned:
    """Leaves out the tokens whose loss costs least until `keep` are left.

    A token that no other is made of saves one token wherever it stands, so its count in the encoded text is what it saves;
    without it its two parts stand there.
    """
    counts = {id: used.get(id, 0) for id in parts}
    wanted_by: Counter[int] = Counter(part for pair in parts.values() for part in pair if part in parts)
    heap = [(counts[id], -id) for id in parts if not wanted_by[id]]
    heapify(heap)
    left = dict(parts)
    while len(left) > keep:
        count, negative = heappop(heap)
        id = -negative
        if id not in left or count != counts[id]:
            continue
        for part in left.pop(id):
            if part in left:
                counts[part] += count
                wanted_by[part] -= 1
                if not wanted_by[part]:
                    heappush(heap, (counts[part], -part))
    return Learned(left, {id: counts[id] for id in left})
