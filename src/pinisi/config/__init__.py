"""Holds the configuration of a run: one TOML file, read into these classes and written back into the run's folder.

A relative path is meant from the folder of the file that names it; one in an override, or in a configuration made
in Python, from the working folder. Every key can be overridden on the command line as `section.key=value`; `none`
unsets an optional key. Read and written by `typed_toml`.
"""

from pinisi.config.inputs import DataSection, ModelSection, RunSection
from pinisi.config.learning import LoraSection, LossSection, OptimizerSection, PhaseSection
from pinisi.config.machine import MemorySection, PipelineSection, RuntimeSection
from pinisi.config.run import RunConfig, configure, head_text, load
from pinisi.config.watching import CheckpointSection, EvaluationSection, ReportSection, WatchSection

__all__ = [
    "CheckpointSection",
    "DataSection",
    "EvaluationSection",
    "LoraSection",
    "LossSection",
    "MemorySection",
    "ModelSection",
    "OptimizerSection",
    "PhaseSection",
    "PipelineSection",
    "ReportSection",
    "RunConfig",
    "RunSection",
    "RuntimeSection",
    "WatchSection",
    "configure",
    "head_text",
    "load",
]
