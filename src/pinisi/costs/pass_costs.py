"""Counts the costs of a schedule's passes and messages, of a step's end, and how fast a step can be at best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pinisi.costs.hardware import Hardware
from pinisi.costs.memory import parameters_of
from pinisi.costs.rates import Rates, rates_of
from pinisi.costs.shape import Shape
from pinisi.costs.split import with_heads
from pinisi.costs.work import Setting, model_flops
from pinisi.schedule import Costs, Layout

BUCKET = 32 * 2**20  # bytes of one message of a shared optimizer: `engine.sharded`, which plans don't import


def pass_costs(
    shape: Shape,
    setting: Setting,
    hardware: Hardware,
    layout: Layout,
    layers: Sequence[int],
    rows: Sequence[int],
    *,
    replicas: int = 1,
) -> Costs:
    """Costs in seconds. layers[stage] and rows[rank]: how many each holds. replicas: pipelines side by side, whose ranks
    are numbered one pipeline after the other; a message between nodes in any of them is one for all."""
    rates = rates_of(shape, setting, hardware)
    held = with_heads(layers, shape.extra_heads)
    passes: list[list[list[float]]] = [
        [[fixed + part * held[stage] for stage in stages] for stages in layout.stages]
        for fixed, part in zip(rates.stage(), rates.layer(), strict=True)
    ]
    if layout.barriers:
        slow = 1 + hardware.efficiency.contention
        passes = [[[slow * seconds for seconds in row] for row in part] for part in passes]
    else:
        slow = 1.0
        ends = (*rates.embedding(shape.vocabulary, dense=True), 0.0)
        first, last = layout.first_rank, layout.last_rank
        for part, begin, end in zip(passes, ends, rates.undivided_head(), strict=True):
            part[first][0] += begin
            part[last][layout.stages[last].index(layout.last_stage)] += end
    forward, backward, weight = passes
    shards = [_times(slow, rates.head(n, layout.barriers)) if layout.barriers else (0.0, 0.0) for n in rows]
    embedding = [rates.embedding(n, dense=setting.dense) if layout.barriers else (0.0, 0.0) for n in rows]
    return Costs(
        forward=forward,
        backward=backward,
        weight=weight,
        head_s=[s for s, _ in shards],
        head_t=[t for _, t in shards],
        embedding_forward=[e for e, _ in embedding],
        embedding_gradient=[g for _, g in embedding],
        **_messages(rates, layout, replicas),
    )


def _times(factor: float, pair: tuple[float, float]) -> tuple[float, float]:
    return factor * pair[0], factor * pair[1]


def _messages(rates: Rates, layout: Layout, replicas: int) -> dict[str, float | list[float]]:
    setting, p = rates.setting, layout.ranks
    if p == 1:
        return {}
    hidden = float(setting.tokens * rates.shape.hidden)
    x = hidden * rates.shape.outputs
    one = _one_node(rates.hardware, p, replicas, 0, p - 1)
    hops = math.ceil(math.log2(p))
    p2p = [
        rates.message(
            hidden * setting.element, within=_one_node(rates.hardware, p, replicas, r, min(r + 1, p - 1))
        )
        for r in range(p)
    ]
    found: dict[str, float | list[float]] = {"p2p": p2p}
    if layout.barriers:
        found["c0"] = rates.message(x * setting.element, within=one, hops=hops)
        found["c1"] = rates.message(12.0 * setting.tokens * rates.shape.outputs * p, within=one, hops=hops)
        found["u" if layout.barriers == 1 else "c2"] = rates.message(4 * x, within=one, hops=hops)
        found["embedding"] = rates.message(hidden * setting.element / p, within=one)
    return found


def _one_node(hardware: Hardware, pipeline: int, replicas: int, a: int, b: int) -> bool:
    """Whether ranks a and b of every pipeline share a node."""
    n = hardware.per_node
    return all((k * pipeline + a) // n == (k * pipeline + b) // n for k in range(replicas))


def all_reduce(hardware: Hardware, byte_count: float, members: int, tensors: int, *, within: bool) -> float:
    """Seconds in which `members` ranks sum so many bytes, tensor by tensor, in a ring: each sends 2 (members - 1) / members
    of them in 2 (members - 1) messages a tensor (Patarasuk and Yuan, 2009; NCCL's and gloo's ring)."""
    if members == 1:
        return 0.0
    link = hardware.measured.ring if hardware.measured else hardware.link
    rate = (link if within else hardware.network) * hardware.efficiency.link
    latency = hardware.latency if within else hardware.network_latency
    return 2 * (members - 1) * (tensors * latency + byte_count / members / rate)


def step_end(
    shape: Shape,
    setting: Setting,
    hardware: Hardware,
    layout: Layout,
    layers: Sequence[int],
    rows: Sequence[int],
    replicas: int = 1,
) -> float:
    """Seconds between a step's last pass and the next step: sums over copies of parameters, then the optimizer.

    Sums are counted as if they all came behind the passes, the most that they can take (`overlap` knows better)."""
    sums, update = sums_and_update(shape, setting, hardware, layout, layers, rows, replicas)
    return max(sums) + update


def sums_and_update(
    shape: Shape,
    setting: Setting,
    hardware: Hardware,
    layout: Layout,
    layers: Sequence[int],
    rows: Sequence[int],
    replicas: int = 1,
) -> tuple[list[float], float]:
    """Seconds of each rank's sums over copies of its parameters, and of the slowest rank's optimizer.

    Sums are those of a tied matrix that both ends hold
    (0 barriers), then those of all replicas, parameter by parameter, or in buckets where the optimizer is shared out
    (setting.owners), which sums to the owners and gathers the weights. The optimizer reads and writes its state, weights and
    gradients once; an owner its share of them.
    """
    p = layout.ranks
    held = parameters_of(shape, layout, layers, rows)
    within = p * replicas <= hardware.per_node
    work = with_heads(layers, shape.extra_heads)
    tensors = [
        sum(work[stage] for stage in stages) * shape.tensors + 2 for stages in layout.stages
    ]  # the matrices at the ends besides
    sums = [
        _over_owners(hardware, n, setting, within=within)
        if setting.owners > 1
        else all_reduce(hardware, n * setting.gradient, replicas, count, within=within)
        for n, count in zip(held, tensors, strict=True)
    ]
    if shape.tied and not layout.barriers and layout.first_rank != layout.last_rank:
        ends = layout.first_rank, layout.last_rank
        near = _one_node(hardware, p, replicas, *ends)
        tied = all_reduce(hardware, shape.vocabulary_parameters * setting.gradient, 2, 1, within=near)
        for rank in ends:
            sums[rank] += tied
    return sums, rates_of(shape, setting, hardware).update(max(held) / setting.owners)


def _over_owners(hardware: Hardware, parameters: float, setting: Setting, *, within: bool) -> float:
    """Seconds of a reduce-scatter of gradients and an all-gather of weights, in buckets: each is half of an all-reduce."""
    found = 0.0
    for nbytes in (parameters * setting.gradient, parameters * setting.element):
        found += all_reduce(hardware, nbytes, setting.owners, math.ceil(nbytes / BUCKET), within=within) / 2
    return found


def mfu(shape: Shape, setting: Setting, microbatches: int, ranks: int, seconds: float, peak: float) -> float:
    """Model FLOPs utilisation: the model's FLOPs of a step / (what `ranks` devices of `peak` FLOP/s do in its time).

    With replicas microbatches and ranks are those of all pipelines."""
    return model_flops(shape, setting) * microbatches / (ranks * peak * seconds)
