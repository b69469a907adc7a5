import random

import pytest
import torch
import torch.nn.functional as F

from pinisi.base.errors import ConfigError, DataError
from pinisi.losses import (
    LossValue,
    RegularizedCrossEntropy,
    cross_entropy_with,
    reads_logit_sum,
    token_weights,
    weighted_cross_entropy,
)
from pinisi.vocabulary import Shards

from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here
from .simulation import Case, head_shards, plain_logits, relative, run_plain, run_sharded
from .test_head import LIMIT, compare, draw
from .test_precision import RANKS, VOCABULARY, sure_case


def test_cross_entropy_value_and_coefficient():
    lp = torch.tensor([-1.0, -2.0, 0.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.25, 0.5, 0.0], dtype=torch.float64)
    found = weighted_cross_entropy(lp, lp, weights)
    found.value.backward()
    assert found.value.item() == 1.25 and torch.equal(lp.grad, found.by_log_prob)
    assert all(each is None for each in found[2:])


def test_weightless_tokens_cannot_spoil_the_value():
    found = weighted_cross_entropy(torch.tensor([-torch.inf, -1.0]), torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert found.value == 1.0 and found.by_log_prob.tolist() == [0.0, -1.0]


def test_token_weights_share_the_total_and_skip_ignored_tokens():
    targets = torch.tensor([[4, -100], [0, 2]])
    assert token_weights(targets, None, 4.0).tolist() == [[0.25, 0.0], [0.25, 0.25]]
    assert token_weights(targets, torch.tensor([[1.0, 9.0], [0.0, 3.0]]), 4.0).tolist() == [
        [0.25, 0],
        [0, 0.75],
    ]


@pytest.mark.parametrize("total", [0, -1.0, float("nan")])
def test_a_step_without_a_target_is_refused(total):
    with pytest.raises(DataError, match="nothing to learn"):
        token_weights(torch.tensor([-100, -100]), None, total)


@pytest.mark.parametrize("barriers", [1, 2])
def test_a_coefficient_known_only_after_lp(barriers):
    """-log sigmoid(sum of lp of the first half - sum of the second), as preference losses have it."""

    def preference(lp, lse, weights):
        sign = weights.to(lp.dtype)
        margin = (sign * lp).sum()
        return LossValue(-F.logsigmoid(margin), -sign * torch.sigmoid(-margin))

    torch.manual_seed(1)
    sign = torch.tensor([1.0] * 5 + [-1.0] * 6)
    x, weight = torch.randn(11, 13, dtype=torch.float64), torch.randn(101, 13, dtype=torch.float64)
    case = Case(x, weight, torch.randint(101, (11,)), sign)
    got = run_sharded(case, Shards.even(101, 3), barriers, loss=preference)
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    lp = -F.cross_entropy(x @ weight.T, case.targets, reduction="none")
    (-F.logsigmoid((sign * lp).sum())).backward()
    assert relative(got.dx, x.grad) <= 1e-11 and relative(got.dw, weight.grad) <= 1e-11


def drawn_terms(seed):
    draws = random.Random(seed)
    smooth, z = draws.choice([(0.1, 0.0), (0.0, 0.03), (0.1, 0.03), (0.7, 0.5)])
    return {"label_smoothing": smooth, "z_loss": z}


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(24))
def test_label_smoothing_and_z_loss_are_those_of_the_undivided_head(seed, barriers, dtype):
    case, shards = draw(seed)
    case, terms = case.to(dtype), drawn_terms(seed)
    loss = cross_entropy_with(case.weight.shape[0], **terms)
    compare(case, run_sharded(case, shards, barriers, loss=loss), LIMIT[dtype], **terms)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("offsets", [(0, 1), (0, 1, 2), (0, 0, 3, 4, 4), (0, 5, 6)], ids=str)
def test_terms_with_shards_of_one_row_or_none(offsets, softcap, barriers, dtype):
    torch.manual_seed(offsets[-1])
    rows = offsets[-1]
    x, weight = torch.randn(9, 6).double(), torch.randn(rows, 6).double()
    weights, bias = torch.full((9,), 0.1).double(), torch.randn(rows).double()
    case = Case(x, weight, torch.arange(9) % rows, weights, bias, 0.7, softcap).to(dtype)
    terms = {"label_smoothing": 0.2, "z_loss": 0.1}
    got = run_sharded(case, Shards(offsets), barriers, loss=cross_entropy_with(rows, **terms))
    compare(case, got, LIMIT[dtype], **terms)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("barriers", [1, 2])
def test_terms_over_several_tiles_of_a_shard(barriers, softcap):
    torch.manual_seed(5)
    x, weight = torch.randn(13, 7).double(), torch.randn(4099, 7).double()
    case = Case(x, weight, torch.randint(4099, (13,)), torch.rand(13).double(), scale=0.7, softcap=softcap)
    terms = {"label_smoothing": 0.2, "z_loss": 0.1}
    got = run_sharded(case, Shards((0, 4090, 4099)), barriers, loss=cross_entropy_with(4099, **terms))
    compare(case, got, 1e-11, **terms)


@pytest.mark.parametrize("terms", [(0.1, 0.0), (0.0, 1e-3), (0.1, 1e-3)], ids=str)
@pytest.mark.parametrize("p_y", [0.5, 0.996, 0.9999])
@pytest.mark.parametrize("barriers", [1, 2])
def test_terms_where_the_model_is_sure(barriers, p_y, terms):
    """fp32 to 1e-5; 16 bit no worse than plain PyTorch."""
    shards, loss = Shards.even(VOCABULARY, RANKS), RegularizedCrossEntropy(VOCABULARY, *terms)
    case, _, _ = sure_case(p_y, 256, torch.float32)
    got, exact = run_sharded(case, shards, barriers, loss=loss), run_plain(case.to(torch.float64), *terms)
    for field in ("lp", "dx", "dw"):
        assert relative(getattr(got, field), getattr(exact, field)) <= 1e-5, field
    case, _, _ = sure_case(p_y, 256)
    exact, plain = run_plain(case.to(torch.float64), *terms), run_plain(case, *terms)
    got = run_sharded(case, shards, barriers, loss=loss)
    got.dx = got.dx.bfloat16()
    for field in ("lp", "dx", "dw"):
        ours, theirs = (relative(getattr(one, field), getattr(exact, field)) for one in (got, plain))
        assert ours <= theirs, f"{field}: {ours:.3e}, plain PyTorch {theirs:.3e}"


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("barriers", [1, 2])
def test_terms_of_several_microbatches_late_and_after_the_weights_changed(barriers, softcap):
    """Two passes alive at once, T backwards; the sum of rows is that of the weights of now."""
    torch.manual_seed(3)
    terms, shards = {"label_smoothing": 0.3, "z_loss": 0.1}, Shards.even(131, 1)
    loss, weight = cross_entropy_with(131, **terms), torch.randn(131, 7).double()
    (head,), gradient, _ = head_shards(
        Case(torch.empty(0, 7), weight, torch.empty(0), torch.empty(0), softcap=softcap), shards, barriers
    )
    for _ in range(2):
        weights = torch.rand(5).double()
        cases = [
            Case(torch.randn(5, 7).double(), weight, torch.randint(131, (5,)), weights, softcap=softcap)
            for _ in range(2)
        ]
        gradient.zero_()
        passes = [head.s(case.x, case.targets, logit_sum=True) for case in cases]
        for case, one in reversed(list(zip(cases, passes, strict=True))):
            seen = head.combine(one, one.statistics[None])
            more = {"logit_sum": seen.logit_sum} if reads_logit_sum(loss) else {}
            found = loss(seen.lp, seen.lse, case.weights, **more)
            from_t = head.t(one, found)
            dx = head.u(one, found) if barriers == 1 else from_t
            assert relative(dx, run_plain(case, **terms).dx) <= 1e-11
        assert relative(gradient, sum(run_plain(case, **terms).dw for case in cases)) <= 1e-11
        weight.mul_(-0.5).add_(0.1)
        head.weights_changed()


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("barriers", [1, 2])
def test_evaluation_reads_the_same_sum_of_logits_and_keeps_nothing(barriers, softcap):
    case = Case(torch.randn(5, 7), torch.randn(2503, 7), torch.arange(5), torch.ones(5), softcap=softcap)
    (head,), _, _ = head_shards(case, Shards.even(2503, 1), barriers)
    kept, seen = (head.s(case.x, case.targets, keep=keep, logit_sum=True) for keep in (True, False))
    assert torch.equal(kept.statistics, seen.statistics) and len(seen.statistics) == 4 and seen.nbytes == 0
    assert (
        relative(
            seen.statistics[3], plain_logits(case.x.double(), case.weight.double(), None, 1.0, softcap).sum(1)
        )
        <= 1e-5
    )


@pytest.mark.parametrize("barriers", [1, 2])
def test_what_terms_say_of_ignored_tokens_does_not_matter(barriers):
    case = Case(torch.randn(3, 5), torch.randn(11, 5), torch.tensor([2, -100, 9]), torch.ones(3))
    case.weights[1] = 0.0

    def loss(lp, lse, weights, *, logit_sum):
        found = RegularizedCrossEntropy(11, 0.1, 0.1)(lp, lse, weights, logit_sum=logit_sum)
        spoilt = [torch.where(weights != 0, one, torch.nan) for one in found[1:4]]
        return LossValue(found.value, *spoilt)

    got = run_sharded(case, Shards.even(11, 2), barriers, loss=loss)
    compare(case, got, 1e-5, label_smoothing=0.1, z_loss=0.1)


def test_nothing_added_is_plain_cross_entropy():
    assert cross_entropy_with(11) is weighted_cross_entropy


@pytest.mark.parametrize(
    "wrong", [(1.0, 0.0), (-0.1, 0.0), (0.0, -1.0), (float("nan"), 0.0), (0.0, float("inf"))]
)
def test_terms_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="below 1"):
        RegularizedCrossEntropy(11, *wrong)


@pytest.mark.parametrize("name", ["label_smoothing", "z_loss"])
@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf"), float("-inf")])
def test_a_refused_term_is_named_with_what_was_given(name, wrong):
    for make in (RegularizedCrossEntropy, cross_entropy_with):
        with pytest.raises(ConfigError, match=rf"{name} .* got .*{wrong}.*; give"):
            make(11, **{name: wrong})


@pytest.mark.parametrize("wrong", [0, -3])
def test_a_vocabulary_without_rows_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"vocabulary .* at least 1, got {wrong}; give"):
        RegularizedCrossEntropy(wrong, 0.1)


@pytest.mark.parametrize("terms", [(0.0, 0.3), (0.1, 0.3), (0.1, 0.0)], ids=str)
@pytest.mark.parametrize("spoilt", [torch.inf, -torch.inf, torch.nan, 3e38, -3e38])
def test_terms_of_weightless_tokens_cannot_spoil_the_rest(spoilt, terms):
    """0 · k is NaN where k = dL/dlse overflows or lse is no number; so is what the head makes of it."""
    loss = RegularizedCrossEntropy(11, terms[0], 10 * terms[1])
    lp, lse, logit_sum = torch.tensor([[-1.0, spoilt, -2.0], [3.0, spoilt, 4.0], [5.0, spoilt, 6.0]])
    weights, rest = torch.tensor([0.25, 0.0, 0.5]), [0, 2]
    found = loss(lp, lse, weights, logit_sum=logit_sum)
    alone = loss(lp[rest], lse[rest], weights[rest], logit_sum=logit_sum[rest])
    assert found.value == alone.value
    names = ("by_log_prob", "by_logsumexp", "by_logit_sum")
    for name in names if terms[0] else names[:2]:
        of_all, of_rest = getattr(found, name), getattr(alone, name)
        assert torch.equal(of_all[rest], of_rest) and of_all[1] == 0, name
