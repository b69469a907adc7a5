"""Holds where a recipe's tasks run and what they may take: a section for any recipe's TOML."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pinisi.base.settings import at_least, byte_count
from pinisi.base.typed_toml import Fault

ExecutorName = Literal["processes", "local", "slurm", "ray"]  # the last three are datatrove's


@dataclass(frozen=True)
class ExecutorSettings:
    """Says where tasks run, how many at once, and how much memory each may take."""

    executor: ExecutorName = "processes"
    workers: int = 2
    budget: str = "2 GiB"  # of memory that a task may take
    # Arguments of datatrove's SlurmPipelineExecutor: partition, time, qos, mem_per_cpu_gb (budget and 2 GiB unless given), ...
    slurm: dict = field(default_factory=dict)

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, workers=1)
        if not byte_count(self.budget):
            yield Fault("budget", "a size such as 2 GiB or 500 MiB")
