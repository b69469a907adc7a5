"""Seconds of each pass and message from a hardware's description: what `simulate` needs where nothing was measured.

A pass = products / (peak · share) + attention / (peak · share) + traffic / (bandwidth · share) + launches. B has a
forward's products and twice its attention, W a forward's products; of the backward's traffic, twice a forward's, W has
a quarter. A message = latency + bytes / (bandwidth · share).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pinisi.plan.hardware import Hardware
from pinisi.plan.shape import Shape
from pinisi.plan.work import (
    HEAD_KERNELS,
    LAYER_KERNELS,
    LOGIT_BACKWARD,
    LOGIT_FORWARD,
    Setting,
    attention_products,
    head_products,
    layer_products,
    layer_traffic,
    model_flops,
)
from pinisi.schedule import Costs, Layout

S_SHARE = {1: 2 / 3, 2: 1 / 3}  # of S + T's products, by barriers: arXiv 2411.05288, section 4


class Rates:
    """Seconds of the parts of a model on one hardware in one setting."""

    def __init__(self, shape: Shape, setting: Setting, hardware: Hardware) -> None:
        self.shape, self.setting, self.hardware = shape, setting, hardware
        self._matrix = hardware.rate(setting.dtype) * hardware.efficiency.matrix
        self._attention = hardware.rate(setting.dtype) * hardware.efficiency.attention
        self._memory = hardware.bandwidth * hardware.efficiency.memory
        self._kernel = hardware.efficiency.kernel

    def layer(self) -> tuple[float, float, float]:
        """(F, B, W) of one layer; with recomputation B has the forward again."""
        products = layer_products(self.shape, self.setting.tokens) / self._matrix
        attention = attention_products(self.shape, self.setting) / self._attention
        traffic = layer_traffic(self.shape, self.setting) / self._memory
        launches = LAYER_KERNELS * self._kernel
        forward = products + attention + traffic + launches
        backward = products + 2 * attention + 1.5 * traffic + launches
        weight = products + 0.5 * traffic + launches
        return forward, backward + (forward if self.setting.recompute else 0.0), weight

    def undivided_head(self) -> tuple[float, float, float]:
        """(F, B, W) of the whole head with its loss on one rank."""
        products = head_products(self.shape, self.setting.tokens) / self._matrix
        logits = self.setting.tokens * self.shape.vocabulary
        return (
            products + self._traffic(logits * LOGIT_FORWARD, 12),
            products + self._traffic(logits * LOGIT_BACKWARD, 4),
            products + self._traffic(2 * self.shape.vocabulary_parameters * self.setting.gradient, 2),
        )

    def head(self, rows: int, barriers: int) -> tuple[float, float]:
        """(S, T) of a shard: 6·T·h·V_r FLOPs and the softmax's traffic in all."""
        products = 3 * head_products(self.shape, self.setting.tokens, rows) / self._matrix
        logits = self.setting.tokens * rows
        hidden = 4.0 * self.setting.tokens * self.shape.hidden  # bytes of one fp32 [T, h]
        share = S_SHARE[barriers]
        s = share * products + self._traffic(logits * LOGIT_FORWARD + 4 * hidden, HEAD_KERNELS)
        t = (1 - share) * products + self._traffic(logits * LOGIT_BACKWARD + 4 * hidden, HEAD_KERNELS)
        return s, t

    def embedding(self, rows: int, *, dense: bool) -> tuple[float, float]:
        """(E, G): a lookup of [T, h] and a sum into its place; dense: the gradient of all rows is made and added."""
        moved = 4.0 * self.setting.tokens * self.shape.hidden * self.setting.element
        made = (
            rows * self.shape.hidden * (2 * self.setting.element + 2 * self.setting.gradient) if dense else 0
        )
        return self._traffic(moved, 8), self._traffic(moved + made, 8)

    def message(self, byte_count: float, *, within: bool, hops: float = 1.0) -> float:
        """One message within a node or between nodes; hops: how often its latency counts."""
        hardware = self.hardware
        rate = (hardware.link if within else hardware.network) * hardware.efficiency.link
        latency = hardware.latency if within else hardware.network_latency
        return hops * latency + byte_count / rate

    def _traffic(self, byte_count: float, kernels: int) -> float:
        return byte_count / self._memory + kernels * self._kernel


def pass_costs(
    shape: Shape,
    setting: Setting,
    hardware: Hardware,
    layout: Layout,
    layers: Sequence[int],
    rows: Sequence[int],
) -> Costs:
    """Costs in seconds. layers[stage] and rows[rank]: how many each holds."""
    rates = Rates(shape, setting, hardware)
    passes: list[list[list[float]]] = [
        [[part * layers[stage] for stage in stages] for stages in layout.stages] for part in rates.layer()
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
        **_messages(rates, layout),
    )


def _times(factor: float, pair: tuple[float, float]) -> tuple[float, float]:
    return factor * pair[0], factor * pair[1]


def _messages(rates: Rates, layout: Layout) -> dict[str, float | list[float]]:
    setting, p = rates.setting, layout.ranks
    if p == 1:
        return {}
    hidden = float(setting.tokens * rates.shape.hidden)
    one = p <= rates.hardware.per_node
    hops = math.ceil(math.log2(p))
    per_node = rates.hardware.per_node
    p2p = [
        rates.message(hidden * setting.element, within=r // per_node == min(r + 1, p - 1) // per_node)
        for r in range(p)
    ]
    found: dict[str, float | list[float]] = {"p2p": p2p}
    if layout.barriers:
        found["c0"] = rates.message(hidden * setting.element, within=one, hops=hops)
        found["c1"] = rates.message(12.0 * setting.tokens * p, within=one, hops=hops)
        found["u" if layout.barriers == 1 else "c2"] = rates.message(4 * hidden, within=one, hops=hops)
        found["embedding"] = rates.message(hidden * setting.element / p, within=one)
    return found


def step_end(shape: Shape, setting: Setting, hardware: Hardware, parameters: float) -> float:
    """Seconds of the optimizer on a rank with so many parameters: its state is read and written once, gradients too."""
    moved = parameters * 2 * setting.parameter
    return moved / (hardware.bandwidth * hardware.efficiency.memory)


def mfu(shape: Shape, setting: Setting, microbatches: int, ranks: int, seconds: float, peak: float) -> float:
    """Model FLOPs utilisation: the model's FLOPs of a step / (what `ranks` devices of `peak` FLOP/s do in its time)."""
    return model_flops(shape, setting) * microbatches / (ranks * peak * seconds)


def lower_bound(costs: Costs, layout: Layout, microbatches: int) -> float:
    """Seconds below which no order of these passes on these ranks can be.

    A rank has its whole work to do. And its F, B and S (with 2 barriers T too) lie between the F of all stages before its
    first one, which the first microbatch goes through, and the B of those stages, which the last one does.
    """
    seconds = costs.table(layout)
    inside = ("F", "B", *{1: ("S",), 2: ("S", "T")}.get(layout.barriers, ()))
    least = 0.0
    for rank, work in enumerate(costs.work(layout)):
        stages = layout.stages[rank]
        mine = sum(
            second
            for (kind, part), second in seconds.items()
            if kind in inside and (part in stages if kind in ("F", "B") else part == rank)
        )
        around = sum(s for (kind, part), s in seconds.items() if kind in ("F", "B") and part < min(stages))
        least = max(least, microbatches * work, microbatches * mine + around)
    return least
