"""Losses whose coefficient is known only after lp: through the split head, against autograd of the plain formula."""

import math
import random
from functools import partial

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.losses import clipped_ratio, loss_named
from tests.losses.formulas import SETTINGS, plain_loss

from .simulation import relative, run_plain, run_sharded
from .test_head import LIMIT, draw

DPO = loss_named("dpo")


def compare(case, shards, barriers, loss, of_lp, limit):
    got, want = run_sharded(case, shards, barriers, loss=loss), run_plain(case.to(torch.float64), of_lp=of_lp)
    assert abs(got.loss - want.loss) <= limit * abs(want.loss) + 1e-30
    assert relative(got.dx, want.dx) <= limit and relative(got.dw, want.dw) <= limit
    if case.bias is not None:
        assert relative(got.db, want.db) <= limit


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_losses_of_pairs(seed, barriers, dtype):
    case, shards = draw(seed)
    name = list(SETTINGS)[seed % 4]
    draws, tokens = random.Random(seed), len(case.targets)
    pairs, beta, total = draws.randint(1, 3), draws.choice((0.1, 0.5)), 5.0
    torch.manual_seed(seed)
    case.weights = torch.where(torch.rand(tokens) < 0.2, 0.0, case.weights)  # prompts
    pairs = min(pairs, tokens // 2)  # none, too
    sequences = torch.randint(-1, 2 * pairs, (tokens,)) if pairs else torch.full((tokens,), -1)
    sequences[torch.randperm(tokens)[: 2 * pairs]] = torch.arange(2 * pairs)  # every half has a token
    counted = [(case.weights != 0) & (sequences == i) for i in range(2 * pairs)]
    lp = run_plain(case).lp
    sums = torch.tensor([lp[here].sum() for here in counted], dtype=torch.float64)
    reference = sums + torch.randn(2 * pairs)  # near the model's own, or the sigmoid says 0 or 1

    def plain(lp):
        value = 0.0 * lp.sum()
        for i in range(0, 2 * pairs, 2):
            sides = counted[i : i + 2]
            of = [lp[here].sum() for here in sides]
            sizes = [int(here.sum()) for here in sides]
            value = value + plain_loss(name, *of, reference[i : i + 2].tolist(), sizes, beta) / total
        return value

    made = loss_named(name, beta=beta, **SETTINGS[name])
    loss = partial(made, sequences=sequences, reference=reference, total=total)
    limit = {torch.float32: 1e-4}.get(dtype, LIMIT[dtype])  # reference sums of 1e3 are known to 1e-4 in fp32
    compare(case.to(dtype), shards, barriers, loss, plain, limit)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_clipped_ratio(seed, barriers, dtype):
    case, shards = draw(seed)
    torch.manual_seed(seed)
    tokens = len(case.targets)
    old = run_plain(case).lp + 0.3 * torch.randn(tokens, dtype=torch.float64)
    advantages = torch.randn(tokens, dtype=torch.float64)

    def plain(lp):
        ratio = torch.exp(lp - old)
        clipped = ratio.clamp(0.8, 1.2)
        return -(case.weights * torch.minimum(ratio * advantages, clipped * advantages)).sum()

    loss = partial(clipped_ratio, old=old, advantages=advantages)
    limit = {torch.float32: 5e-5}.get(dtype, LIMIT[dtype])  # lp - old cancels
    compare(case.to(dtype), shards, barriers, loss, plain, limit)


def test_clipped_tokens_have_no_gradient_but_where_they_got_worse():
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.1], dtype=torch.float64)
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0, 2.0], dtype=torch.float64)
    found = clipped_ratio(ratio.log(), ratio, torch.ones(5), old=torch.zeros(5), advantages=advantages)
    assert found.by_log_prob.tolist() == pytest.approx([0, 0, 1.5, -0.5, -2.2])
    assert found.value.item() == pytest.approx(-(1.2 - 0.8 - 1.5 + 0.5 + 2.2))


def test_tokens_that_do_not_count_cannot_spoil_the_rest():
    lp = torch.tensor([-1.0, -torch.inf, -2.0])
    weights, old = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([-1.0, -torch.inf, -2.0])
    ratio = clipped_ratio(lp, lp, weights, old=old, advantages=torch.ones(3))
    pair = DPO(lp, lp, weights, sequences=torch.tensor([0, 0, 1]), reference=torch.zeros(2), total=1)
    for found in (ratio, pair):
        assert found.value.isfinite() and found.by_log_prob[1] == 0 and found.by_log_prob[0] < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ratios_that_overflow_are_no_nan(dtype):
    """A = 0: nothing; A > 0: clipped; A < 0: as large as a number can be."""
    advantages = torch.tensor([0.0, 3.0, -3.0, 2.0], dtype=dtype)
    for far in (1e3, torch.inf):
        lp, weights = torch.tensor([far, far, far, 0.0], dtype=dtype), torch.full((4,), 0.5)

        def of(tokens, lp=lp, weights=weights):
            zeros = torch.zeros(len(tokens), dtype=dtype)
            advantage = advantages[tokens]
            return clipped_ratio(lp[tokens], lp[tokens], weights[tokens], old=zeros, advantages=advantage)

        nothing, clipped, free = of([0, 3]), of([1, 3]), of([0, 1, 2, 3])
        assert nothing.value == -1.0 and nothing.by_log_prob.tolist() == [0.0, -1.0]
        assert clipped.value.item() == pytest.approx(-1.0 - 0.5 * 1.2 * 3)
        assert clipped.by_log_prob.tolist() == [0, -1]
        assert free.value == torch.inf and free.by_log_prob.isfinite().all()
        assert free.by_log_prob[2] >= torch.finfo(dtype).max / 2
        assert free.by_log_prob[[0, 1, 3]].tolist() == [0.0, 0.0, -1.0]


def test_ratios_just_below_overflow_are_exact():
    lp, ones = torch.tensor([88.0]), torch.ones(1)
    found = clipped_ratio(lp, lp, 0.5 * ones, old=0 * ones, advantages=-ones)
    assert found.value == lp.exp()[0] / 2 and found.by_log_prob == lp.exp() / 2


def test_a_nan_that_was_given_is_not_hidden():
    lp, ones = torch.tensor([100.0, 0.0]), torch.ones(2)
    found = clipped_ratio(lp, lp, ones, old=0 * ones, advantages=torch.tensor([torch.nan, 1.0]))
    assert found.value.isnan()


def one_pair(**changes):
    """dpo of a pair of two tokens each behind a prompt, with some arguments changed."""
    given = {
        "weights": torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        "sequences": torch.tensor([99, 0, 0, 1, 1, -1]),  # what a prompt's token says doesn't matter
        "reference": torch.zeros(2),
    } | changes
    lp, weights, loss = -torch.ones(6), given.pop("weights"), loss_named("dpo", beta=given.pop("beta", 0.1))
    loss.count(weights, **given)
    return loss(lp, lp, weights, **given, total=1.0)


def test_one_pair_is_taken():
    assert one_pair().value.item() == pytest.approx(math.log(2))


def test_no_pair_adds_nothing():
    found = one_pair(sequences=torch.full((6,), -1), reference=torch.zeros(0))
    assert found.value == 0 and not found.by_log_prob.any()


NOT_POSITIVE = [0.0, -0.1, float("nan"), float("inf")]


@pytest.mark.parametrize("wrong", NOT_POSITIVE)
@pytest.mark.parametrize("name", SETTINGS)
def test_beta_must_be_positive(name, wrong):
    with pytest.raises(ConfigError, match=f"beta .* above 0, got {wrong}; give 0.1"):
        loss_named(name, beta=wrong)


WRONG_PAIRS = {
    "odd": ({"reference": torch.zeros(3)}, r"reference .* two sums for each pair, got shape \[3\]; give"),
    "scalar": ({"reference": torch.zeros(())}, r"reference .* got shape \[\]"),
    "rows": ({"reference": torch.zeros(2, 2)}, r"reference .* got shape \[2, 2\]"),
    "length": ({"sequences": torch.tensor([0])}, r"sequences .* shape \[1\]; give .* \[6\]"),
    "beyond": ({"sequences": torch.tensor([0, 0, 1, 2, 1, 0])}, "sequences .* holds 2, .* below 2, and -1"),
    "below": ({"sequences": torch.tensor([0, 0, 1, -2, 1, 0])}, "sequences .* holds -2"),
    "nan": ({"sequences": torch.tensor([0, 0, 1, torch.nan, 1, 0])}, "sequences .* holds nan"),
    "no rejected": ({"sequences": torch.tensor([0] * 6)}, "number 1, the rejected sequence of pair 0; give"),
    "no chosen": ({"sequences": torch.tensor([-1] + [1] * 5)}, "number 0, the chosen sequence of pair 0"),
    "no pair": ({"reference": torch.zeros(4)}, "number 2, the chosen sequence of pair 1"),
}


@pytest.mark.parametrize("case", WRONG_PAIRS)
def test_what_cannot_be_pairs_is_refused(case):
    """By the loss and, where a GPU's tensors would hide it, before the step: when an engine counts the pairs."""
    changes, message = WRONG_PAIRS[case]
    with pytest.raises(ConfigError, match=message):
        one_pair(**changes)
    given = {
        "weights": torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        "sequences": torch.tensor([99, 0, 0, 1, 1, -1]),
        "reference": torch.zeros(2),
    }
    assert DPO.count(**given) == 1.0
    with pytest.raises(ConfigError, match=message):
        DPO.count(**(given | changes))


def test_a_half_may_have_no_token_that_counts():
    """Such as a cut answer's; an engine may leave out its tokens, and has counted the pairs with them."""
    weights = torch.tensor([0, 1.0, 1, 0, 0, 1])
    given = {"sequences": torch.tensor([99, 0, 0, 1, 1, -1]), "reference": torch.zeros(2)}
    found, lp = one_pair(weights=weights), -torch.ones(6)
    assert (
        found.value.item() == pytest.approx(math.log1p(math.exp(0.2))) and found.by_log_prob.isfinite().all()
    )
    loss, left = DPO, weights.nonzero().squeeze(1)
    assert loss.count(weights, **given) == 1
    given["sequences"] = given["sequences"][left]
    assert loss(lp[left], lp[left], weights[left], **given, total=1.0).value == found.value
    with pytest.raises(ConfigError, match="holds 2"):
        loss(lp[left], lp[left], weights[left], **(given | {"sequences": torch.tensor([0, 0, 2])}), total=1.0)


def test_values_are_not_looked_at_where_the_host_would_wait():
    """Of meta tensors, as of a GPU's, only shapes can be had."""
    with torch.device("meta"):
        given = {"sequences": torch.zeros(6, dtype=torch.long), "reference": torch.zeros(4)}
        lp = torch.zeros(6)
        assert DPO(lp, lp, lp, total=1.0, **given).by_log_prob.shape == (6,)
        assert clipped_ratio(lp, lp, lp, old=lp, advantages=lp).by_log_prob.shape == (6,)
        with pytest.raises(ConfigError, match=r"got shape \[3\]"):
            DPO.count(lp, sequences=given["sequences"], reference=torch.zeros(3))


@pytest.mark.parametrize("wrong", [*NOT_POSITIVE, 1.0, 1.5])
def test_a_clip_out_of_range_is_refused(wrong):
    ones = torch.ones(2)
    with pytest.raises(ConfigError, match=f"clip .* above 0 and below 1, got {wrong}; give 0.2"):
        clipped_ratio(ones, ones, ones, old=ones, advantages=ones, clip=wrong)


@pytest.mark.parametrize("name", ["old", "advantages"])
@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (3,)], ids=str)
def test_ratios_take_one_value_a_token(name, shape):
    """Others would be spread over the tokens, [T, 1] over [T, T]."""
    ones = torch.ones(4)
    given = {"old": ones, "advantages": ones} | {name: torch.ones(shape)}
    with pytest.raises(ConfigError, match=rf"{name} .* has shape \[.*\]; give one value .* \[4\]"):
        clipped_ratio(ones, ones, ones, **given)
