"""Reads what a loss takes of a microbatch besides its log-probabilities: token weights, and tensors by name.

All of it is on every rank from the data loader, so that no message carries it. Values per token follow their targets: they
are flattened to [heads·T] as targets are, and lose the ignored ones with them. b sequences, s positions, T = b·s.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.extra_heads import head_targets
from pinisi.losses import Loss, data_names


def check(batch: Sequence[Microbatch], loss: Loss) -> None:
    """Raises DataError, on every rank alike, if the batch lacks what the loss reads or holds it in a wrong shape."""
    check_weights(batch)
    for i, microbatch in enumerate(batch):
        for name in data_names(loss):
            if name not in microbatch.loss_data:
                found = ", ".join(sorted(microbatch.loss_data)) or "nothing"
                raise DataError(
                    f"the loss reads {name!r}, but loss_data of microbatch {i} holds {found}: "
                    f"add loss_data[{name!r}] to every microbatch, or use another loss"
                )
            _check_shape(i, f"loss_data[{name!r}]", microbatch.loss_data[name], microbatch, vectors=True)


def check_weights(batch: Sequence[Microbatch]) -> None:
    """Raises DataError for weights of a wrong shape or such as aren't finite."""
    for i, microbatch in enumerate(batch):
        if microbatch.weights is None:
            continue
        _check_shape(i, "weights", microbatch.weights, microbatch, vectors=False)
        kept = microbatch.weights[microbatch.targets != IGNORE]
        if not bool(torch.isfinite(kept).all()):
            raise DataError(f"microbatch {i}: a target's weight is not finite; give finite weights")


def _check_shape(i: int, name: str, tensor: torch.Tensor, microbatch: Microbatch, *, vectors: bool) -> None:
    shape = microbatch.tokens.shape
    if tensor.shape != shape and not (vectors and tensor.ndim == 1):
        needed = f"{list(shape)} (one value a token)" + (", or one dimension" if vectors else "")
        raise DataError(f"microbatch {i}: {name} has shape {list(tensor.shape)}, needed {needed}")


def target_weights(batch: Microbatch, heads: int, dtype: torch.dtype) -> torch.Tensor:
    """[heads, b, s]: what the target of each head weighs, 0 where it is ignored. A weight belongs to the predicted token, so
    that of head k stands k places further on."""
    valid = head_targets(batch, heads) != IGNORE
    if batch.weights is None:
        return valid.to(dtype)
    found = torch.zeros(valid.shape, dtype=dtype)
    s = valid.shape[2]
    for k in range(min(heads, s)):
        found[k, :, : s - k] = batch.weights[:, k:]
    return torch.where(valid, found, 0.0)


def flat_data(
    batch: Microbatch, names: Sequence[str], dtype: torch.dtype, kept: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """What a loss reads by these names: [T] per token, or [K] at the positions `kept`, or the vector of the microbatch; floats in
    `dtype`."""
    found = {}
    for name in names:
        tensor = batch.loss_data[name]
        tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if tensor.ndim == 2:
            tensor = tensor.reshape(-1) if kept is None else tensor.reshape(-1)[kept]
        found[name] = tensor
    return found


def totals(batch: Sequence[Microbatch], loss: Loss, heads: int) -> list[float]:
    """Of each head, what this batch adds to that by which the step's weights are divided: the sum of weights, or what the
    loss counts."""
    sums = torch.zeros(heads, dtype=torch.float64)
    count = getattr(loss, "count", None)
    for microbatch in batch:
        weights = target_weights(microbatch, heads, torch.float64)
        sums += weights.sum((1, 2))
        if count is not None:
            data = flat_data(microbatch, data_names(loss), torch.float64)
            sums[0] += count(weights[0].reshape(-1), **data) - weights[0].sum()
    return sums.tolist()
