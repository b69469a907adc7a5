"""Says how a run uses the machine: the pipeline, memory, processes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pinisi.base.paths import PATH
from pinisi.base.settings import at_least, byte_count
from pinisi.base.typed_toml import Fault
from pinisi.schedule import names

# microbatches x ranks of a step: its table takes 4 KiB and 90 us each before a run starts (1f1b, 2 ranks, one core: 100,000
# microbatches take 0.8 GiB and 17 s)
MOST_PLACES = 2**18


@dataclass(frozen=True)
class PipelineSection:
    """[pipeline] says how many ranks there are, in which order passes run, and how layers and rows are shared out."""

    RENAMED = (("replicas", "data_parallel", "with the same meaning"),)

    ranks: int  # processes that share the layers, a GPU or a core each
    microbatches: int  # that a step of each pipeline is cut into
    name: str = "1f1b"  # the schedule: 1f1b, gpipe, zb-h1, zbv, ... (an unknown one's error names them all)
    chunks: int | None = None  # stages of a rank, where the schedule leaves it open; 2 if left out
    data_parallel: int | None = None  # pipelines side by side; if left out as many as ranks are there for
    # exchanges for a microbatch's head; 0: embedding and head whole, on the first and last stage
    barriers: Literal[0, 1, 2] = 1
    layers: list[int] | None = None  # layers per stage; as even as they go if left out
    rows: Literal["even", "balanced"] | list[int] = "even"  # vocabulary rows per rank; balanced evens layers
    table: str | None = field(default=None, metadata=PATH)  # passes' order, of `pinisi plan --search`

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, ranks=1, microbatches=1, data_parallel=1)
        if self.ranks > 0 and self.microbatches * self.ranks > MOST_PLACES:
            yield Fault(
                "microbatches",
                f"at most {MOST_PLACES // self.ranks} on {self.ranks} ranks, for the memory of the step's table: use a larger "
                "data.microbatch_size",
            )
        if self.name not in names():
            yield Fault("name", f"one of {', '.join(names())}")
        if self.chunks is not None and self.chunks < 1:
            yield Fault("chunks", "a whole number of at least 1")
        if self.layers is not None and (min(self.layers, default=-1) < 0 or len(self.layers) % self.ranks):
            yield Fault("layers", f"counts of at least 0, as many as there are stages on {self.ranks} ranks")
        if isinstance(self.rows, list) and (min(self.rows, default=0) < 0 or len(self.rows) != self.ranks):
            yield Fault("rows", f"{self.ranks} counts of at least 0, one per rank")


@dataclass(frozen=True)
class MemorySection:
    """[memory] says what is kept and what is computed again."""

    RENAMED = (("recompute", "activation_checkpointing", "with the same meaning"),)

    # with full a stage keeps its input alone and computes the rest again
    activation_checkpointing: Literal["none", "full"] = "none"
    head: str = "keep"  # the logits between S and T: keep, recompute, or how many a microbatch keeps: 512 MiB

    @property
    def head_budget(self) -> int | None:
        """Returns the bytes that the numbers of a head's microbatch may take; None: any."""
        return None if self.head == "keep" else 0 if self.head == "recompute" else byte_count(self.head)

    def validate(self) -> Iterator[Fault]:
        if self.head not in ("keep", "recompute") and not byte_count(self.head):
            yield Fault("head", 'keep, recompute, or a size such as "512 MiB" (KiB, MiB, GiB)')


MOST_PATIENCE = (
    10**7
)  # seconds; the limits of collectives are twelve times as long, and counted in nanoseconds


@dataclass(frozen=True)
class RuntimeSection:
    """[runtime]: processes and communication. With emulate, communication is real."""

    backend: Literal["gloo", "nccl"] | None = None  # nccl on GPUs and gloo on CPUs if left out
    threads: int = 1  # CPU threads per rank
    compile: Literal["none", "layers"] = "none"  # layers: each decoder layer, by torch.compile
    # torch's backend for that: inductor makes fused kernels, aot_eager none (to find faults with)
    compiler: Literal["inductor", "aot_eager"] = "inductor"
    # Joining may take as long, at least 20 s; building, reading, saving and evaluating ten times as long.
    stuck_after: float = 300.0  # seconds that a step may stand still before the run ends and says why
    port: int | None = None  # where ranks meet; a free one if left out
    emulate: str | None = field(default=None, metadata=PATH)  # JSON of pass costs: passes sleep so long

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, threads=1)
        if not 0 < self.stuck_after <= MOST_PATIENCE:
            yield Fault("stuck_after", f"more than 0 and at most {MOST_PATIENCE:,} seconds")
        if self.port is not None and not 1 <= self.port <= 65535:
            yield Fault("port", "a port number from 1 to 65535")
