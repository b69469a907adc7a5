"""Pieces of a model that are timed in its place, and what follows from two sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinisi.bench.profile import Piece, cut, line_through
from pinisi.models import parameter_shapes, read_spec
from tests.models.tiny import NAMES, tiny_config


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_has_the_models_layers_and_fewer_rows(name: str) -> None:
    spec = read_spec(tiny_config(name))
    piece = cut(spec, Piece(1, 3, 29))
    assert (piece.layers, piece.vocabulary, piece.hidden) == (3, 29, spec.hidden)
    assert (piece.tied, piece.softcap, piece.attention) == (spec.tied, spec.softcap, spec.attention)
    found = parameter_shapes(piece)
    whole = parameter_shapes(spec)
    assert {n: s for n, s in found.items() if ".layers.0." in n} == {
        n: s for n, s in whole.items() if ".layers.0." in n
    }
    ends = [s for n, s in found.items() if ".layers." not in n and len(s) == 2]
    assert set(ends) == {torch.Size((29, spec.hidden))} and len(ends) == (1 if spec.tied else 2)


@given(st.floats(0, 9), st.floats(0, 3), st.sampled_from([(1, 3), (24_576, 12_288)]))
def test_two_sizes_give_a_line(fixed: float, each: float, sizes: tuple[int, int]) -> None:
    a, b = sizes
    found = line_through(a, fixed + a * each, b, fixed + b * each)
    assert found[1] == pytest.approx(each, abs=1e-9) and found[0] == pytest.approx(fixed, abs=1e-6, rel=1e-6)


def test_noise_makes_no_negative_time() -> None:
    assert line_through(1, 2.0, 3, 1.5) == [2.0, 0.0]  # three layers were faster than one
    assert line_through(1, 1.0, 3, 9.0) == [0.0, 1.0]  # more than in proportion
    assert line_through(2, 3.0, 2, 3.0) == [0.0, 1.5]
