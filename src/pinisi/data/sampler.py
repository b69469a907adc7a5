"""The order in which a run sees its documents: a pure function of the seed and of what was already drawn.

Each language is an endless stream of tokens: its documents, shuffled anew for every epoch. Sequences are
cut from it one after the other. Global sequence number n draws its language from the mixture with random
number n. So the state is small (sequences drawn, tokens drawn per language), exact, and the same on all
data ranks.
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.data.balance import assign
from pinisi.data.batches import Microbatch, Positions, Row, collate
from pinisi.data.shards import Shard, Shards

Place = tuple[str, int]  # a row's language and the token of its stream that it starts at


class Sampler:
    """Packed microbatches from token shards.

    sequence, batch: s and b of Microbatch's [b, s].
    weights: share of sequences per language, in any unit; languages not named are left out. None: by size,
        tokens ** (1 / temperature), so temperature 1 is proportional and a higher one evens out.
    data_rank, data_ranks: global microbatch j * data_ranks + data_rank of a step is ours.
    balance: within a step, share its rows out to microbatches and data ranks so that attention inside
        documents costs them the same (see balance.py). A step has the same rows either way, and the state
        is the same; which microbatch a row is in then depends on how many a step has.
    positions: as in Microbatch, of each document by default, or of the row.
    Raises DataError for a weight of a language that is not there, negative or all zero.
    """

    def __init__(
        self,
        shards: Shards | str | Path,
        *,
        sequence: int,
        batch: int,
        seed: int,
        weights: dict[str, float] | None = None,
        temperature: float = 1.0,
        data_rank: int = 0,
        data_ranks: int = 1,
        balance: bool = False,
        positions: Positions = "document",
    ):
        _positive(sequence=sequence, batch=batch, temperature=temperature, data_ranks=data_ranks)
        if not 0 <= data_rank < data_ranks:
            raise DataError(f"data_rank is {data_rank}, needed 0 to {data_ranks - 1}")
        self.shards = shards if isinstance(shards, Shards) else Shards(shards)
        self.sequence, self.batch, self.seed = sequence, batch, seed
        self.data_rank, self.data_ranks = data_rank, data_ranks
        self.balance, self.positions = balance, positions
        self.weights = mixture(self.shards, weights, temperature)
        self._streams = {language: _Stream(self.shards, language, seed) for language in self.weights}
        self._cumulative = np.cumsum(list(self.weights.values()))
        self._sequences = 0
        self._tokens = dict.fromkeys(self.weights, 0)

    @property
    def languages(self) -> tuple[str, ...]:
        """What `Microbatch.languages` counts in."""
        return self.shards.languages

    @property
    def epochs(self) -> dict[str, float]:
        """How often each language's text has been gone through."""
        return {language: self._tokens[language] / s.size for language, s in self._streams.items()}

    def step(self, microbatches: int) -> list[Microbatch]:
        """This data rank's next `microbatches` microbatches; moves the state on for all data ranks."""
        rows = [[self._draw() for _ in range(self.batch)] for _ in range(microbatches * self.data_ranks)]
        ours = self._balanced(rows, microbatches) if self.balance else rows[self.data_rank :: self.data_ranks]
        return [self._microbatch(places) for places in ours]

    def _balanced(self, rows: list[list[Place]], microbatches: int) -> list[list[Place]]:
        """Our microbatches of a step's rows; every data rank works out the same, from bounds alone."""
        places = [place for microbatch in rows for place in microbatch]
        costs = [
            int((self._streams[language].lengths(start, self.sequence) ** 2).sum())
            for language, start in places
        ]
        ours = assign(costs, microbatches, self.batch, self.data_ranks)[self.data_rank]
        return [[places[row] for row in microbatch] for microbatch in ours]

    def _microbatch(self, places: list[Place]) -> Microbatch:
        rows = [self._streams[language].row(start, self.sequence) for language, start in places]
        return collate(rows, [self.languages.index(language) for language, _ in places], self.positions)

    def _draw(self) -> Place:
        """The language of the next sequence of all and where in that language's stream it starts."""
        number = _uniform(self.seed, self._sequences) * self._cumulative[-1]
        choice = int(np.searchsorted(self._cumulative, number, side="right"))
        language = list(self.weights)[min(choice, len(self.weights) - 1)]
        start = self._tokens[language]
        self._tokens[language] += self.sequence
        self._sequences += 1
        return language, start

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as JSON; the same on every data rank."""
        return {
            "fingerprint": self.shards.fingerprint,
            "seed": self.seed,
            "sequence": self.sequence,
            "sequences": self._sequences,
            "tokens": dict(self._tokens),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken. batch, data_ranks and weights may differ from then.

        Raises DataError if the shards, the seed or the sequence length are others: the stream would be.
        """
        for key, ours in (
            ("fingerprint", self.shards.fingerprint),
            ("seed", self.seed),
            ("sequence", self.sequence),
        ):
            if state[key] != ours:
                what = "data set" if key == "fingerprint" else key
                raise DataError(
                    f"the checkpoint was trained with {what} {state[key]}, this run has {ours}; "
                    f"resume with the same {what} or start a new run"
                )
        self._sequences = int(state["sequences"])
        self._tokens = {language: int(state["tokens"].get(language, 0)) for language in self.weights}


def mixture(shards: Shards, weights: dict[str, float] | None, temperature: float = 1.0) -> dict[str, float]:
    """Language -> share: alphabetical order, summing to 1, those of share 0 left out."""
    if weights is None:
        weights = {
            language: shards.counts(language)["tokens"] ** (1 / temperature) for language in shards.languages
        }
    for language, weight in weights.items():
        shards.counts(language)  # names the language if it is not there
        if not (weight >= 0 and np.isfinite(weight)):
            raise DataError(f"the weight of '{language}' is {weight}; weights must be 0 or more")
    total = sum(weights.values())
    if not total > 0:
        raise DataError("all mixture weights are 0; give at least one language a weight above 0")
    return {language: weights[language] / total for language in sorted(weights) if weights[language] > 0}


class _Stream:
    """The endless token stream of one language: epoch after epoch, each in its own order of documents."""

    def __init__(self, shards: Shards, language: str, seed: int):
        self._shards, self._language = shards, language
        self.size = len(self.shard.tokens)
        self.padding = shards.end_of_document
        self._key = (seed, zlib.crc32(language.encode()))
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def shard(self) -> Shard:
        """Not kept: of many languages only some are open at once."""
        return self._shards.shard(self._language)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of documents in an epoch and where each starts in it."""
        if epoch not in self._epochs:
            self._epochs = {number: table for number, table in self._epochs.items() if number >= epoch - 1}
            bounds = self.shard.bounds
            documents = len(bounds) - 1
            # raw bits of a counter-based generator and a stable sort: the same order in any numpy version
            keys = np.random.Philox(key=_philox_key(*self._key, epoch)).random_raw(documents)
            order = np.argsort(keys, kind="stable")
            starts = np.concatenate([[0], np.cumsum(np.diff(bounds)[order])[:-1]])
            self._epochs[epoch] = order, starts
        return self._epochs[epoch]

    def row(self, start: int, sequence: int) -> Row:
        """The sequence that starts at token `start` of the stream."""
        row = Row(sequence, self.padding)
        tokens, bounds = self.shard
        while row.room:
            epoch, inside = divmod(start + row.filled, self.size)
            order, starts = self._epoch(epoch)
            place = int(np.searchsorted(starts, inside, side="right")) - 1
            first, last = bounds[order[place] : order[place] + 2]
            row.add(tokens[first:last], inside - int(starts[place]))
        return row

    def lengths(self, start: int, sequence: int) -> np.ndarray:
        """Tokens of each piece of a document in that sequence; int64, reads no token."""
        found = []
        while sequence:
            epoch, inside = divmod(start, self.size)
            _, starts = self._epoch(epoch)
            stop = min(inside + sequence, self.size)
            first, last = np.searchsorted(starts, [inside, stop], side="right")
            cuts = starts[first:last]  # documents that start behind `inside`
            found.append(np.diff(cuts[cuts < stop], prepend=inside, append=stop))
            start, sequence = start + stop - inside, sequence - (stop - inside)
        return np.concatenate(found)


def _philox_key(*numbers: int) -> np.ndarray:
    """A Philox key [2] of uint64 from whole numbers of any size."""
    return np.random.SeedSequence([n & 0xFFFFFFFFFFFFFFFF for n in numbers]).generate_state(2, np.uint64)


def _uniform(seed: int, number: int) -> float:
    """Random number `number` of a seed, in [0, 1)."""
    raw = np.random.Philox(key=_philox_key(seed, number)).random_raw()
    return float(int(raw) >> 11) / (1 << 53)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise DataError(f"{name} is {value}; it must be above 0")
