"""S, combine, u and T with each implementation, Triton's run by its interpreter, beside plain PyTorch in fp64 and in the same
dtype."""

import functools
import math

import pytest
import torch

from pinisi.losses import cross_entropy_with
from pinisi.vocabulary import Curve, HeadShard, Shards
from pinisi.vocabulary.kernels import DTYPES as HAVE
from pinisi.vocabulary.kernels import IMPLEMENTATIONS, use

from ..simulation import Case, derivatives, relative, run_plain, run_sharded
from ..test_head import compare, draw
from ..test_losses import drawn_terms
from .compilers import compiler

VOCABULARY, TOKENS, HIDDEN = 507, 123, 252
SHARDS = Shards((0, 200, 201, 201, 507))  # an empty one and one of a single row among them
FP32_ROUNDING = torch.finfo(torch.float32).eps  # what is below it says nothing
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def pytest_generate_tests(metafunc):
    """Every test for each implementation, in each dtype that it has."""
    cases = [(name, dtype) for name in IMPLEMENTATIONS for dtype in DTYPES if dtype in HAVE.get(name, DTYPES)]
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("name,dtype", cases, indirect=["name"], ids=str)
    else:
        fit = [name for name in IMPLEMENTATIONS if needed(metafunc.function) in HAVE.get(name, DTYPES)]
        metafunc.parametrize("name", fit, indirect=True)


def needed(test):
    return torch.float16 if "fp16" in test.__name__ else torch.float32


@pytest.fixture
def name(request, monkeypatch):
    if request.param == "native":
        compiler()
    if request.param == "triton":
        pytest.importorskip("triton", minversion="3.9")  # older interpreters fail with numpy 2.4
        fused = pytest.importorskip("pinisi.vocabulary.kernels.fused")
        monkeypatch.setattr(fused, "BLOCK", 2**15)  # the interpreter takes a few milliseconds for each
    return request.param


@functools.cache
def sure_case(p_y, dtype):
    """Every seventh token is ignored; the others' rows of x point along W[y], as far as p_y needs."""
    draws = torch.Generator().manual_seed(7)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=draws, dtype=torch.float64) / math.sqrt(HIDDEN)
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=draws)
    x = 1.5 * torch.randn(TOKENS, HIDDEN, generator=draws, dtype=torch.float64)
    for _ in range(6):
        logits = x @ weight.T
        own = logits.gather(1, targets[:, None])[:, 0]
        missing = (
            logits.scatter(1, targets[:, None], -torch.inf).logsumexp(1) + math.log(p_y / (1 - p_y)) - own
        )
        x += (missing / weight[targets].square().sum(1))[:, None] * weight[targets]
    weights = torch.rand(TOKENS, generator=draws, dtype=torch.float64) / TOKENS
    targets[::7], weights[::7] = -100, 0
    case = Case(x, weight, targets, weights).to(dtype)
    return case, run_plain(case.to(torch.float64)), run_plain(case)


def assert_no_worse(got, exact, plain, fields=("lp", "dx", "dw")):
    for field in fields:
        ours, theirs = (relative(getattr(one, field), getattr(exact, field)) for one in (got, plain))
        assert ours <= max(theirs, FP32_ROUNDING), f"{field}: {ours:.3e}, plain PyTorch {theirs:.3e}"


@pytest.mark.parametrize("p_y", [0.5, 0.9999])
@pytest.mark.parametrize("barriers", [1, 2])
def test_errors_are_no_larger_than_plain_pytorchs(name, barriers, p_y, dtype):
    case, exact, plain = sure_case(p_y, dtype)
    with use(name):
        got = run_sharded(case, SHARDS, barriers)
    got.dx = got.dx.to(dtype)  # what the last stage receives
    assert_no_worse(got, exact, plain)
    assert not got.lp[::7].any() and not got.dx[::7].any()


@pytest.mark.parametrize("barriers", [1, 2])
def test_bias_scale_soft_cap_smoothing_and_z_loss_together(name, barriers, dtype):
    draws = torch.Generator().manual_seed(3)
    case, _, _ = sure_case(0.5, torch.float64)
    bias = torch.randn(VOCABULARY, generator=draws, dtype=torch.float64)
    case = Case(case.x * 2, case.weight, case.targets, case.weights, bias, 0.7, 5.0).to(dtype)
    terms = {"label_smoothing": 0.1, "z_loss": 1e-2}
    with use(name):
        got = run_sharded(case, SHARDS, barriers, loss=cross_entropy_with(VOCABULARY, **terms))
    got.dx = got.dx.to(dtype)
    exact, plain = run_plain(case.to(torch.float64), **terms), run_plain(case, **terms)
    assert_no_worse(got, exact, plain, ("lp", "dx", "dw", "db"))


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", [1, 6, 10])
def test_drawn_cases(name, seed, barriers):
    case, shards = draw(seed)
    case, terms = case.to(torch.float32), drawn_terms(seed)
    loss = cross_entropy_with(case.weight.shape[0], **terms)
    with use(name):
        compare(case, run_sharded(case, shards, barriers, loss=loss), 1e-5, **terms)


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("offsets", [(0, 1), (0, 1, 2), (0, 0, 3, 4, 4)], ids=str)
def test_shards_of_nothing_but_the_target_one_row_or_none(name, offsets, barriers):
    torch.manual_seed(offsets[-1])
    rows = offsets[-1]
    x, weight = torch.randn(9, 6).double(), torch.randn(rows, 6).double()
    weights, bias = torch.full((9,), 0.1).double(), torch.randn(rows).double()
    case = Case(x, weight, torch.arange(9) % rows, weights, bias, 0.7, 2.0).to(torch.float32)
    terms = {"label_smoothing": 0.2, "z_loss": 0.1}
    with use(name):
        got = run_sharded(case, Shards(offsets), barriers, loss=cross_entropy_with(rows, **terms))
    compare(case, got, 1e-5, **terms)


@pytest.mark.parametrize("barriers", [1, 2])
def test_a_microbatch_wholly_ignored_and_one_without_tokens(name, barriers):
    case, _, _ = sure_case(0.5, torch.bfloat16)
    for tokens in (5, 0):
        ignored = Case(case.x[:tokens], case.weight, torch.full((tokens,), -100), torch.zeros(tokens))
        with use(name):
            got = run_sharded(ignored, SHARDS, barriers)
        assert not got.lp.any() and not got.dx.any() and not got.dw.any() and got.dx.shape == (tokens, HIDDEN)


@pytest.mark.parametrize("sign", [-1, 1])
def test_logits_of_ten_thousand_stay_finite(name, sign, dtype):
    """Half of them 1e4 and half -1e4; the target's is the one or the other."""
    weight = torch.ones(40, 16).to(dtype)
    weight[::2] = -1
    x = torch.full((6, 16), 625.0).to(dtype)
    targets = torch.tensor([0, 1, 2, 39, 38, -100])
    case = Case(x * sign, weight, targets, torch.full((6,), 0.1))
    with use(name):
        got = run_sharded(case, Shards((0, 1, 20, 40)), 1)
    exact = run_plain(case.to(torch.float64))
    assert relative(got.lp, exact.lp) <= 1e-6 and got.dx.isfinite().all()
    assert relative(got.dw, exact.dw) <= 5e-3


def test_small_weights_keep_their_gradient_in_fp16(
    name,
):
    """Weights of 1e-8 a token are below fp16's least number; dW must not lose them."""
    case, exact, _ = sure_case(0.5, torch.float16)
    small = Case(case.x, case.weight, case.targets, case.weights * 1e-6)
    with use(name):
        got = run_sharded(small, SHARDS, 1)
    assert relative(got.dw * 1e6, exact.dw) <= 5e-3


@pytest.mark.parametrize("barriers,softcap", [(1, 5.0), (2, None)])
def test_what_t_makes_again_is_what_s_made(name, barriers, softcap):
    """Nothing kept (budget=0) over several tiles, as good as what is kept."""
    case, _, _ = sure_case(0.5, torch.bfloat16)
    with use(name):
        gradient = torch.zeros(VOCABULARY, HIDDEN)
        head = HeadShard(case.weight, gradient, 0, curve=Curve(1.0, softcap), barriers=barriers, budget=0)
        one = head.s(case.x, case.targets)
        assert len(one.tiles) > 1 and one.kept_bytes == 0
        head.combine(one, one.statistics[None])
        loss = derivatives(case.weights.float())
        dx = head.u(one, loss) if barriers == 1 else None
        dx = head.t(one, loss) if dx is None else (dx, head.t(one, loss))[0]
    case = Case(case.x, case.weight, case.targets, case.weights, softcap=softcap)
    exact, plain = run_plain(case.to(torch.float64)), run_plain(case)
    for field, ours in (("dx", dx.bfloat16()), ("dw", gradient)):
        assert relative(ours, getattr(exact, field)) <= relative(getattr(plain, field), getattr(exact, field))
