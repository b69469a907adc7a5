"""Entropy and distillation through a split head, against autograd of the whole softmax in fp64."""

import random
from dataclasses import replace

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.losses import (
    LossValue,
    RegularizedCrossEntropy,
    WithDistillation,
    WithEntropy,
    data_names,
    reads_of_distribution,
    weighted_cross_entropy,
)
from pinisi.vocabulary import Curve, DistributionHead, HeadShard, Projection, Shards

from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here
from .simulation import Case, bits, head_shards, plain_logits, relative
from .test_head import LIMIT, draw
from .test_precision import RANKS, VOCABULARY, sure_case


def drawn_teacher(case: Case, seed: int) -> Case:
    """Another head over the same vocabulary, of another width, curve and bias; its x are its own."""
    draws, random_ = random.Random(seed), torch.Generator().manual_seed(seed + 99)

    def normal(*shape):
        return torch.randn(*shape, generator=random_, dtype=torch.float64)

    hidden, (tokens, rows) = draws.choice((3, 29)), (len(case.x), len(case.weight))
    bias = normal(rows) if draws.random() < 0.5 else None
    scale, cap = draws.choice((1.0, 0.4)), draws.choice((None, 4.0))
    return Case(normal(tokens, hidden), normal(rows, hidden), case.targets, case.weights, bias, scale, cap)


def projection(of: Case, rows: slice) -> Projection:
    return Projection(
        of.weight[rows], None if of.bias is None else of.bias[rows], Curve(of.scale, of.softcap)
    )


def run(case: Case, shards: Shards, barriers: int, loss, teacher: Case | None = None, *, budget=None):
    """(lp, entropy, divergence, value, dX, dW, db) over all shards."""
    plain_heads, gradient, db = head_shards(case, shards, barriers, budget=budget)
    heads = []
    for rank, head in enumerate(plain_heads):
        rows = slice(shards.rows(rank).start, shards.rows(rank).stop)
        theirs = None if teacher is None else projection(teacher, rows)
        heads.append(DistributionHead(head, entropy="entropy" in reads_of_distribution(loss), teacher=theirs))
    hidden = None if teacher is None else teacher.x
    seen = [head.s(case.x, case.targets, keep=False, teacher=hidden) for head in heads]
    passes = [head.s(case.x, case.targets, teacher=hidden) for head in heads]
    assert all(torch.equal(a.statistics, b.statistics) for a, b in zip(seen, passes, strict=True))
    gathered = torch.stack([one.statistics for one in passes])
    found = [head.combine(one, gathered) for head, one in zip(heads, passes, strict=True)]
    for other in found[1:]:
        assert all(a is None or bits(a) == bits(b) for a, b in zip(other, found[0], strict=True))
    named = {name: getattr(found[0], name) for name in reads_of_distribution(loss)}
    answer = loss(found[0].lp, found[0].lse, case.weights, **named)
    made = [h.u(one, answer) for h, one in zip(heads, passes, strict=True)] if barriers == 1 else []
    late = [h.t(one, answer) for h, one in zip(heads[::-1], passes[::-1], strict=True)]
    assert all(one.nbytes == 0 for one in passes) and (barriers == 2 or late == [None] * len(late))
    parts = made or late
    return found[0], answer.value, sum(parts), gradient, db


def plain(case: Case, of: str, teacher: Case | None = None, *, bonus=0.0, share=0.0, z_loss=0.0):
    """The same from whole logits; `of`: the dtype in which softmaxes are taken."""
    x, weight = case.x.clone().requires_grad_(), case.weight.clone().requires_grad_()
    bias = None if case.bias is None else case.bias.clone().requires_grad_()
    logits = plain_logits(x, weight, bias, case.scale, case.softcap).to(of)
    log_p, valid = logits.log_softmax(1), case.targets != -100
    lp = log_p.gather(1, case.targets.clamp(min=0).unsqueeze(1)).squeeze(1)
    entropy = -(log_p.exp() * log_p).sum(1)
    each = -lp + z_loss * logits.logsumexp(1) ** 2 - bonus * entropy
    divergence = None
    if teacher is not None:
        theirs = plain_logits(teacher.x, teacher.weight, teacher.bias, teacher.scale, teacher.softcap).to(of)
        log_q = theirs.log_softmax(1)
        divergence = (log_q.exp() * (log_q - log_p)).sum(1)
        each = (1 - share) * each + share * divergence
    value = torch.where(valid, each * case.weights.to(of), 0.0).sum()
    value.backward()
    entropy, value = (entropy * valid).detach(), value.detach()
    divergence = None if divergence is None else (divergence * valid).detach()
    return entropy, divergence, value, x.grad, weight.grad, bias


def compare(case, shards, barriers, loss, teacher, limit, *, budget=None, **terms):
    seen, value, dx, dw, db = run(case, shards, barriers, loss, teacher, budget=budget)
    in_64 = None if teacher is None else teacher.to(torch.float64)
    entropy, divergence, want, wanted_dx, wanted_dw, bias = plain(
        case.to(torch.float64), torch.float64, in_64, **terms
    )
    assert abs(value - want) <= limit * max(abs(want), 1e-3)
    assert relative(dx, wanted_dx) <= limit and relative(dw, wanted_dw) <= limit
    if bias is not None:
        assert relative(db, bias.grad) <= limit
    if seen.entropy is not None:
        assert relative(seen.entropy, entropy) <= limit
    if seen.divergence is not None:
        assert relative(seen.divergence, divergence) <= 10 * limit


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_entropy(seed, barriers, dtype):
    """A bonus or a penalty beside cross-entropy and z-loss: as autograd has it."""
    case, shards = draw(seed)
    bonus, z_loss = random.Random(seed).choice([(0.3, 0.0), (-0.7, 0.05), (2.0, 0.0)])
    loss = WithEntropy(RegularizedCrossEntropy(len(case.weight), 0.0, z_loss), bonus)
    limit = {torch.float32: 5e-5}.get(dtype, LIMIT[dtype])  # terms of both signs cancel
    compare(
        case.to(dtype),
        shards,
        barriers,
        loss,
        None,
        limit,
        budget=(None, 0, 20_000)[seed % 3],
        bonus=bonus,
        z_loss=z_loss,
    )


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_distillation(seed, barriers, dtype):
    case, shards = draw(seed)
    teacher = drawn_teacher(case, seed)
    share = random.Random(seed).choice([1.0, 0.4])
    limit = {torch.float32: 5e-5}.get(dtype, LIMIT[dtype])
    loss = WithDistillation(weighted_cross_entropy, share)
    compare(
        case.to(dtype),
        shards,
        barriers,
        loss,
        teacher.to(dtype),
        limit,
        budget=(None, 0, 20_000)[seed % 3],
        share=share,
    )


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("offsets", [(0, 1), (0, 1, 2), (0, 0, 3, 4, 4), (0, 4090, 4099)], ids=str)
def test_both_with_shards_of_one_row_or_none_or_several_tiles(offsets, barriers):
    torch.manual_seed(offsets[-1])
    rows = offsets[-1]
    x, weight = torch.randn(9, 6).double(), torch.randn(rows, 6).double()
    case = Case(
        x, weight, torch.arange(9) % rows, torch.rand(9).double(), torch.randn(rows).double(), 0.7, 2.0
    )
    loss = WithDistillation(WithEntropy(weighted_cross_entropy, 0.4), 0.3)
    compare(case, Shards(offsets), barriers, loss, drawn_teacher(case, 1), 1e-10, bonus=0.4, share=0.3)


@pytest.mark.parametrize("p_y", [0.5, 0.996, 0.9999])
@pytest.mark.parametrize("barriers", [1, 2])
def test_where_student_and_teacher_are_sure(barriers, p_y):
    """fp32 to 2e-5 of the gradient; bf16 no worse than plain PyTorch's whole softmax in fp32 of bf16 logits."""
    shards = Shards.even(VOCABULARY, RANKS)
    loss, terms = (
        WithDistillation(WithEntropy(weighted_cross_entropy, 0.2), 0.5),
        {"bonus": 0.2, "share": 0.5},
    )
    for dtype in (torch.float32, torch.bfloat16):
        case, _, _ = sure_case(p_y, 256, dtype)
        noise = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(1)).to(dtype) * 0.1
        teacher = replace(case, x=case.x + noise * case.x.abs().mean())
        exact = plain(case.to(torch.float64), torch.float64, teacher.to(torch.float64), **terms)
        _, _, dx, dw, _ = run(case, shards, barriers, loss, teacher)
        errors = [relative(got, want) for got, want in zip((dx.to(dtype), dw), exact[3:5], strict=True)]
        if dtype is torch.float32:
            assert max(errors) <= 2e-5, errors
        else:
            theirs = plain(case, torch.float32, teacher, **terms)
            bounds = [relative(got, want) for got, want in zip(theirs[3:5], exact[3:5], strict=True)]
            assert all(e <= b for e, b in zip(errors, bounds, strict=True)), (errors, bounds)


@pytest.mark.parametrize("barriers", [1, 2])
def test_a_target_that_neither_student_nor_teacher_expects(barriers):
    """With distillation alone a target's logit has the gradient p_y - q_y: as exact as plain PyTorch's, in its row too."""
    draws = torch.Generator().manual_seed(1)
    weight, x = torch.randn(20_011, 64, generator=draws) / 8, torch.randn(32, 64, generator=draws)
    case = Case(x, weight, torch.randint(20_011, (32,), generator=draws), torch.full((32,), 1 / 32))
    noise = torch.randn(weight.shape, generator=draws) / 80
    teacher = replace(case, weight=weight + noise)
    exact = plain(case.to(torch.float64), torch.float64, teacher.to(torch.float64), share=1.0)
    theirs = plain(case, torch.float32, teacher, share=1.0)
    *_, dx, dw, _ = run(
        case, Shards.even(20_011, 3), barriers, WithDistillation(weighted_cross_entropy, 1.0), teacher
    )
    assert relative(dx, exact[3]) <= relative(theirs[3], exact[3])
    rows = case.targets.unique()
    for of in (slice(None), rows):
        assert relative(dw[of], exact[4][of]) <= 1.2 * relative(theirs[4][of], exact[4][of])


@pytest.mark.parametrize("barriers", [1, 2])
def test_large_logits_stay_finite(barriers):
    torch.manual_seed(0)
    x, weight = torch.randn(7, 5), torch.randn(203, 5)
    case = Case(x * 4000, weight, torch.randint(203, (7,)), torch.rand(7))
    loss = WithDistillation(WithEntropy(weighted_cross_entropy, 1.0), 0.5)
    seen, value, dx, dw, _ = run(case, Shards.even(203, 3), barriers, loss, replace(case, x=-case.x))
    assert all(of.isfinite().all() for of in (seen.entropy, seen.divergence, value, dx, dw))


def test_what_a_wrapped_loss_reads_is_read():
    def ratio(lp, lse, weights, *, old):
        return LossValue((weights * (old - lp)).sum(), -weights)

    loss = WithDistillation(WithEntropy(ratio, 0.1), 0.5)
    assert data_names(loss) == ("old",) and reads_of_distribution(loss) == ("entropy", "divergence")
    ones = torch.ones(3)
    found = loss(-ones, ones, ones, old=2 * ones, entropy=4 * ones, divergence=ones)
    assert found.value.item() == pytest.approx(0.5 * (9 - 0.1 * 12) + 0.5 * 3)
    assert found.by_log_prob.tolist() == [-0.5] * 3 and found.by_divergence.tolist() == [0.5] * 3
    assert found.by_entropy.tolist() == pytest.approx([-0.05] * 3)


def test_what_cannot_be_is_refused():
    weight = torch.zeros(3, 2)
    with pytest.raises(ConfigError, match="4 rows, the student's 3"):
        DistributionHead(
            HeadShard(weight, weight.clone(), 0), teacher=Projection(torch.zeros(4, 2), None, Curve())
        )
    with pytest.raises(ConfigError, match="from 0 to 1"):
        WithDistillation(share=1.5)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_bonus_or_share_that_is_not_finite_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"bonus .* finite number, got {wrong}; give 0.01"):
        WithEntropy(bonus=wrong)
    with pytest.raises(ConfigError, match=f"share .* from 0 to 1, got {wrong}; give 0.5"):
        WithDistillation(share=wrong)
