"""What a model costs on a machine, and which way of running it is best. Nothing here starts a process.

Reading order: hardware, shape, work, costs, split, memory, paper, presets, planner.
"""

from pinisi.plan.costs import Rates, lower_bound, mfu, pass_costs, step_end
from pinisi.plan.hardware import PRESETS, Efficiency, Hardware, read_hardware
from pinisi.plan.memory import RankMemory, parameters_of, rank_memory
from pinisi.plan.shape import Shape, gpt_shape, shape_of
from pinisi.plan.split import even_layers, megatron_layers, redistributed_layers, rows_for
from pinisi.plan.work import Setting, head_layers, kept, model_flops

__all__ = [
    "PRESETS",
    "Efficiency",
    "Hardware",
    "RankMemory",
    "Rates",
    "Setting",
    "Shape",
    "even_layers",
    "gpt_shape",
    "head_layers",
    "kept",
    "lower_bound",
    "megatron_layers",
    "mfu",
    "model_flops",
    "parameters_of",
    "pass_costs",
    "rank_memory",
    "read_hardware",
    "redistributed_layers",
    "rows_for",
    "shape_of",
    "step_end",
]
