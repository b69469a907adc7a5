"""Writes a way of sharing out layers as Megatron-LM takes it."""

from __future__ import annotations

from pinisi.plan.candidates import Candidate


def megatron_layout(c: Candidate, extra_heads: int = 0) -> str | None:
    """Returns the value of --pipeline-model-parallel-layout: E embedding, t layer, m extra head, L loss, | between stages.

    Megatron-LM lists the stages in the model's order, and gives stage s to rank s modulo the ranks. None for a way that it has not:
    vocabulary passes, and stages that go back and forth over the ranks. Source: Megatron Core's guide, "Custom Pipeline Model
    Parallel Layout".
    """
    in_turn = all(
        stages == tuple(range(rank, c.layout.last_stage + 1, c.ranks))
        for rank, stages in enumerate(c.layout.stages)
    )
    if c.barriers or not in_turn:
        return None
    stages = [_repeated("t", count) for count in c.layers]
    stages[0] = "E" + stages[0]
    stages[-1] += _repeated("m", extra_heads) + "L"
    return "|".join(stages)


def _repeated(symbol: str, count: int) -> str:
    return symbol * count if count < 2 else f"{symbol}*{count}"
