"""Lists the attention backends, a row each, with what each can do, and chooses one for a microbatch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models.attention.blocks import attend_in_blocks, document_blocks
from pinisi.models.attention.bounds import DocumentBounds
from pinisi.models.attention.flex import attend_flexibly, document_block_mask
from pinisi.models.attention.varlen import attend_variable, variable_lengths, varlen_fault, varlen_missing

AUTO, DENSE = "auto", "dense"
HALF = (torch.float16, torch.bfloat16)

# (query, key, value, prepared, scale, soft cap) -> [b,s,H,d]
Attend = Callable[[Tensor, Tensor, Tensor, Any, float, float | None], Tensor]
Prepare = Callable[[DocumentBounds, int | None, torch.device], Any]

# What a block of a document costs on a CPU beside its products, in floating-point operations: about 60 µs for a forward and a
# backward of torch's kernel and what surrounds it, at 30 GFLOP/s of a core, over the three times a forward that is counted here.
BLOCK_COST = 6e5


@dataclass(frozen=True)
class AttentionFeatures:
    """Says what a model's attention needs.

    narrow_softmax: softmaxes are in float32 whatever the model's dtype, as transformers' eager form has them.
    """

    heads: int
    head_dim: int
    window: bool = False
    soft_cap: bool = False
    sinks: bool = False
    dropout: bool = False
    narrow_softmax: bool = False


@dataclass(frozen=True)
class AttentionBackend:
    """Holds one row of the table.

    prepare: makes of the bounds, once for all layers with one window, what `attend` takes. devices, dtypes: None for all.
    missing: what isn't installed, or None. fault: what a trial on the device finds wrong, or None; asked before `auto` takes it.
    """

    name: str
    attend: Attend | None = None
    prepare: Prepare | None = None
    devices: tuple[str, ...] | None = None
    dtypes: tuple[torch.dtype, ...] | None = None
    widest_head: int | None = None
    window: bool = True
    soft_cap: bool = True
    sinks: bool = False
    dropout: bool = False
    missing: Callable[[], str | None] = lambda: None
    fault: Callable[[torch.dtype, torch.device], str | None] = lambda dtype, device: None

    def lacks(self, needed: AttentionFeatures) -> str | None:
        """Returns what the model needs and this backend can't do, or None."""
        for name, words in _FEATURES.items():
            if getattr(needed, name) and not getattr(self, name):
                return words
        if self.widest_head is not None and needed.head_dim > self.widest_head:
            return f"heads wider than {self.widest_head} (head_dim is {needed.head_dim})"
        return None

    def unfit(self, dtype: torch.dtype, device: torch.device) -> str | None:
        """Returns why it doesn't run with this dtype on this device, or None."""
        if self.devices is not None and device.type not in self.devices:
            return f"it runs on {' and '.join(self.devices)}, not on {device.type}"
        if self.dtypes is not None and dtype not in self.dtypes:
            names = " and ".join(str(each).removeprefix("torch.") for each in self.dtypes)
            return f"it computes in {names}, not in {str(dtype).removeprefix('torch.')}"
        return self.missing()


_FEATURES = {
    "window": "sliding windows",
    "soft_cap": "soft-capped scores",
    "sinks": "attention sinks",
    "dropout": "attention_dropout",
}

BACKENDS: dict[str, AttentionBackend] = {
    row.name: row
    for row in (
        AttentionBackend(DENSE, sinks=True, dropout=True),
        AttentionBackend("blocks", attend_in_blocks, document_blocks),
        AttentionBackend("flex", attend_flexibly, document_block_mask, devices=("cuda",)),
        AttentionBackend(
            "varlen",
            attend_variable,
            variable_lengths,
            devices=("cuda",),
            dtypes=HALF,
            widest_head=256,
            soft_cap=False,
            missing=varlen_missing,
            fault=varlen_fault,
        ),
    )
}


def check_features(choice: str, needed: AttentionFeatures) -> None:
    """Raises ModelError where the named backend can't do what a model needs."""
    lacking = None if choice == AUTO else BACKENDS[choice].lacks(needed)
    if lacking is not None:
        able = [row.name for row in BACKENDS.values() if row.lacks(needed) is None]
        raise ModelError(
            f"model.attention is {choice!r}, which has no {lacking}: set it to 'auto' or {' or '.join(map(repr, able))}."
        )


def check_place(choice: str, dtype: torch.dtype, device: torch.device) -> None:
    """Raises ModelError where the named backend doesn't run with this dtype on this device."""
    reason = None if choice == AUTO else BACKENDS[choice].unfit(dtype, device)
    if reason is not None:
        raise ModelError(f"model.attention is {choice!r}, but {reason}: set it to 'auto' or 'dense'.")


def choose(
    choice: str,
    needed: AttentionFeatures,
    bounds: DocumentBounds | None,
    window: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> AttentionBackend:
    """Returns the backend of one microbatch and window.

    auto: dense where no row is packed, so that such runs stay what they were to the bit, and where nothing is gained; else
    blocks on a CPU and varlen on a GPU, as far as they do what the model needs. bounds: None where documents don't stand
    together.
    """
    if choice != AUTO:
        if bounds is None and choice != DENSE:
            raise ModelError(
                f"model.attention is {choice!r}, but a row has a document in two pieces apart: set it to 'dense'."
            )
        return BACKENDS[choice]
    dense = BACKENDS[DENSE]
    if bounds is None or not bounds.packed or (needed.narrow_softmax and dtype == torch.float64):
        return dense
    found = BACKENDS["blocks" if device.type == "cpu" else "varlen"]
    if found.lacks(needed) is not None or found.unfit(dtype, device) is not None:
        return dense
    if found.fault(dtype, device) is not None:
        return dense
    return found if device.type != "cpu" or _blocks_gain(bounds, window, needed) else dense


def _blocks_gain(bounds: DocumentBounds, window: int | None, needed: AttentionFeatures) -> bool:
    """Whether leaving out pairs saves more than blocks cost beside their products."""
    pairs = len(bounds.lengths) * bounds.sequence**2 - bounds.pairs(window)
    return 4.0 * needed.heads * needed.head_dim * pairs > BLOCK_COST * bounds.documents
