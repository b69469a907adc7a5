"""Gives the seconds of a model's parts: counted from a hardware's description, or as they were measured on it.

Counted, a pass = products / (peak · share) + attention / (peak · share) + traffic / (bandwidth · share) + launches. B has a
forward's products and twice its attention, W a forward's products; of the backward's traffic, twice a forward's, W has
a quarter. A message = latency + bytes / (bandwidth · share).
"""

from __future__ import annotations

from pinisi.costs.hardware import Hardware
from pinisi.costs.measured import Measured
from pinisi.costs.shape import Shape
from pinisi.costs.work import (
    HEAD_KERNELS,
    LAYER_KERNELS,
    LOGIT_AGAIN,
    LOGIT_BACKWARD,
    LOGIT_FORWARD,
    Setting,
    attention_products,
    head_products,
    layer_products,
    layer_traffic,
    made_again,
)

S_SHARE = {1: 2 / 3, 2: 1 / 3}  # of S + T's products, by barriers: arXiv 2411.05288, section 4


class Rates:
    """Seconds of the parts of a model on one hardware in one setting, counted. `rates_of` takes measured ones where they are."""

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

    def stage(self) -> tuple[float, float, float]:
        """(F, B, W) of a stage beside its layers."""
        return 0.0, 0.0, 0.0

    def undivided_head(self) -> tuple[float, float, float]:
        """(F, B, W) of the whole head with its loss on one rank."""
        products = head_products(self.shape, self.setting.tokens) / self._matrix
        logits = self.setting.tokens * self.shape.outputs * self.shape.vocabulary
        forward = products + self._traffic(logits * LOGIT_FORWARD, 12)
        backward = products + self._traffic(logits * LOGIT_BACKWARD, 4)
        weight = products + self._traffic(2 * self.shape.vocabulary_parameters * self.setting.gradient, 2)
        return (forward, backward, weight) if self.setting.late_head else (forward, backward + weight, 0.0)

    def head(self, rows: int, barriers: int) -> tuple[float, float]:
        """(S, T) of a shard: 6·T·h·V_r FLOPs and the softmax's traffic in all, and in T once more what S did not keep."""
        products = 3 * head_products(self.shape, self.setting.tokens, rows) / self._matrix
        tokens = self.setting.tokens * self.shape.outputs
        logits, hidden = tokens * rows, 4.0 * tokens * self.shape.hidden  # bytes of one fp32 X
        share = S_SHARE[barriers]
        s = share * products + self._traffic(logits * LOGIT_FORWARD + 4 * hidden, HEAD_KERNELS)
        t = (1 - share) * products + self._traffic(logits * LOGIT_BACKWARD + 4 * hidden, HEAD_KERNELS)
        again = made_again(self.shape, self.setting, rows, self.hardware.device)
        t += again * (products / 3 + self._traffic(logits * LOGIT_AGAIN, 0))
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

    def update(self, parameters: float) -> float:
        """The optimizer on a rank with so many parameters: weights, gradients and state are read and written once."""
        return self._traffic(parameters * 2 * self.setting.parameter, 0)

    def _traffic(self, byte_count: float, kernels: int) -> float:
        return byte_count / self._memory + kernels * self._kernel


class MeasuredRates(Rates):
    """Seconds that were measured on the device at hand, with the model's own layers."""

    def __init__(self, shape: Shape, setting: Setting, hardware: Hardware, measured: Measured) -> None:
        super().__init__(shape, setting, hardware)
        measured.check(shape, setting)
        self.measured = measured

    def layer(self) -> tuple[float, float, float]:
        forward, backward, weight = (each for _, each in self._stages())
        return forward, backward + (forward if self.setting.recompute else 0.0), weight

    def stage(self) -> tuple[float, float, float]:
        forward, backward, weight = (fixed for fixed, _ in self._stages())
        return forward, backward, weight

    def undivided_head(self) -> tuple[float, float, float]:
        forward, backward, weight = (self.shape.outputs * each for each in self.measured.whole_head)
        return forward, backward, weight

    def head(self, rows: int, barriers: int) -> tuple[float, float]:
        s, t = self.measured.passes(barriers)
        n = self.shape.outputs  # as many times the tokens that were measured
        products = 1 if barriers == 1 else 2  # of a measured T: one more for what S did not keep
        again = 1 + made_again(self.shape, self.setting, rows, self.hardware.device) / products
        return n * (s[0] + rows * s[1]), n * (t[0] + rows * t[1] * again)

    def embedding(self, rows: int, *, dense: bool) -> tuple[float, float]:
        if dense:
            return self.measured.whole_embedding[0], self.measured.whole_embedding[1]
        share = rows / self.shape.vocabulary
        return self.measured.lookup * share, self.measured.accumulate * share

    def update(self, parameters: float) -> float:
        return parameters * self.measured.update

    def _stages(self) -> tuple[tuple[float, ...], ...]:
        return self.measured.forward, self.measured.backward, self.measured.weight


def rates_of(shape: Shape, setting: Setting, hardware: Hardware) -> Rates:
    """Measured ones where the hardware has them, else counted ones. Raises ConfigError if what was measured is another model
    or microbatch."""
    if hardware.measured is None:
        return Rates(shape, setting, hardware)
    return MeasuredRates(shape, setting, hardware, hardware.measured)
