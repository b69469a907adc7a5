"""First rows of new tokens, held against what is worked out by hand or by another library."""

import numpy as np
import pytest
import torch

from pinisi.base.errors import ModelError
from pinisi.data.vocabulary.extend import extend
from pinisi.data.vocabulary.similar import like_tokens
from pinisi.models.surgery.start_rows import RIDGE, StartFacts, start_rows

from ..cookbook.made_models import reading
from ..data.made_tokenizers import made

PIECES = {20: (1, 2), 23: (3, 4, 4), 21: (5, 6)}


def old_rows(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(20, 6), (20,)])  # a bias has one number a row
def test_means_mixes_and_what_has_no_like(shape) -> None:
    old = old_rows(*shape)
    facts = StartFacts(PIECES, {23: {7: 0.25, 9: 0.75}})
    mean, similar = (start_rows(old, facts, rule, 0) for rule in ("mean", "similar"))
    expected = torch.stack([(old[1] + old[2]) / 2, (old[5] + old[6]) / 2, (old[3] + 2 * old[4]) / 3])
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(similar[2], 0.25 * old[7] + 0.75 * old[9])
    torch.testing.assert_close(similar[:2], expected[:2])


def test_a_regression_finds_the_map_that_old_rows_follow() -> None:
    """Of rows that are A left + B right + c but for little noise, new ones come out so; against numpy's least squares."""
    old = old_rows(400, 6).double()
    left_map, right_map, shift = torch.randn(
        3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    parts = [(200 + n, n % 97, (7 * n + 3) % 101) for n in range(200)]
    for row, left, right in parts:
        old[row] = old[left] @ left_map + old[right] @ right_map + shift[0]
    pieces = {400: (5, 9), 401: (11, 3)}
    found = start_rows(old, StartFacts(pieces, parts=parts), "regression", 0)
    for row, (left, right) in zip(found, pieces.values(), strict=True):
        wanted = old[left] @ left_map + old[right] @ right_map + shift[0]
        assert (row - wanted).norm() < 0.1 * wanted.norm()
    sides = [old[[part[side] for part in parts]].numpy() for side in (1, 2)]
    features = np.concatenate([(sides[0] + sides[1]) / 2, *sides], 1)
    centred = features - features.mean(0)
    alpha = RIDGE * float((centred**2).sum(0).mean())
    beyond = old[200:].numpy() - (sides[0] + sides[1]) / 2
    offset = beyond.mean(0)
    stacked = np.concatenate([centred, np.sqrt(alpha) * np.eye(18)])  # a ridge as rows of a plain fit
    targets = np.concatenate([beyond - offset, np.zeros((18, 6))])
    weights = np.linalg.lstsq(stacked, targets, rcond=None)[0]
    new = [old[[of[side] for of in pieces.values()]].numpy() for side in (0, 1)]
    mean = (new[0] + new[1]) / 2
    expected = mean + (np.concatenate([mean, *new], 1) - features.mean(0)) @ weights + offset
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_an_unknown_rule_is_said() -> None:
    with pytest.raises(ModelError, match="mean, similar, regression, random"):
        start_rows(old_rows(9, 2), StartFacts({9: (1,)}), "best", 0)  # type: ignore[arg-type]


def test_tokens_among_the_same_neighbours_are_like(tmp_path) -> None:
    """A new token for "xqz" stands where "e" does, and never where "u" does."""
    from pinisi.data.vocabulary.bpe_file import read_bpe

    tokenizer = read_bpe(made(tmp_path, "qwen"))
    texts = reading({"en": ["1 xqz 2", "1 e 2", "3 u 4", "5 k 6"] * 30})
    extension = extend(tokenizer, texts, 4, report=lambda line: None)
    names = extension.tokenizer.names
    (new,) = [id for id in extension.pieces if names[id].endswith("xqz")]
    like = like_tokens(extension.tokenizer, extension.pieces, texts)[new]
    assert sum(like.values()) == pytest.approx(1)
    best = max(like, key=lambda id: like[id])
    assert names[best].lstrip("Ġ") in ("e", "xqz"[-1], "x")
    assert not any(names[id].lstrip("Ġ") in ("u", "k") and weight > 0.05 for id, weight in like.items())
