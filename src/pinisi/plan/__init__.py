"""Plans what a model costs on a machine, and which way of running it is best. Nothing here starts a process.

Reading order: shape, work, hardware, measured, rates, costs, split, memory, paper, presets, candidates, planner, command.
"""

from pinisi.plan.costs import all_reduce, mfu, pass_costs, step_end
from pinisi.plan.hardware import PRESETS, Efficiency, Hardware, read_hardware
from pinisi.plan.measured import Measured, model_name
from pinisi.plan.memory import RankMemory, parameters_of, rank_memory
from pinisi.plan.rates import S_SHARE, Rates, rates_of
from pinisi.plan.shape import Shape, gpt_shape, shape_of
from pinisi.plan.split import (
    even_layers,
    megatron_layers,
    placed_layers,
    redistributed_layers,
    rows_for,
    with_heads,
)
from pinisi.plan.work import Setting, head_layers, kept, made_again, model_flops

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
