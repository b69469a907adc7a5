"""States the id that stands for "no target"."""

IGNORE = -100  # a target of this number counts for nothing, as in torch
