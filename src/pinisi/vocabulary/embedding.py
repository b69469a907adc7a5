"""Holds a rank's rows of the token embedding, with the passes E (lookup) and G (gradient)."""

import torch
from torch import Tensor


def owned_positions(ids: Tensor, rows: range) -> Tensor:
    """Where in the microbatch (flattened to [T]) the tokens of `rows` stand, in rising order: [n_r].

    The sender and the receiver of embedding rows both call it, so that only the rows travel.
    """
    flat = ids.reshape(-1)
    return ((flat >= rows.start) & (flat < rows.stop)).nonzero().squeeze(1)


class EmbeddingShard:
    """Rows start to start + V_r of the embedding.

    weight [V_r, h] in the model's dtype; gradient [V_r, h] in fp32 (fp64 for an fp64 model), added to and
    never cleared here, so that a tied head may share it; None: the rows don't learn. No id is special: a padding token has a row
    like any other.
    """

    def __init__(self, weight: Tensor, gradient: Tensor | None, start: int) -> None:
        if gradient is not None and weight.shape != gradient.shape:
            raise AssertionError(f"weight {tuple(weight.shape)} and gradient {tuple(gradient.shape)} differ")
        self.weight = weight.detach()
        self.gradient = gradient
        self.rows = range(start, start + weight.shape[0])

    def lookup(self, ids: Tensor) -> Tensor:
        """E: the embeddings of owned tokens: ids [n_r], all in this shard's rows, -> [n_r, h]."""
        return self.weight.index_select(0, ids - self.rows.start)

    @torch.no_grad()
    def accumulate(self, ids: Tensor, rows: Tensor) -> None:
        """G: adds the gradient rows [n_r, h] of owned tokens ids [n_r]."""
        if self.gradient is not None:
            self.gradient.index_add_(0, ids - self.rows.start, rows.to(self.gradient.dtype))
