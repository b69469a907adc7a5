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
    """

    def __init__(
        self,
        words: Mapping[Word, int],
        first_id: int,
        allowed: Callable[[int, int], bool],
        made: Callable[[int, int, int], None],
    ):
        ordered = sorted(words.items())
        self.words = [list(word) for word, _ in ordered]
        self.weights = [count for _, count in ordered]
        self.first_id, self.allowed, self.made = first_id, allowed, made
        self.counts: Counter[IdPair] = Counter()
        self.places: defaultdict[IdPair, set[int]] = defaultdict(set)
        for number, word in enumerate(self.words):
            for pair in pairwise(word):
                self.counts[pair] += self.weights[number]
                self.places[pair].add(number)
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
        for number in sorted(self.places.pop(pair)):
            old, weight = self.words[number], self.weights[number]
            new = joined(old, pair, id)
            for each in pairwise(old):
                self.counts[each] -= weight
                changed.add(each)
            for each in pairwise(new):
                self.counts[each] += weight
                self.places[each].add(number)
                changed.add(each)
            for each in set(pairwise(old)) - set(pairwise(new)) - {pair}:
                self.places[each].discard(number)
            self.words[number] = new
        for each in changed:
            if count := self.counts[each]:
                heappush(self.heap, (-count, each))

    def used(self) -> Counter[int]:
        """How often each token stands in the words as they are now."""
        found: Counter[int] = Counter()
        for word, weight in zip(self.words, self.weights, strict=True):
            for id in word:
                found[id] += weight
        return found


def joined(word: list[int], pair: IdPair, id: int) -> list[int]:
    """A word in which a pair is one token, from the left."""
    found: list[int] = []
    place = 0
    while place < len(word):
        if place + 1 < len(word) and (word[place], word[place + 1]) == pair:
            found.append(id)
            place += 2
        else:
            found.append(word[place])
            place += 1
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
