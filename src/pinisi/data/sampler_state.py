"""Holds what a sampler has drawn, as checkpoints keep it: in JSON, a few numbers a component."""

from dataclasses import dataclass, field
from typing import Any

from pinisi.base.errors import DataError
from pinisi.data.document_files import DocumentFiles
from pinisi.data.sorted_stream import SortedStream
from pinisi.data.streams import PermutedStream, Stream

ORDER = "permuted"


@dataclass(frozen=True)
class SamplerState:
    """Says where each component's stream stands.

    permuted: the order of documents; False is that of before there was a permutation, whose states name no order and have the
        count of tokens drawn of each language.
    drawn: each component's stream's state, also of those that the present phase leaves out. fingerprints: of their shards.
    only: the fingerprint of the only folder of shards, where the order is the one of before. counts: tokens drawn of each
        component, in all phases; states of before there were counts have none.
    """

    seed: int
    sequence: int = 0  # tokens of a sequence of the phase
    sequences: int = 0  # drawn in all phases
    permuted: bool = True
    drawn: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    only: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, state: dict[str, Any]) -> "SamplerState":
        """Reads a state. Raises DataError if its order of documents is none that this version knows."""
        common = int(state["seed"]), int(state["sequence"]), int(state["sequences"])
        if "order" not in state:
            drawn = {name: int(tokens) for name, tokens in state["tokens"].items()}
            return cls(*common, False, drawn, only=state["fingerprint"])
        if state["order"] != ORDER:
            raise DataError(
                f"the checkpoint's documents come in the order '{state['order']}', which this version does not know; resume with "
                "the version that wrote it, or start a new run"
            )
        components = {name: dict(each) for name, each in state["components"].items()}
        fingerprints = {name: each.pop("fingerprint") for name, each in components.items()}
        counts = {name: int(each.pop("tokens")) for name, each in components.items() if "tokens" in each}
        return cls(*common, True, components, fingerprints, counts=counts)

    def to_dict(self) -> dict[str, Any]:
        common = {"seed": self.seed, "sequence": self.sequence, "sequences": self.sequences}
        if not self.permuted:
            return {"fingerprint": self.only, **common, "tokens": self.drawn}
        components = {
            name: {"fingerprint": self.fingerprints[name], **each, **self._count(name)}
            for name, each in self.drawn.items()
        }
        return {"order": ORDER, **common, "components": components}

    def _count(self, name: str) -> dict[str, int]:
        return {"tokens": self.counts[name]} if name in self.counts else {}

    def check(self, seed: int, fingerprints: dict[str, str]) -> None:
        """Raises DataError if the seed, or the shards of a component that was drawn from, are others than these."""
        pairs: list[tuple[str, Any, Any]] = [("the seed", self.seed, seed)]
        for name, ours in fingerprints.items():
            theirs = self.fingerprints.get(name, ours) if self.permuted else self.only
            pairs.append((f"the data set of '{name}',", theirs, ours))
        for what, before, now in pairs:
            if before != now:
                raise DataError(
                    f"the checkpoint was trained with {what} {before}, this run has {now}; resume with the same, "
                    "or give another run.folder to start anew"
                )

    def stream(self, files: DocumentFiles, name: str) -> Stream:
        """Makes a component's stream in this state's order, at its beginning."""
        return (PermutedStream if self.permuted else SortedStream)(files, self.seed, name)
