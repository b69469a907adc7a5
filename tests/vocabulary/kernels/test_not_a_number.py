"""What is NaN or infinite stays so: a broken token must show in its loss, and in no other token's."""

import math

import pytest
import torch

from pinisi.vocabulary import HeadShard, Shards
from pinisi.vocabulary.kernels import IMPLEMENTATIONS, Targets, kernels_for, reference, use

from ..simulation import Case, bits, derivatives, head_shards
from .compilers import compiler

VOCABULARY, TOKENS, HIDDEN = 611, 13, 20
SHARDS = Shards((0, 37, 38, 38, 611))  # an empty one and one of a single row among them
BROKEN, IGNORED = 4, (2, 7)
NAN, INF = math.nan, math.inf


@pytest.fixture
def name(request):
    if request.param == "native":
        compiler()
    if request.param == "triton":
        pytest.importorskip("triton", minversion="3.9")  # older interpreters fail with numpy 2.4
    return request.param


def case_of(dtype, softcap):
    draws = torch.Generator().manual_seed(5)
    x = torch.randn(TOKENS, HIDDEN, generator=draws)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=draws)
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=draws)
    targets[list(IGNORED)] = -100
    return Case(x, weight, targets, torch.rand(TOKENS, generator=draws), softcap=softcap).to(dtype)


def run(case, barriers, budget, name):
    """(lp, lse, dX) of all shards together."""
    loss = derivatives(torch.where(case.targets == -100, 0.0, case.weights.float()))
    with use(name):
        heads, _, _ = head_shards(case, SHARDS, barriers, budget=budget)
        passes = [head.s(case.x, case.targets) for head in heads]
        gathered = torch.stack([one.statistics for one in passes])
        seen = [head.combine(one, gathered) for head, one in zip(heads, passes, strict=True)]
        make = HeadShard.u if barriers == 1 else HeadShard.t
        dx = sum(make(head, one, loss) for head, one in zip(heads, passes, strict=True))
    return seen[0].lp, seen[0].lse, dx


@pytest.mark.parametrize("budget", [None, 0])
@pytest.mark.parametrize("softcap", [None, 4.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("name", IMPLEMENTATIONS, indirect=True)
def test_a_token_of_nan_is_nan_and_no_other(name, barriers, dtype, softcap, budget):
    case = case_of(dtype, softcap)
    whole = run(case, barriers, budget, name)
    assert all(one.isfinite().all() for one in whole)
    case.x[BROKEN, 3] = NAN
    broken = run(case, barriers, budget, name)
    others = torch.arange(TOKENS) != BROKEN
    for got, was in zip(broken, whole, strict=True):
        assert got[BROKEN].isnan().all()
        assert bits(got[others]) == bits(was[others])


@pytest.mark.parametrize("name", IMPLEMENTATIONS, indirect=True)
def test_an_ignored_token_of_nan_has_no_loss(name):
    case = case_of(torch.float32, None)
    case.x[IGNORED[0]] = NAN
    lp, lse, _ = run(case, 1, None, name)
    assert lp[IGNORED[0]] == 0 and lp.isfinite().all() and lse.isnan().nonzero().tolist() == [[IGNORED[0]]]


@pytest.mark.parametrize("name", ["native", "triton"], indirect=True)
@pytest.mark.parametrize("column", ["target", "other"])
@pytest.mark.parametrize("value", [INF, -INF, NAN])
@pytest.mark.parametrize("barriers", [1, 2])
def test_an_infinite_logit_is_what_it_is_to_the_reference(name, barriers, value, column):
    """One row's bias makes one logit of every token so; where it is not the target's, only those whose it is differ."""
    case = case_of(torch.float32, None)
    case.bias = torch.zeros(VOCABULARY)
    row = int(case.targets[BROKEN]) if column == "target" else 300
    assert (row in case.targets.tolist()) == (column == "target")
    case.bias[row] = value
    for got, want in zip(run(case, barriers, None, name), run(case, barriers, None, "torch"), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)


GATHERED = [  # m_r, s_r, l_y of two ranks, of which the first has y
    *((0.5, 2.0, one, -0.5, 3.0, -INF) for one in (1.5, INF, -INF, NAN)),
    *((0.5, one, 1.5, -0.5, 3.0, -INF) for one in (INF, NAN)),
    *((one, NAN, 1.5, -0.5, 3.0, -INF) for one in (INF, NAN, 0.5)),
    *((-0.5, 3.0, 1.5, one, NAN, -INF) for one in (INF, NAN, 0.5)),
    *((-INF, 0.0, one, -INF, 0.0, -INF) for one in (1.5, INF, NAN)),  # y is the only column
]


@pytest.mark.parametrize("name", ["native", "triton"], indirect=True)
@pytest.mark.parametrize("sums", [(), (1.0, 2.0), (NAN, 2.0), (1.0, INF)], ids=str)
@pytest.mark.parametrize("ignored", [False, True])
def test_combine_keeps_what_is_no_number(name, ignored, sums):
    gathered = torch.tensor(GATHERED).view(len(GATHERED), 2, 3).permute(1, 2, 0)
    if sums:
        more = torch.tensor(sums)[:, None, None].expand(2, 1, len(GATHERED))
        gathered = torch.cat([gathered, more], 1)
    targets = Targets(torch.full((len(GATHERED),), -100 if ignored else 3), 0, 9)
    if ignored:
        gathered = gathered.clone()
        gathered[:, 2] = -INF
    with use(name):
        got, seen = kernels_for(gathered).combine(gathered, targets)
    want, want_seen = reference.combine(gathered, targets)
    torch.testing.assert_close(seen.lp, got.lp, rtol=0, atol=0, equal_nan=True)
    assert ignored or want.lp.isnan().sum() > 6
    made, exact = (
        (of.lp, of.rest, of.probability(torch.zeros_like(of.lp)), of_seen.lse, of.logit_sum)
        for of, of_seen in ((got, seen), (want, want_seen))
    )
    for ours, theirs in zip(made, exact, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7, equal_nan=True)
