"""Says what a run begins with and reads: its folder and steps, the model, the data."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pinisi.base.paths import MODEL, PATH
from pinisi.base.settings import at_least, not_empty
from pinisi.base.typed_toml import Fault
from pinisi.data.components import Component


@dataclass(frozen=True)
class RunSection:
    """[run] says where a run writes and how long it goes."""

    folder: str = field(metadata=PATH)  # written to: config.toml, metrics.jsonl, checkpoints, report.html
    steps: int | None = None  # optimizer steps in all, resumed ones included; with [[phases]] their sum
    seed: int = 0  # what the random start and the order of documents are drawn with
    start: str | None = field(
        default=None, metadata=PATH
    )  # another run's checkpoint: its weights are the first
    # another run's checkpoint that this one branches off: weights, moments and the place in the text go on, steps count anew, and
    # the other run stays as it is. For several endings of one trunk, with the trunk's seed and data
    branch: str | None = field(default=None, metadata=PATH)
    # at a step without a finite loss or any target: end the run, or leave it out
    on_bad_step: Literal["stop", "skip"] = "stop"
    bad_steps: int = 10  # how many steps may be skipped in the whole run
    name: str = ""  # shown in the report; the folder's name if empty

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, steps=1, seed=0, bad_steps=0)
        yield from not_empty(self, "folder")
        if self.start is not None and self.branch is not None:
            yield Fault("branch", "to be left out where there is run.start, which takes weights alone")


@dataclass(frozen=True)
class ModelSection:
    """[model] says what is trained: exactly one of source and config."""

    source: str | None = field(default=None, metadata=MODEL)  # a folder or hub id: weights and configuration
    config: dict | None = None  # [model.config], a Hugging Face configuration with model_type: a random start
    tokenizer: str | None = field(default=None, metadata=PATH)  # a folder; the source's own if left out
    # of the weights at work; with bfloat16 the optimizer keeps float32 master weights. Left out, a run resumes in its own, and
    # begins in that in which the source's files are stored, or float32
    dtype: Literal["float32", "bfloat16", "float64"] | None = None
    # what computes attention: auto takes what knows the documents of packed rows where that gains; dense makes a mask of all pairs
    # of a row (in transformers' form sdpa or eager, if one is named); blocks for CPUs, flex and varlen for GPUs make none
    attention: Literal["auto", "dense", "blocks", "flex", "varlen", "sdpa", "eager"] = "auto"

    def validate(self) -> Iterator[Fault]:
        if (self.source is None) == (self.config is None):
            yield Fault("source", "to be given, or else a table [model.config]: one of the two, not both")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            yield Fault("config", 'a model_type, such as model_type = "qwen2"')


@dataclass(frozen=True)
class DataSection:
    """[data] says what is read and how it is cut into sequences."""

    RENAMED = (("microbatch", "microbatch_size", "with the same meaning"),)

    sequence: int  # tokens per sequence
    shards: str | None = field(default=None, metadata=PATH)  # folder of token shards, of `pinisi tokenize`
    components: list[Component] = field(default_factory=list)  # instead of shards: several folders, by name
    microbatch_size: int = 1  # sequences per microbatch
    # weight by language or component, normalised; by size if left out
    mixture: dict[str, float] | None = None
    temperature: float | None = None  # without a mixture: weight = tokens ** temperature; 1 by size, 0 even
    evaluation: str | None = field(default=None, metadata=PATH)  # folder of held-out shards, if any
    verify: bool = True  # compare all shards with their digests at the start: about 1 s a GB and rank
    positions: Literal["document", "row"] = "document"  # begin again with each document, or run on
    balance: bool = False  # deal a step's rows to microbatches by their documents' lengths, for attention that skips what is masked

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, sequence=1, microbatch_size=1)
        if self.shards == "":
            yield Fault("shards", "a path")
        if self.shards is not None and self.components:
            yield Fault("shards", "to be left out where there are [[data.components]]")
        if self.mixture is not None and (
            not all(0 <= weight < float("inf") for weight in self.mixture.values())
            or not any(self.mixture.values())
        ):
            yield Fault("mixture", "weights of at least 0, one of them above 0")
        if self.temperature is not None and self.mixture is not None:
            yield Fault("temperature", "to be left out where a mixture is given")
        if self.temperature is not None and not 0 <= self.temperature <= 1:
            yield Fault("temperature", "a number from 0 to 1")
