"""Says what to do about a loss that isn't finite: it may be what was loaded, or what was learned."""

from __future__ import annotations

from pinisi.engine.engine import Engine
from pinisi.parallel.agree import gather_json


def not_finite_advice(engine: Engine, source: str | None) -> str:
    """Returns the end of a message; a collective call."""
    names = [name for name in gather_json(engine.optimizer.first_not_finite()) if name]
    if names:
        where = source or "the checkpoint"
        return f". {names[0]} holds a NaN or an infinity already: mend {where}, or start from another one"
    return ". Resume from the last checkpoint with a lower optimizer.learning_rate, or a smaller optimizer.max_grad_norm"
