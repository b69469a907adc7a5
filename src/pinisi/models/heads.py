"""Adds extra heads: multi-token prediction with heads beside one another (Gloeckle et al., arXiv 2404.19737, section 2).

The model's layers but the last are the trunk. The last layer makes of the trunk's output what predicts the next token;
extra head k = 1 ... D, a decoder layer of the same kind, makes of it what predicts the token k places further on. All
share the final norm and the LM head. Extra heads serve training: the model that is exported is the plain decoder.
"""

from __future__ import annotations

from dataclasses import replace

from pinisi.base.errors import ModelError
from pinisi.models.folder import EXTRA_HEADS
from pinisi.models.spec import ModelSpec

PREFIX = "extra_heads."  # of their parameters' names: extra_heads.0.self_attn.q_proj.weight
FILE = EXTRA_HEADS


def with_extra_heads(spec: ModelSpec, heads: int) -> ModelSpec:
    """The same model with `heads` extra heads. Raises ModelError for less than none."""
    if heads < 0:
        raise ModelError(f"the number of extra heads is {heads}; it must be at least 0.")
    return replace(spec, extra_heads=heads)


def is_extra_head(name: str) -> bool:
    """Whether this is the name of an extra head's parameter."""
    return name.startswith(PREFIX)


def twin(spec: ModelSpec, name: str) -> str:
    """The last layer's parameter that has the place and the shape of this one of an extra head. Raises ModelError if the
    model has no such head."""
    number, _, rest = name.removeprefix(PREFIX).partition(".")
    if not (is_extra_head(name) and number.isdecimal() and int(number) < spec.extra_heads):
        raise ModelError(f"{name} is no parameter of a model with {spec.extra_heads} extra heads.")
    return f"{spec.architecture.layers_name}.{spec.layers - 1}.{rest}"
