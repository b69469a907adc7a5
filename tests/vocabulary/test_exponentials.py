"""bf16 exponentials on a CPU of any logits: near 0, where bf16's steps are finest, moderate, and far beyond the range of exp."""

import math

import pytest
import torch

from pinisi.vocabulary import Shards
from pinisi.vocabulary.buffers import Scratch, block_rows
from pinisi.vocabulary.kernels import Targets, kernels_for
from pinisi.vocabulary.tiles import Curve

from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here
from .simulation import Case, bits, relative, run_plain, run_sharded

COLUMNS = 589
# A token's logits: centre and spread. Some far above or below, some close to 0.
TOKENS = [
    (0, 3),
    (-40, 5),
    (30, 5),
    (-150, 8),
    (200, 9),
    (1e4, 50),
    (-1e4, 50),
    (-30, 1),
    (27, 1),
    (-1, 1),
    (0, 0.3),
    (0, 0),
]


def drawn(seed):
    draws = torch.Generator().manual_seed(seed)
    z = torch.stack([centre + spread * torch.randn(COLUMNS, generator=draws) for centre, spread in TOKENS])
    z[0, 5:] = z[0, 5:].abs().neg()  # nearly all of one sign
    targets = torch.randint(COLUMNS + 100, (len(z),), generator=draws)
    targets[2], targets[4] = -100, int(z[4].argmax())
    return z.bfloat16(), targets


def taken(z, targets, floor=None):
    out, statistics = z.clone(), torch.empty(2, len(z))
    kernels_for(z).exponentiate_(
        out, out, Targets(targets, 0, COLUMNS), 0, statistics, floor, Curve(), Scratch()
    )
    return out, *statistics


def without_targets(z, targets):
    wide = z.double()
    for token, target in enumerate(targets.tolist()):
        if 0 <= target < COLUMNS:
            wide[token, target] = -torch.inf
    return wide


@pytest.mark.parametrize("seed", range(5))
def test_exponentials_and_sums_of_any_logits(seed):
    z, targets = drawn(seed)
    out, maximum, total = taken(z, targets)
    wide = without_targets(z, targets)
    exact = (wide - maximum.double().unsqueeze(1)).exp()
    assert (out.double() - exact).abs().le(2**-8 * exact + 1e-37).all()
    assert torch.equal(maximum.double(), wide.amax(1))
    off = ((maximum.double() + total.double().log()) - wide.logsumexp(1)).abs()
    assert (off <= 1e-6 * (1 + wide.amax(1).abs())).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_token_is_the_same_whatever_others_there_are(seed):
    z, targets = drawn(seed)
    together = taken(z, targets)
    for token in range(len(z)):
        alone = taken(z[token : token + 1], targets[token : token + 1])
        for one, all_ in zip(alone, together, strict=True):
            assert bits(one.float()) == bits(all_[token : token + 1].float())


@pytest.mark.parametrize("seed", range(3))
def test_made_again_they_are_the_same(seed):
    z, targets = drawn(seed)
    out, maximum, _ = taken(z, targets)
    again = torch.empty_like(z)
    kernels_for(z).exponentiate_again_(z, again, Targets(targets, 0, COLUMNS), 0, maximum, Curve(), Scratch())
    assert bits(again.float()) == bits(out.float())


def test_many_tokens_of_each_kind_in_several_blocks():
    z, targets = drawn(3)
    rows = [0] * 150 + list(range(len(z))) + [0] * 150
    assert len(rows) > 3 * block_rows(len(rows), COLUMNS, z.device)
    found, each = taken(z[rows], targets[rows]), taken(z, targets)
    for one, all_ in zip(each, found, strict=True):
        assert bits(one[rows].float()) == bits(all_.float())


@pytest.mark.parametrize("earlier", [-1e4, -70.0, 0.0, 70.0, 1e4])
def test_a_later_tile_is_relative_to_the_largest_so_far(earlier):
    z, targets = drawn(1)
    floor = torch.full((len(z),), earlier)
    _, maximum, total = taken(z, targets, floor)
    highest = without_targets(z, targets).amax(1).clamp(min=earlier)
    assert torch.equal(maximum.double(), highest) and total.isfinite().all()


@pytest.mark.parametrize("centre", [-4.0, -1.0, -0.25, 0.0, 0.25, 1.0, 4.0])
@pytest.mark.parametrize("barriers", [1, 2])
def test_few_columns_that_make_the_whole_sum_do_not_show_their_rounding(barriers, centre):
    """Three likely columns, the target one of them: lp's error is that of the logits, as PyTorch's is."""
    draws = torch.Generator().manual_seed(5)
    x, weight = (torch.randn(*of, generator=draws) for of in ((200, 64), (1024, 64)))
    weight *= 0.02
    x[:, 0], weight[:3, 0], weight[3:, 0] = 1.0, centre, centre - 20.0
    case = Case(x, weight, torch.randint(3, (200,), generator=draws), torch.ones(200))
    case = case.to(torch.bfloat16)
    exact, plain = run_plain(case.to(torch.float64)), run_plain(case)
    got = run_sharded(case, Shards.even(1024, 1), barriers)
    assert relative(got.lp, exact.lp) <= 1.05 * relative(plain.lp, exact.lp)


@pytest.mark.parametrize("centre", [-55.0, -25.0, 25.0, 55.0])
def test_small_weights_of_a_large_step_do_not_vanish_beside_large_logits(centre):
    """x ⊙ factor, a token's weight over its sum of exponentials, is in 16 bit; products take subnormal numbers for 0."""
    draws = torch.Generator().manual_seed(4)
    x, weight = (torch.randn(*of, generator=draws) for of in ((4, 8), (2**16, 8)))
    x *= 0.01
    x[:, 0], weight[:, 0] = 0.05, centre / 0.05
    targets, weights = torch.tensor([0, 1, 2, 3]), torch.full((4,), 1e-7)
    case = Case(x, weight, targets, weights).to(torch.bfloat16)
    exact, plain = run_plain(case.to(torch.float64)), run_plain(case)
    for barriers in (1, 2):
        got = run_sharded(case, Shards.even(2**16, 1), barriers)
        for rows in (slice(0, 4), slice(4, None)):
            ours, theirs = (relative(one.dw[rows], exact.dw[rows]) for one in (got, plain))
            assert ours <= max(theirs, 0.05)


def test_what_is_not_a_number_shows_and_an_infinite_logit_too():
    z, targets = drawn(2)
    z[1, 7], z[3, 8] = math.nan, math.inf
    _, _, total = taken(z, targets)
    assert total.isnan().tolist() == [token in (1, 3) for token in range(len(z))]
