"""Computes what a model's passes cost on a machine: work, time and memory; shares layers and rows out by it.

Reading order: shape, work, hardware, measured, rates, pass_costs, split, memory, presets.
"""

from pinisi.costs.hardware import PRESETS, Efficiency, Hardware, read_hardware
from pinisi.costs.measured import Measured, model_name
from pinisi.costs.memory import RankMemory, parameters_of, rank_memory
from pinisi.costs.pass_costs import all_reduce, mfu, pass_costs, step_end
from pinisi.costs.rates import S_SHARE, Rates, rates_of
from pinisi.costs.shape import Shape, gpt_shape, shape_of
from pinisi.costs.split import (
    even_layers,
    megatron_layers,
    placed_layers,
    redistributed_layers,
    rows_for,
    with_heads,
)
from pinisi.costs.work import Setting, head_layers, kept, made_again, model_flops

__all__ = [
    "PRESETS",
    "S_SHARE",
    "Efficiency",
    "Hardware",
    "Measured",
    "RankMemory",
    "Rates",
    "Setting",
    "Shape",
    "all_reduce",
    "even_layers",
    "gpt_shape",
    "head_layers",
    "kept",
    "made_again",
    "megatron_layers",
    "mfu",
    "model_flops",
    "model_name",
    "parameters_of",
    "pass_costs",
    "placed_layers",
    "rank_memory",
    "rates_of",
    "read_hardware",
    "redistributed_layers",
    "rows_for",
    "shape_of",
    "step_end",
    "with_heads",
]
