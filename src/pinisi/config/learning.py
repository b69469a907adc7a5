"""Says how a run learns: the optimizer, adapters, what is added to the loss, phases."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pinisi.base.rounding import LARGEST_BETA
from pinisi.base.settings import at_least
from pinisi.base.typed_toml import Fault


@dataclass(frozen=True)
class OptimizerSection:
    """[optimizer] sets AdamW (Loshchilov and Hutter, arXiv 1711.05101) and its learning rate over the steps."""

    RENAMED = (
        ("epsilon", "eps", "with the same meaning"),
        ("clip", "max_grad_norm", "with the same meaning"),
        ("minimum", "min_lr_ratio", "with the same meaning"),
    )

    learning_rate: float  # the peak, after the warmup
    # decays of AdamW's moments; as in GPT-3 (arXiv 2005.14165, appendix B)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8  # added to the root of the second moment; arXiv 1412.6980, algorithm 1
    weight_decay: float = 0.1  # of matrices, per step and learning rate; arXiv 2005.14165, appendix B
    max_grad_norm: float = 1.0  # largest norm of the whole gradient; 0: none
    # share master weights and moments out over the pipelines of data_parallel (ZeRO-1, arXiv 1910.02054)
    sharded: bool = False
    # dtype of the moments: that of the master weights, or bfloat16, half as many bytes for steps that are a few per cent off
    moments: Literal["master", "bfloat16"] = "master"
    # the rate after the warmup; wsd: stable, then decay (arXiv 2404.06395)
    schedule: Literal["constant", "cosine", "wsd"] = "cosine"
    warmup: int = 0  # steps in which the rate rises from 0 to the peak
    decay: int | None = None  # how many last steps decay under wsd; a tenth of all if left out
    min_lr_ratio: float = 0.1  # learning rate at the end / peak
    # what the schedule spans: each of [[phases]] anew, or the whole run, which keeps the rate continuous over their bounds
    schedule_over: Literal["phase", "run"] = "phase"
    average: float = 0.0  # decay of the weights' moving average, for `pinisi export --average ema`; 0: none

    def validate(self) -> Iterator[Fault]:
        yield from at_least(
            self, learning_rate=0, eps=0, weight_decay=0, max_grad_norm=0, warmup=0, decay=0, min_lr_ratio=0
        )
        if not all(0 <= beta < 1 for beta in self.betas):
            yield Fault("betas", "two numbers from 0 to below 1")
        elif self.moments == "bfloat16" and max(self.betas) > LARGEST_BETA:
            yield Fault(
                "betas",
                f"at most {LARGEST_BETA} with optimizer.moments = 'bfloat16', which loses slower changes",
            )
        if not 0 <= self.average < 1:
            yield Fault("average", "a number from 0 to below 1")
        if self.min_lr_ratio > 1:
            yield Fault("min_lr_ratio", "at most 1, being a ratio to the peak")


@dataclass(frozen=True)
class LoraSection:
    """[lora] trains low-rank adapters (arXiv 2106.09685) on the decoder's linear layers, by peft, and leaves the model as it is."""

    rank: int = 0  # of each adapter; 0: none, and the whole model is trained
    alpha: float | None = None  # what an adapter adds counts alpha / rank; twice the rank if left out
    dropout: float = 0.0  # share of an adapter's inputs that training leaves out
    targets: list[str] = field(default_factory=list)  # such as q_proj; all linear layers if left out
    rank_stabilised: bool = False  # alpha / the rank's root instead (arXiv 2312.03732)

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, rank=0)
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            yield Fault("alpha", "a number above 0")
        if not 0 <= self.dropout < 1:
            yield Fault("dropout", "a number from 0 to below 1")
        if not self.rank and (self.targets or self.alpha is not None or self.dropout):
            yield Fault("rank", "a number of at least 1 where [lora] has other keys")


@dataclass(frozen=True)
class LossSection:
    """[loss] adds to cross-entropy. Metrics show plain cross-entropy whatever is added."""

    label_smoothing: float = 0.0  # share of the target that goes to all tokens alike (arXiv 1512.00567)
    z_loss: float = 0.0  # times the square of the log-sum-exp of the logits; 1e-4 in arXiv 2204.02311
    extra_heads: int = 0  # how many heads predict the tokens after the next one (arXiv 2404.19737)
    # what the mean of their losses is multiplied by (arXiv 2412.19437, section 4.2); their number makes it the plain sum
    extra_weight: float = 0.3

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, z_loss=0, extra_heads=0, extra_weight=0)
        if not 0 <= self.label_smoothing < 1:
            yield Fault("label_smoothing", "a number from 0 to below 1")


@dataclass(frozen=True)
class PhaseSection:
    """[[phases]] is a stretch of steps; what it leaves out is as [data], [pipeline] and [optimizer] say."""

    steps: int  # how many steps the phase has
    name: str = ""  # said when it begins
    # what learns: all, or nothing but the rows that new_rows.json beside model.source names, of `pinisi vocabulary extend`, or the
    # layers that new_layers.json there names, of `pinisi expand`
    train: Literal["all", "new_rows", "new_layers"] = "all"
    mixture: dict[str, float] | None = None  # as in [data]
    temperature: float | None = None  # as in [data]
    sequence: int | None = None  # as in [data]
    microbatch_size: int | None = None  # as in [data]
    microbatches: int | None = None  # as in [pipeline]
    learning_rate: float | None = None  # as in [optimizer]
    # of the learning rate, over this phase's steps
    schedule: Literal["constant", "cosine", "wsd"] | None = None
    warmup: int | None = None  # as in [optimizer]
    decay: int | None = None  # as in [optimizer]
    min_lr_ratio: float | None = None  # as in [optimizer]

    def validate(self) -> Iterator[Fault]:
        yield from at_least(self, steps=1, sequence=1, microbatch_size=1, microbatches=1, learning_rate=0)
        yield from at_least(self, warmup=0, decay=0, min_lr_ratio=0)
        if self.mixture is not None and self.temperature is not None:
            yield Fault("temperature", "to be left out where a mixture is given")
