"""Draws the microbatches of a run: a pure function of the seed and of what was already drawn.

Each language is an endless stream of tokens: its documents, shuffled anew for every epoch (streams.py). Sequences are
cut from it one after the other. Global sequence number n draws its language from the mixture with random
number n. So the state is small (sequences drawn, three numbers a language), exact, and the same on all data ranks.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.data.balance import assign
from pinisi.data.batches import Microbatch, Positions, collate
from pinisi.data.random_numbers import uniform
from pinisi.data.shards import Shards
from pinisi.data.sorted_stream import SortedStream
from pinisi.data.streams import PermutedStream, Pieces, Stream

Place = tuple[str, Pieces]  # a row's language and what it is made of
ORDER = "permuted"  # in a state; one of before there was a permutation says nothing


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
        self._order: type[PermutedStream] | type[SortedStream] = PermutedStream
        self._streams = self._begin()
        self._cumulative = np.cumsum(list(self.weights.values()))
        self._sequences = 0

    def _begin(self) -> dict[str, Stream]:
        return {
            language: self._order(self.shards.files(language), self.seed, language)
            for language in self.weights
        }

    @property
    def languages(self) -> tuple[str, ...]:
        """What `Microbatch.languages` counts in."""
        return self.shards.languages

    @property
    def epochs(self) -> dict[str, float]:
        """How often each language's text has been gone through."""
        return {language: stream.epochs for language, stream in self._streams.items()}

    def step(self, microbatches: int) -> list[Microbatch]:
        """This data rank's next `microbatches` microbatches; moves the state on for all data ranks."""
        rows = [[self._draw() for _ in range(self.batch)] for _ in range(microbatches * self.data_ranks)]
        ours = self._balanced(rows, microbatches) if self.balance else rows[self.data_rank :: self.data_ranks]
        return [self._microbatch(places) for places in ours]

    def _balanced(self, rows: list[list[Place]], microbatches: int) -> list[list[Place]]:
        """Our microbatches of a step's rows; every data rank works out the same, from bounds alone."""
        places = [place for microbatch in rows for place in microbatch]
        costs = [int((pieces.lengths**2).sum()) for _, pieces in places]
        ours = assign(costs, microbatches, self.batch, self.data_ranks)[self.data_rank]
        return [[places[row] for row in microbatch] for microbatch in ours]

    def _microbatch(self, places: list[Place]) -> Microbatch:
        rows = [
            pieces.row(self._streams[language].files, self.shards.end_of_document)
            for language, pieces in places
        ]
        return collate(rows, [self.languages.index(language) for language, _ in places], self.positions)

    def _draw(self) -> Place:
        """The language of the next sequence of all and the pieces of documents that it is made of."""
        number = uniform(self.seed, self._sequences) * self._cumulative[-1]
        choice = int(np.searchsorted(self._cumulative, number, side="right"))
        language = list(self.weights)[min(choice, len(self.weights) - 1)]
        self._sequences += 1
        return language, self._streams[language].draw(self.sequence)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as JSON; the same on every data rank."""
        drawn = {language: stream.state() for language, stream in self._streams.items()}
        ordered = {"order": ORDER, "streams": drawn} if self._order is PermutedStream else {"tokens": drawn}
        return {
            "fingerprint": self.shards.fingerprint,
            "seed": self.seed,
            "sequence": self.sequence,
            "sequences": self._sequences,
            **ordered,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken, in its order. batch, data_ranks and weights may differ from then.

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
        self._order = order_of(state)
        self._streams = self._begin()
        for language, drawn in state["tokens" if self._order is SortedStream else "streams"].items():
            if language in self._streams:
                self._streams[language].restore(drawn)


def order_of(state: dict[str, Any]) -> type[PermutedStream] | type[SortedStream]:
    """What draws in the order of a state. Raises DataError if no stream of this version does."""
    if "order" not in state:
        return SortedStream
    if state["order"] != ORDER:
        raise DataError(
            f"the checkpoint's documents come in the order '{state['order']}', which this version does not know; resume with the "
            "version that wrote it, or start a new run"
        )
    return PermutedStream


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


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise DataError(f"{name} is {value}; it must be above 0")
