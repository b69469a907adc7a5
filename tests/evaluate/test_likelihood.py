"""Log-probabilities of the engine against transformers, one item at a time."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.base.errors import ConfigError
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.likelihood import read_items, score_here, write_items
from pinisi.evaluate.model_source import open_model
from pinisi.evaluate.packing import packed
from tests.evaluate.conftest import VOCABULARY, write_model


def drawn(count: int, longest: int = 60) -> list[Continuation]:
    """Items of all sizes, of one scored token, of a first scored token at place 1, and some that are alike."""
    draw = random.Random(7)
    found = [Continuation((5, 6), 1), Continuation((5, 6), 1)]
    while len(found) < count:
        size = draw.randint(2, longest)
        first = draw.choice([1, size - 1, draw.randint(1, size - 1)])
        found.append(Continuation(tuple(draw.randrange(VOCABULARY) for _ in range(size)), first))
    return found


def reference(folder: Path, items: list[Continuation], dtype: torch.dtype) -> list[np.ndarray]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    found = []
    for item in items:
        with torch.no_grad():
            logits = model(torch.tensor([item.tokens])).logits[0].double()
        lp = torch.log_softmax(logits, -1)
        found.append(
            np.array(
                [lp[place - 1, item.tokens[place]].item() for place in range(item.first, len(item.tokens))]
            )
        )
    return found


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_scores_are_those_of_transformers(model, dtype, bound) -> None:
    items = drawn(40)
    wanted = reference(model, items, getattr(torch, dtype))
    found = score_here(open_model(model, dtype=dtype), items, row=97)
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == theirs.shape and mine.dtype == np.float64
        np.testing.assert_allclose(mine, theirs, rtol=bound)
        assert mine.sum() == pytest.approx(theirs.sum(), rel=bound)


def test_scores_are_the_same_bits_for_any_number_of_rows_at_once(model) -> None:
    items = drawn(40)
    opened = open_model(model)
    first, *others = (score_here(opened, items, row=64, at_once=n) for n in (1, 3, 16))
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    for other in (score_here(opened, items, row=n) for n in (1, 1000)):
        for a, b in zip(first, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_architectures_with_a_cap_and_a_window(tmp_path) -> None:
    """Gemma 2 caps its logits and has layers with a window: packing must keep to both."""
    from transformers import Gemma2Config

    folder = write_model(tmp_path / "m")
    torch.manual_seed(3)
    config = Gemma2Config(
        vocab_size=VOCABULARY, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, head_dim=8, sliding_window=7, final_logit_softcapping=5.0, max_position_embeddings=96,
        query_pre_attn_scalar=8, initializer_range=0.3, pad_token_id=None, bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config, attn_implementation="eager").save_pretrained(folder)
    items = drawn(12)
    for mine, theirs in zip(
        score_here(open_model(folder), items), reference(folder, items, torch.float32), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_rows_hold_every_item_once_and_no_more_than_fits() -> None:
    draw = random.Random(1)
    for _ in range(50):
        sizes = [draw.randint(1, 30) for _ in range(draw.randint(1, 40))]
        row = draw.randint(1, 40)
        rows = packed(sizes, row)
        assert sorted(n for each in rows for n in each) == list(range(len(sizes)))
        assert all(sum(sizes[n] for n in each) <= row or len(each) == 1 for each in rows)


def test_items_go_through_a_file(tmp_path) -> None:
    items = drawn(9)
    write_items(tmp_path / "items.npz", items)
    assert read_items(tmp_path / "items.npz") == items


def test_a_row_of_nothing_is_refused(model) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        score_here(open_model(model), drawn(3), row=0)
