"""Treats schedules as data: what each rank runs and in which order. Pure Python; imports no torch.

Reading order: table, needs, costs, graph, blocks, periodic, replay, fill, extend, waves, weave, classic, zero_bubble,
interleaved, interlaced, build, program, encoding, lower, machine, verify, simulate, timeline; then the folder search.
"""

from pinisi.schedule.builders.build import build, layout_of, names
from pinisi.schedule.builders.forward import forward_only
from pinisi.schedule.costs import Costs
from pinisi.schedule.encoding import edges_of
from pinisi.schedule.execution.lower import lower
from pinisi.schedule.execution.simulate import simulate
from pinisi.schedule.execution.verify import verify, verify_once
from pinisi.schedule.needs import Channel, Need, needs
from pinisi.schedule.program import Edge, Instruction, Message, MessageChannel, Op, Program
from pinisi.schedule.table import Kind, Layout, Pass, Schedule
from pinisi.schedule.timeline import Span, Timeline

__all__ = [
    "Channel",
    "Costs",
    "Edge",
    "Instruction",
    "Kind",
    "Layout",
    "Message",
    "MessageChannel",
    "Need",
    "Op",
    "Pass",
    "Program",
    "Schedule",
    "Span",
    "Timeline",
    "build",
    "edges_of",
    "forward_only",
    "layout_of",
    "lower",
    "names",
    "needs",
    "simulate",
    "verify",
    "verify_once",
]
