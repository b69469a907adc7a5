"""Bounds of documents against their words; flex_attention's block mask against the mask that it stands for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.models.attention import DocumentBounds, dense_mask, document_bounds
from pinisi.models.attention.flex import document_block_mask

ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=3)


def as_documents(lengths) -> torch.Tensor:
    """[b, s]: the same numbers for other rows' documents; rows are filled to the longest one with a document more."""
    size = max(map(sum, lengths))
    rows = [row + [size - sum(row)] * (sum(row) < size) for row in lengths]
    return torch.tensor([[9 - i for i, n in enumerate(row) for _ in range(n)] for row in rows])


@settings(max_examples=60, deadline=None)
@given(lengths=ROWS, window=st.one_of(st.none(), st.integers(1, 12)))
def test_bounds_say_what_the_dense_mask_says(lengths, window):
    documents = as_documents(lengths)
    bounds = document_bounds(documents)
    assert bounds is not None
    mask = dense_mask(documents, window, torch.float32, additive=False)[:, 0]
    assert bounds.pairs(window) == mask.sum()
    assert torch.equal(bounds.first_seen(window), mask.int().argmax(-1))
    assert bounds.sequence == documents.shape[1] and bounds.packed == (documents != documents[:, :1]).any()
    flat = torch.stack([documents, torch.arange(len(documents))[:, None].expand_as(documents)], -1).flatten(
        0, 1
    )
    changes = (flat[1:] != flat[:-1]).any(-1).nonzero().flatten() + 1
    assert bounds.cumulative == (0, *changes.tolist(), documents.numel())
    assert bounds.documents == len(changes) + 1
    assert bounds.longest == max(
        b - a for a, b in zip(bounds.cumulative, bounds.cumulative[1:], strict=False)
    )


def test_a_document_in_two_pieces_has_no_bounds():
    assert document_bounds(torch.tensor([[1, 1, 2], [1, 2, 1]])) is None
    assert document_bounds(torch.tensor([[1, 1, 2], [2, 2, 1]])) == DocumentBounds(((2, 1), (2, 1)))


@pytest.mark.parametrize("window", [None, 1, 40, 128, 129, 300, 700])
def test_the_block_mask_is_the_dense_mask(window):
    from torch.nn.attention.flex_attention import create_block_mask

    lengths = ((1, 255, 128, 216, 100), (700,), (300, 84, 3, 313))
    documents = torch.tensor([[i for i, n in enumerate(row) for _ in range(n)] for row in lengths])
    dense = dense_mask(documents, window, torch.float32, additive=False)
    found = document_block_mask(DocumentBounds(lengths), window, torch.device("cpu"))
    expected = create_block_mask(lambda b, h, q, k: dense[b, 0, q, k], 3, None, 700, 700, device="cpu")
    assert torch.equal(found.to_dense(), expected.to_dense())
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    at = torch.arange(700)
    rows = torch.arange(3)[:, None, None]
    zero = torch.zeros((), dtype=torch.long)
    assert torch.equal(found.mask_mod(rows, zero, at[:, None], at[None, :]), dense[:, 0])
