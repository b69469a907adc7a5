"""Says how much of a machine's peak a run's steps use: MFU, as PaLM defines it (arXiv 2204.02311, appendix B)."""

from __future__ import annotations

from functools import lru_cache

from pinisi.config import RunConfig
from pinisi.costs.hardware import read_hardware
from pinisi.costs.shape import shape_of
from pinisi.costs.work import Setting, model_flops
from pinisi.models import ModelSpec
from pinisi.train.phases import Phase


class Utilization:
    """Holds a model's operations and the peak of all ranks. Without report.hardware nothing is known."""

    def __init__(self, config: RunConfig, spec: ModelSpec):
        name, dtype = config.report.hardware, str(config.model.dtype)
        self.peak = None if name is None else read_hardware(name).rate(dtype) * config.pipeline.ranks
        self._flops = lru_cache(lambda sequence: _flops(spec, sequence))

    def share(self, phase: Phase, seconds: float) -> float | None:
        """Returns the share of the peak that a step of so many seconds used; None where no hardware is named."""
        if self.peak is None:
            return None
        rows = phase.microbatches * phase.data.microbatch_size  # of each replica, as is the peak
        return float(self._flops(phase.data.sequence)) * rows / (seconds * self.peak)


def _flops(spec: ModelSpec, sequence: int) -> float:
    """Of one row, forward and backward, without what is computed again."""
    return model_flops(shape_of(spec), Setting(sequence=sequence))
