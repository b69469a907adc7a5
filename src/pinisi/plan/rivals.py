"""Predicts what a group would get without a pipeline: data parallelism with ZeRO-1, and fully sharded data parallelism."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pinisi.costs.memory import working_bytes
from pinisi.costs.rates import Rates, rates_of
from pinisi.costs.work import kept, shared_bytes
from pinisi.plan.candidates import Request


@dataclass(frozen=True)
class Rival:
    """One way without a pipeline, on all ranks. elsewhere: Pinisi doesn't run it. memory: bytes of the fullest rank."""

    name: str
    elsewhere: bool
    tokens_per_second: float
    memory: float
    recompute: bool
    fits: bool


def rivals(request: Request) -> list[Rival]:
    """Returns the ways whose step all ranks can share, the fastest first, each with recomputed layers only where it needs them.

    Both have the whole head on every rank, whose logits are made again in the backward, part by part, so that they take next to no
    memory (Liger's and torch's fused losses do so too). Messages run beside the passes as far as these take long enough.
    """
    ways = []
    counts = [m for m in request.microbatches if m % request.ranks == 0]
    for way in (_zero_1, _fully_sharded) if counts else ():
        for recompute in (False, True):
            found = [way(request, m // request.ranks, recompute) for m in counts]
            best = max(found, key=lambda each: (each.fits, each.tokens_per_second))
            if best.fits or recompute:
                ways.append(best)
                break
    return sorted(ways, key=lambda each: (not each.fits, -each.tokens_per_second))


def _zero_1(request: Request, microbatches: int, recompute: bool) -> Rival:
    """A replica a rank: gradients are summed to their owners once a step, weights gathered after the update (arXiv 1910.02054)."""
    shape, rates = request.shape, _rates(request, recompute)
    setting, n = rates.setting, request.ranks
    layers = shape.layers + shape.extra_heads
    work = microbatches * (layers * sum(rates.layer()) + _ends(rates))
    sums = _ring(request, shape.parameters * setting.gradient)
    gather = _ring(request, shape.parameters * setting.element)
    last = layers * (rates.layer()[1] + rates.layer()[2])  # sums run beside the last microbatch's backward
    step = work + max(0.0, sums - last) + gather + rates.update(shape.parameters / n)
    held = shape.parameters * (setting.element + setting.gradient + setting.state / n)
    return _rival(request, "data parallel with ZeRO-1", False, microbatches, step, held, rates)


def _fully_sharded(request: Request, microbatches: int, recompute: bool) -> Rival:
    """FSDP (arXiv 2304.11277): a layer's weights are gathered for its forward and again for its backward, its gradients summed to
    their owners, all while the neighbours compute."""
    shape, rates = request.shape, _rates(request, recompute)
    setting, n = rates.setting, request.ranks
    layer = shape.layer_parameters
    gather, sums = _ring(request, layer * setting.element), _ring(request, layer * setting.gradient)
    forward, backward, weight = rates.layer()
    layers = shape.layers + shape.extra_heads
    body = layers * (max(forward, gather) + max(backward + weight, gather + sums))
    ends = (1 if shape.tied else 2) * shape.vocabulary_parameters
    moved = _ring(request, ends * setting.element) * 2 + _ring(request, ends * setting.gradient)
    step = microbatches * (body + max(_ends(rates), moved)) + rates.update(shape.parameters / n)
    held = shape.parameters / n * setting.parameter
    held += 2 * layer * (setting.element + setting.gradient) + ends * (setting.element + setting.gradient)
    return _rival(request, "FSDP", True, microbatches, step, held, rates)


def _rival(
    request: Request, name: str, elsewhere: bool, microbatches: int, step: float, held: float, rates: Rates
) -> Rival:
    shape, setting = request.shape, rates.setting
    layers = sum(sum(kept(shape, setting, layer).values()) for layer in range(shape.layers))
    layers += shape.extra_heads * sum(kept(shape, setting, shape.layers - 1).values())
    memory = held + layers + shared_bytes(shape, setting) + working_bytes(shape, setting)
    memory += request.hardware.efficiency.workspace
    tokens = setting.tokens * microbatches * request.ranks
    return Rival(name, elsewhere, tokens / step, memory, setting.recompute, memory <= request.room)


def _rates(request: Request, recompute: bool) -> Rates:
    recompute = recompute or request.setting.recompute
    setting = dataclasses.replace(request.setting, recompute=recompute, dense=True, late_head=False)
    return rates_of(request.shape, setting, request.hardware)


def _ends(rates: Rates) -> float:
    """Seconds of a microbatch's embedding and whole head, whose logits are made twice."""
    forward, backward, weight = rates.undivided_head()
    return sum(rates.embedding(rates.shape.vocabulary, dense=True)) + 2 * forward + backward + weight


def _ring(request: Request, byte_count: float) -> float:
    """Seconds in which all ranks gather so many bytes, or sum them to their owners: each sends (n - 1) / n of them to the next.

    Between nodes all devices of a node share the load: as many rings run, each over another device's network link.
    """
    hardware, n = request.hardware, request.ranks
    if n == 1:
        return 0.0
    near = n <= hardware.per_node
    link = hardware.link if near else min(hardware.link, hardware.network * hardware.per_node)
    hop = hardware.latency if near else hardware.network_latency
    return (n - 1) * (hop + byte_count / n / (link * hardware.efficiency.link))
