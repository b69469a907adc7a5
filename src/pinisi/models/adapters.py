"""Puts low-rank adapters (LoRA, Hu et al., arXiv 2106.09685) on a stage's linear layers, through peft; the rest is frozen.

y = W x + scale · B A x, with A [r, in] and B [out, r]. Names are those of a peft folder without its prefix: the linear layer's own
with `.lora_A` or `.lora_B` behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from pinisi.base.errors import ConfigError
from pinisi.base.libraries import library

EXTRA = "lora"  # of pinisi, which brings peft
ENDS = ("embed_tokens", "lm_head")  # what is split by rows, and has no adapters


@dataclass(frozen=True)
class Adapters:
    """Says of which size adapters are, and on which linear layers, by the last part of their names.

    rank: r. alpha: the scale is alpha / r, or alpha / √r where rank_stabilised (arXiv 2312.03732). dropout: of what A reads, in
    training.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    dropout: float = 0.0
    rank_stabilised: bool = False

    @property
    def scale(self) -> float:
        """Returns what B A x is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)

    def to_json(self) -> dict[str, Any]:
        """Returns what `adapters_of` reads."""
        return {**asdict(self), "targets": list(self.targets)}


def adapters_of(value: dict[str, Any]) -> Adapters:
    """Returns what `to_json` gave."""
    return Adapters(**{**value, "targets": tuple(value["targets"])})


def linear_names(module: nn.Module) -> list[str]:
    """Returns the last parts of the names of a module's linear layers, in their order, each once."""
    found = (name.rpartition(".")[2] for name, part in module.named_modules() if type(part) is nn.Linear)
    return list(dict.fromkeys(found))


def check_targets(targets: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Returns the targets, each once; all that are known if there are none. Raises ConfigError for one that has no adapter."""
    there, wanted = list(known), list(dict.fromkeys(targets))
    for name in wanted:
        if name.rpartition(".")[2] in ENDS:
            raise ConfigError(
                f"lora.targets names {name}, whose rows are split over the ranks and which stays as it is: adapters stand on "
                f"linear layers of the decoder ({', '.join(there)})"
            )
        if name not in there:
            raise ConfigError(
                f"lora.targets names {name!r}, which is no linear layer of this model's decoder layers: {', '.join(there)}"
            )
    return tuple(wanted or there)


def peft() -> Any:
    """Returns the library. Raises DataError that says what to install."""
    return library("peft", EXTRA)


def insert_adapters(stage: nn.Module, layers: nn.Module, adapters: Adapters) -> None:
    """Puts adapters without values on the linear layers of `layers`, a part of `stage`, of which nothing else is trained."""
    if any(True for _ in layers.parameters()):
        peft().inject_adapter_in_model(peft_config(adapters), layers, low_cpu_mem_usage=True)
    for name, parameter in stage.named_parameters():
        parameter.requires_grad_(is_adapter(name))


def peft_config(adapters: Adapters, base: str | None = None) -> Any:
    """Returns peft's own settings of such adapters. base: the folder or hub id of the model that they stand on."""
    return peft().LoraConfig(
        r=adapters.rank,
        lora_alpha=adapters.alpha,
        lora_dropout=adapters.dropout,
        use_rslora=adapters.rank_stabilised,
        target_modules=sorted(adapters.targets),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )


def is_adapter(name: str) -> bool:
    """Tells whether a parameter of that name is an adapter's."""
    return ".lora_A." in name or ".lora_B." in name


def plain_name(name: str) -> str:
    """Returns a parameter's name as files have it: without what peft's modules put into it."""
    return name.replace(".base_layer.", ".").replace(".default.", ".")


def adapter_names(name: str) -> tuple[str, str]:
    """Returns the names of A and B of a linear layer whose weight has this name."""
    layer = name.removesuffix(".weight")
    return f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"
