"""Holds the seconds of a model's passes as they were measured on a device, in place of those from a hardware's description."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pinisi.base.errors import ConfigError
from pinisi.costs.shape import Shape
from pinisi.costs.work import Setting


@dataclass(frozen=True)
class Measured:
    """Seconds of one microbatch on one device, all local devices being busy.

    model, sequence, microbatch, dtype: what was measured. forward, backward, weight: (of a stage beside its layers, of a
    layer). s1, t1, s2, t2: S and T with 1 and with 2 barriers, (of a shard, of a row). whole_head: (F, B, W) of the
    undivided head; whole_embedding: (F, B). lookup, accumulate: E and G of all of a microbatch's tokens. update: of the
    optimizer per parameter, the gradient's norm and its clearing included. ring: bytes per second that each device sends in
    an all-reduce with its neighbours.
    """

    model: str
    sequence: int
    microbatch: int
    dtype: str
    forward: tuple[float, ...]
    backward: tuple[float, ...]
    weight: tuple[float, ...]
    s1: tuple[float, ...]
    t1: tuple[float, ...]
    s2: tuple[float, ...]
    t2: tuple[float, ...]
    whole_head: tuple[float, ...]
    whole_embedding: tuple[float, ...]
    lookup: float
    accumulate: float
    update: float
    ring: float

    def passes(self, barriers: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """S and T with so many barriers."""
        return (self.s1, self.t1) if barriers == 1 else (self.s2, self.t2)

    def check(self, shape: Shape, setting: Setting) -> None:
        """Raises ConfigError if they are of another model, microbatch or dtype."""
        asked = (model_name(shape), setting.sequence, setting.microbatch, setting.dtype)
        had = (self.model, self.sequence, self.microbatch, self.dtype)
        words = ("model", "sequence", "microbatch", "dtype")
        wrong = [f"{w} {h}, not {a}" for w, h, a in zip(words, had, asked, strict=True) if h != a]
        if wrong:
            raise ConfigError(
                f"this hardware was measured with {', '.join(wrong)}: measure again with --hardware measure"
            )


def model_name(shape: Shape) -> str:
    """Sizes that a reader knows, and a fingerprint of the rest."""
    rest = hashlib.sha256(repr(shape).encode()).hexdigest()[:8]
    return f"{shape.layers}x{shape.hidden}-v{shape.vocabulary}-{rest}"
