"""16 bit: errors against fp64 no larger than plain PyTorch's however sure the model is."""

import functools
import math

import pytest
import torch

from pinisi.vocabulary import Shards

from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here
from .simulation import Case, bits, derivatives, head_shards, relative, run_plain, run_sharded

VOCABULARY, TOKENS, RANKS = 8191, 32, 8
CASES = [(p_y, 256) for p_y in (0.5, 0.95, 0.985, 0.996, 0.9999)] + [(0.5, 1024), (0.9999, 1024)]


@functools.cache
def sure_case(p_y, hidden, dtype=torch.bfloat16):
    """Rows of x that point along W[y], as far as the target's probability needs."""
    draws = torch.Generator().manual_seed(hidden)
    weight = torch.randn(VOCABULARY, hidden, generator=draws, dtype=torch.float64) / math.sqrt(hidden)
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=draws)
    x = 1.5 * torch.randn(TOKENS, hidden, generator=draws, dtype=torch.float64)
    rows = torch.arange(TOKENS)
    for _ in range(6):
        logits = x @ weight.T
        own = logits[rows, targets].clone()
        logits[rows, targets] = -torch.inf
        missing = logits.logsumexp(1) + math.log(p_y / (1 - p_y)) - own
        x += (missing / weight[targets].square().sum(1)).unsqueeze(1) * weight[targets]
    case = Case(x, weight, targets, torch.full((TOKENS,), 1 / TOKENS, dtype=torch.float64)).to(dtype)
    exact = run_plain(case.to(torch.float64))
    assert torch.allclose(exact.lp.exp().mean(), torch.tensor(p_y).double(), atol=0.03 * (1 - p_y) + 0.01)
    return case, exact, run_plain(case)


@pytest.mark.parametrize("p_y,hidden", CASES)
@pytest.mark.parametrize("barriers", [1, 2])
def test_bf16_errors_are_no_larger_than_plain_pytorchs(barriers, p_y, hidden):
    case, exact, plain = sure_case(p_y, hidden)
    got = run_sharded(case, Shards.even(VOCABULARY, RANKS), barriers)
    got.dx = got.dx.bfloat16()  # what the last stage receives
    for field in ("lp", "dx", "dw"):
        ours, theirs = (relative(getattr(one, field), getattr(exact, field)) for one in (got, plain))
        assert ours <= theirs, f"{field}: {ours:.3e}, plain PyTorch {theirs:.3e}"


@pytest.mark.parametrize("p_y", [0.5, 0.9999])
def test_two_barriers_round_dx_no_more_than_one_does(p_y):
    """dX's parts are summed in fp32, like U's: a part that had been rounded to 16 bit before would show."""
    case, exact, _ = sure_case(p_y, 256)
    one, two = (
        relative(run_sharded(case, Shards.even(VOCABULARY, RANKS), barriers).dx.bfloat16(), exact.dx)
        for barriers in (1, 2)
    )
    assert two <= 1.05 * one


def naive_dx(case, shards):
    """Softmax's part and target's part summed apart, each in bf16 (arXiv 2411.05288, Algorithm 2)."""
    soft, own = torch.zeros_like(case.x), torch.zeros_like(case.x)
    logits = [case.x @ case.weight[shards.rows(r).start : shards.rows(r).stop].T for r in range(shards.ranks)]
    lse = torch.cat(logits, 1).float().logsumexp(1)
    for rank, z in enumerate(logits):
        rows, highest = shards.rows(rank), z.float().amax(1)
        part = torch.exp(z.float() - highest.unsqueeze(1)).bfloat16() @ case.weight[rows.start : rows.stop]
        soft += (part * torch.exp(highest - lse).unsqueeze(1)).bfloat16()
        mine = (case.targets >= rows.start) & (case.targets < rows.stop)
        own += case.weight[case.targets] * mine.unsqueeze(1)
    return (soft - own) / TOKENS


def test_the_naive_form_would_fail_here():
    case, exact, plain = sure_case(0.9999, 1024)
    naive = relative(naive_dx(case, Shards.even(VOCABULARY, RANKS)), exact.dx)
    assert naive > 5 * relative(plain.dx, exact.dx)


@pytest.mark.parametrize("p_y", [0.5, 0.9999])
def test_parts_of_u_may_be_summed_in_bf16(p_y):
    """A reduce in 16 bit, rank after rank, costs no more than plain PyTorch's own rounding."""
    case, exact, plain = sure_case(p_y, 1024)
    heads, _, _ = head_shards(case, Shards.even(VOCABULARY, RANKS), 1)
    passes = [head.s(case.x, case.targets) for head in heads]
    gathered = torch.stack([one.statistics for one in passes])
    seen = [head.combine(one, gathered) for head, one in zip(heads, passes, strict=True)]
    assert len({bits(one.lp) for one in seen}) == 1
    ones = derivatives(torch.ones_like(seen[0].lp))
    total = sum(head.u(one, ones).bfloat16() for head, one in zip(heads, passes, strict=True))
    assert total.dtype == torch.bfloat16
    assert relative(total.float() / TOKENS, exact.dx) <= relative(plain.dx, exact.dx)


@pytest.mark.parametrize("barriers", [1, 2])
def test_fp32_where_the_model_is_sure(barriers):
    """1 - p_y must not cancel: 1e-5 of a gradient that is 1e-4 of W[y]."""
    case, exact, _ = sure_case(0.9999, 256, torch.float32)
    got = run_sharded(case, Shards.even(VOCABULARY, RANKS), barriers)
    assert relative(got.dx, exact.dx) <= 1e-5 and relative(got.dw, exact.dw) <= 1e-5
    assert relative(got.lp, exact.lp) <= 1e-5


@pytest.mark.parametrize("barriers", [1, 2])
def test_fp16_small_weights_keep_their_gradient(barriers):
    """Weights of 1e-8 a token are below fp16's least number; dW must not lose them."""
    case, exact, _ = sure_case(0.5, 256, torch.float16)
    case = Case(case.x, case.weight, case.targets, torch.full((TOKENS,), 1e-8, dtype=torch.float64))
    got = run_sharded(case, Shards.even(VOCABULARY, RANKS), barriers)
    assert relative(got.dw * 1e8 / TOKENS, exact.dw) <= 5e-3
