"""Draws the microbatches of a run: a pure function of the seed and of what was already drawn.

Each component is an endless stream of tokens: its documents, shuffled anew for every epoch (streams.py). Sequences are cut from it
one after the other. Global sequence number n draws its component from the mixture with random number n. So the state is small
(sequences drawn, three numbers a component), exact, and the same on all data ranks.

A state belongs to a phase: a stretch of a run with one sequence length and one mixture. The next phase's sampler starts from it
(`start`) and goes on in each component's stream where the one before stopped, so that no text is seen again before its epoch is
over. A component that a phase leaves out keeps its place in the states of that phase.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.data.balance import assign
from pinisi.data.batches import Microbatch, Positions, collate
from pinisi.data.components import Components, Data, mixture
from pinisi.data.random_numbers import uniform
from pinisi.data.sampler_state import SamplerState
from pinisi.data.shards import TokenShards
from pinisi.data.streams import RowPieces, Stream

__all__ = ["Drawing", "Sampler", "mixture"]

Place = tuple[str, RowPieces]  # a row's component and what it is made of


@dataclass(frozen=True)
class Drawing:
    """Says what a phase draws.

    sequence, batch: s and b of Microbatch's [b, s].
    weights: share of sequences per component (of plain shards: per language), in any unit; those not named are left out. None: by
        size, tokens ** (1 / temperature), so temperature 1 is proportional and a higher one evens out.
    data_rank, data_ranks: global microbatch j * data_ranks + data_rank of a step is ours.
    balance: within a step, share its rows out to microbatches and data ranks so that attention inside documents costs them the
        same (see balance.py). A step has the same rows either way, and the state is the same; which microbatch a row is in then
        depends on how many a step has.
    positions: as in Microbatch, of each document by default, or of the row.
    """

    sequence: int
    batch: int
    seed: int
    weights: dict[str, float] | None = None
    temperature: float = 1.0
    data_rank: int = 0
    data_ranks: int = 1
    balance: bool = False
    positions: Positions = "document"

    def __post_init__(self) -> None:
        for name in ("sequence", "batch", "temperature", "data_ranks"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.data_rank < self.data_ranks:
            raise DataError(f"data_rank is {self.data_rank}, needed 0 to {self.data_ranks - 1}")


class Sampler:
    """Makes packed microbatches from token shards, or from components (components.py).

    settings: of Drawing, one by one; or `drawing`. start: the state in which an earlier phase ended.
    Raises DataError for a weight of a component that is not there, negative or all zero, and as `restore` does for `start`.
    """

    def __init__(
        self,
        shards: Data | Components,
        drawing: Drawing | None = None,
        *,
        start: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.drawing = Drawing(**settings) if drawing is None else drawing
        self.components = shards if isinstance(shards, Components) else Components(shards)
        self.weights = mixture(self.components, self.drawing.weights, self.drawing.temperature)
        self._names, self._cumulative = list(self.weights), np.cumsum(list(self.weights.values()))
        self._go_on(SamplerState(self.drawing.seed) if start is None else SamplerState.of(start))

    @property
    def shards(self) -> TokenShards:
        """The first folder of shards; the only one unless there are components of several."""
        return self.components.folders[0]

    @property
    def languages(self) -> tuple[str, ...]:
        """What `Microbatch.languages` counts in."""
        return self.components.languages

    @property
    def epochs(self) -> dict[str, float]:
        """How often each component's text has been gone through."""
        return {name: stream.epochs for name, stream in self._streams.items()}

    @property
    def bytes_read(self) -> int:
        """Bytes of tokens that this data rank has read so far: those of its own rows."""
        return sum(stream.files.bytes_read for stream in self._streams.values())

    def counters(self, state: dict[str, Any]) -> dict[str, dict[str, float]]:
        """Returns what had been drawn of each component where `state` was taken, in all phases: tokens, epochs, and the bytes of
        text that as many tokens of it stand for on average. Nothing for states of before there were counts."""
        found = {}
        for name, drawn in state.get("components", {}).items():
            component = next((each for each in self.components if each.name == name), None)
            if component is None or "tokens" not in drawn:
                continue
            each = component.shards.counts(component.language)
            size = drawn["tokens"] * each["bytes"] / max(1, each["tokens"])
            epochs = drawn["epoch"] + drawn["place"] / component.files.documents
            found[name] = {"tokens": drawn["tokens"], "epochs": epochs, "bytes": round(size)}
        return found

    def step(self, microbatches: int) -> list[Microbatch]:
        """This data rank's next `microbatches` microbatches; moves the state on for all data ranks."""
        d = self.drawing
        rows = [[self._draw() for _ in range(d.batch)] for _ in range(microbatches * d.data_ranks)]
        ours = self._balanced(rows, microbatches) if d.balance else rows[d.data_rank :: d.data_ranks]
        return [self._microbatch(places) for places in ours]

    def _balanced(self, rows: list[list[Place]], microbatches: int) -> list[list[Place]]:
        """Our microbatches of a step's rows; every data rank works out the same, from bounds alone."""
        places = [place for microbatch in rows for place in microbatch]
        costs = [int((pieces.lengths**2).sum()) for _, pieces in places]
        ours = assign(costs, microbatches, self.drawing.batch, self.drawing.data_ranks)
        return [[places[row] for row in microbatch] for microbatch in ours[self.drawing.data_rank]]

    def _microbatch(self, places: list[Place]) -> Microbatch:
        rows, numbers = [], []
        for name, pieces in places:
            component = self.components[name]
            rows.append(pieces.row(self._streams[name].files, component.shards.end_of_document))
            numbers.append(self.languages.index(component.language))
        return collate(rows, numbers, self.drawing.positions)

    def _draw(self) -> Place:
        """The component of the next sequence of all and the pieces of documents that it is made of."""
        number = uniform(self.drawing.seed, self._sequences) * self._cumulative[-1]
        choice = int(np.searchsorted(self._cumulative, number, side="right"))
        name = self._names[min(choice, len(self._names) - 1)]
        self._sequences += 1
        self._counts[name] += self.drawing.sequence
        return name, self._streams[name].draw(self.drawing.sequence)

    def state(self) -> dict[str, Any]:
        """All that `restore`, or the next phase's sampler, needs, as JSON; the same on every data rank."""
        drawn = {name: stream.state() for name, stream in self._streams.items()}
        kept = self._state.drawn | drawn
        fingerprints = {name: self.components[name].shards.fingerprint for name in drawn}
        return SamplerState(
            self.drawing.seed,
            self.drawing.sequence,
            self._sequences,
            self._state.permuted,
            dict(sorted(kept.items())),
            self._state.fingerprints | fingerprints,
            self._state.only,
            dict(sorted(self._counts.items())),
        ).to_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken, in its order. batch, data_ranks and weights may differ from then.

        Raises DataError if the shards, the seed or the sequence length are others.
        """
        before = SamplerState.of(state)
        if before.sequence != self.drawing.sequence:
            raise DataError(
                f"the checkpoint was trained with sequence {before.sequence}, this run has {self.drawing.sequence}; resume with "
                "the same data.sequence, give another run.folder to start anew, or begin a phase of its own with it"
            )
        self._go_on(before)

    def _go_on(self, state: SamplerState) -> None:
        state.check(
            self.drawing.seed, {name: self.components[name].shards.fingerprint for name in self.weights}
        )
        self._state, self._sequences = state, state.sequences
        self._streams: dict[str, Stream] = {}
        for name in self.weights:
            stream = state.stream(self.components[name].files, name)
            if name in state.drawn:
                stream.restore(state.drawn[name])
            self._streams[name] = stream
        # of a state of before there were counts: about as many as so much of an epoch has
        begun = {n: round(s.epochs * self.components[n].files.tokens) for n, s in self._streams.items()}
        self._counts = begun | state.counts
