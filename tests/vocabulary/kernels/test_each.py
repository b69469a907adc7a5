"""Each kernel in C++ and each of Triton's, run by its interpreter, against the same in fp64."""

from importlib import import_module

import pytest
import torch

from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.kernels import DTYPES as HAVE
from pinisi.vocabulary.kernels import Targets, reference
from pinisi.vocabulary.statistics import Combined
from pinisi.vocabulary.tiles import Curve

from ..simulation import bits, relative
from .compilers import compiler

TOKENS, COLUMNS, HIDDEN = 29, 131, 61
SCRATCH = Scratch()
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 3e-3, torch.float16: 4e-4}  # of one number, at most


def pytest_generate_tests(metafunc):
    """Every test for both, in each dtype that they have."""
    cases = [(name, dtype) for name in ("native", "triton") for dtype in DTYPES if dtype in HAVE[name]]
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("kernels,dtype", cases, indirect=["kernels"], ids=str)
    else:
        metafunc.parametrize("kernels", ["native", "triton"], indirect=True)


@pytest.fixture
def kernels(request):
    torch.manual_seed(0)
    if request.param == "native":
        compiler()
        return import_module("pinisi.vocabulary.kernels.native")
    pytest.importorskip("triton", minversion="3.9")  # older interpreters fail with numpy 2.4
    return pytest.importorskip("pinisi.vocabulary.kernels.fused")


def smaller(monkeypatch, kernels, name, value):
    """Triton's programs cut rows in pieces of that size."""
    if hasattr(kernels, name):
        monkeypatch.setattr(kernels, name, value)


def targets_around(rows=COLUMNS, start=100):
    """Some in the shard, at its edges too, some before and after it, some ignored."""
    ids = torch.randint(0, 2 * rows + start, (TOKENS,))
    ids[:6] = torch.tensor([start, start + rows - 1, start - 1, start + rows, -100, 0])
    return Targets(ids, start, rows)


@pytest.mark.parametrize("held,looped", [(16384, 4096), (64, 32)], ids=["held", "looped"])
@pytest.mark.parametrize("curve", [Curve(), Curve(0.7), Curve(0.7, 5.0)], ids=str)
def test_exponentials_and_their_statistics(kernels, dtype, curve, held, looped, monkeypatch):
    smaller(monkeypatch, kernels, "HELD", held)
    smaller(monkeypatch, kernels, "LOOPED", looped)
    z, targets, floor = (
        4 * torch.randn(TOKENS, COLUMNS),
        targets_around(COLUMNS + 20),
        2 * torch.randn(TOKENS),
    )
    z, first = z.to(dtype), 9
    found, want = [], []
    for to, of, kind in ((found, kernels, None), (want, reference, torch.float64)):
        logits = z.clone() if kind is None else z.to(kind)
        vector = torch.ones(TOKENS, dtype=kind)
        more = (None, None) if curve.softcap is None else (vector, torch.empty_like(logits))
        out, statistics = torch.empty_like(logits), vector.new_empty(2, TOKENS)
        of.exponentiate_(
            logits, out, targets, first, statistics, floor.to(vector.dtype), curve, SCRATCH, *more
        )
        to += [out, *statistics]
        to += [one for one in more if one is not None]
    for ours, exact, limit in zip(
        found, want, (ROUNDING[dtype], 1e-6, 1e-6, 1e-6, ROUNDING[dtype]), strict=False
    ):
        assert relative(ours, exact) <= limit
    rows = targets.own.nonzero()[:, 0]
    inside = (targets.local[rows] >= first) & (targets.local[rows] < first + COLUMNS)
    assert inside.any() and not found[0][rows[inside], targets.local[rows[inside]] - first].any()


@pytest.mark.parametrize("curve", [Curve(), Curve(0.7), Curve(1.0, 1e3), Curve(-1.0)], ids=str)
def test_a_target_far_above_does_not_hide_the_others(kernels, dtype, curve):
    z, targets = torch.randn(TOKENS, COLUMNS).to(dtype), targets_around()
    rows = targets.own.nonzero()[:, 0]
    z[rows, targets.local[rows]] = 300.0 if curve.scale > 0 else -300.0
    maximum, total = statistics = torch.empty(2, TOKENS)
    kernels.exponentiate_(z.clone(), z.clone(), targets, 0, statistics, None, curve, SCRATCH)
    exact, _ = curve.logits_(z.double())
    exact[rows, targets.local[rows]] = -torch.inf
    assert relative(maximum, exact.amax(1)) <= 1e-6
    assert relative(total, (exact - maximum.double()[:, None]).exp().sum(1)) <= 1e-5


@pytest.mark.parametrize("curve", [Curve(), Curve(0.7, 5.0)], ids=str)
def test_exponentials_made_again_are_the_same_bits(kernels, dtype, curve, monkeypatch):
    smaller(monkeypatch, kernels, "LOOPED", 64)  # several programs for a row
    z, targets = (4 * torch.randn(TOKENS, COLUMNS)).to(dtype), targets_around(COLUMNS + 20)
    once, again = z.clone(), torch.empty_like(z)
    maximum, _ = statistics = torch.empty(2, TOKENS)
    kernels.exponentiate_(once, once, targets, 9, statistics, None, curve, SCRATCH)
    kernels.exponentiate_again_(z, again, targets, 9, maximum, curve, SCRATCH)
    assert bits(once.float()) == bits(again.float())
    mix = (torch.rand(TOKENS), torch.randn(TOKENS))
    kernels.exponentiate_again_(z, again, targets, 9, maximum, curve, SCRATCH, mix)
    exact, mixed = z.double(), [one.double() for one in mix]
    reference.exponentiate_again_(exact, exact, targets, 9, maximum.double(), curve, SCRATCH, mixed)
    assert relative(again, exact) <= ROUNDING[dtype]


def test_a_soft_cap_is_as_exact_as_torchs_tanh(kernels):
    z = torch.cat((torch.linspace(-1, 1, 4001), torch.linspace(-12, 12, 4001), torch.tensor([300.0, -1e4])))[
        None
    ]
    targets, slopes, logit_sum = (
        Targets(torch.tensor([-100]), 0, z.shape[1]),
        torch.empty_like(z),
        torch.zeros(1),
    )
    statistics = torch.empty(2, 1)
    kernels.exponentiate_(
        z.clone(), z.clone(), targets, 0, statistics, None, Curve(1.0, 1.0), SCRATCH, logit_sum, slopes
    )
    exact = 1 / torch.cosh(z.double()) ** 2
    assert ((slopes - exact).abs() <= 3e-6 * exact + 1e-38).all()
    assert abs(float(logit_sum) - float(torch.tanh(z.double()).sum())) <= 1e-4


@pytest.mark.parametrize("curve", [Curve(), Curve(0.7, 5.0)], ids=str)
def test_target_logits_are_sums_in_fp32(kernels, dtype, curve):
    x, weight, bias = (
        torch.randn(*size).to(dtype) for size in ((TOKENS, HIDDEN), (COLUMNS, HIDDEN), (COLUMNS,))
    )
    targets = targets_around()
    for of_bias in (None, bias):
        statistics = torch.full((4, TOKENS), 7.0)
        slopes = kernels.target_logits(x, weight, of_bias, targets, statistics, curve, SCRATCH)
        exact_bias, exact = None if of_bias is None else of_bias.double(), statistics.double()
        exact_slopes = reference.target_logits(
            x.double(), weight.double(), exact_bias, targets, exact, curve, SCRATCH
        )
        for ours, want in ((statistics[2], exact[2]), (slopes, exact_slopes)):
            assert relative(ours[targets.own], want[targets.own]) <= 1e-6
        for ours, slope in ((statistics, slopes), (exact, exact_slopes)):
            assert (ours[2][~targets.own] == -torch.inf).all() and not slope[~targets.own].any()
        assert (statistics[[0, 1, 3]] == 7).all(), "its own row only"


@pytest.mark.parametrize("statistics", [3, 4])
def test_combine_over_all_margins(kernels, statistics):
    """p_y from e^-150 to 1 - e^-80, tokens without any other column, ignored ones."""
    margin = torch.cat((torch.linspace(-80, 150, 400), torch.tensor([-torch.inf, 0.0, 3.0])))
    gathered = torch.randn(3, statistics, len(margin)).mul_(3)
    gathered[:, 1].abs_()
    gathered[:, 2] = -torch.inf
    others = gathered[:, 0] + gathered[:, 1].log()
    gathered[1, 2] = others.logsumexp(0) - margin
    gathered[:, 0, -3], gathered[:, 1, -3], gathered[1, 2, -3] = torch.finfo(torch.float32).min, 0, 2.5
    ids = torch.arange(len(margin))
    ids[-2:], gathered[:, 2, -2:] = -100, -torch.inf
    targets = Targets(ids, 0, 7)
    found, seen = kernels.combine(gathered, targets)
    exact, exact_seen = reference.combine(gathered.double(), targets)
    for kept, given in ((found.lp, seen.lp), (found.logit_sum, seen.logit_sum)):
        assert (kept is None) == (given is None) == (kept is found.logit_sum and statistics == 3)
        assert kept is None or (torch.equal(kept, given) and kept.data_ptr() != given.data_ptr())
    limit = 2e-6 + 3e-7 * margin.abs().clamp(max=200)  # what a margin's own rounding does
    for ours, want in ((found.lp, exact.lp), (found.rest, exact.rest)):
        assert ((ours - want).abs() <= limit * want.abs() + 1e-37).all()
    assert ((seen.lse - exact_seen.lse).abs() <= 3e-7 * exact_seen.lse.abs() + 1e-6).all()
    assert (
        torch.equal(found.base.double(), exact.base) and ((found.unit / exact.unit - 1).abs() <= 2e-6).all()
    )
    assert statistics == 3 or relative(found.logit_sum, exact.logit_sum) <= 1e-6


def test_coefficients_and_factors(kernels):
    targets = targets_around()
    g, k, e, slope = torch.rand(4, TOKENS).double().unbind()
    lp, base, (rest, unit) = -5 * torch.rand(TOKENS), torch.randn(TOKENS) + 90, torch.rand(2, TOKENS)
    maximum, *_ = statistics = 90 * torch.rand(3, TOKENS)
    ours = Combined(lp, rest, base, unit)
    exact = Combined(*(one.double() for one in ours[:4]))
    for more in ((), (k,), (k, e), (None, e)):
        found = kernels.coefficients(targets, ours, statistics, slope.float(), 0.7, -g, *more)
        want = reference.coefficients(targets, exact, statistics.double(), slope, 0.7, -g, *more)
        for one, other in zip(found, want, strict=True):
            assert (one is None) == (other is None)
            assert one is None or relative(one, other) <= 3e-6
        assert not found[0][~targets.valid].any() and not found[1][~targets.valid].any()
    found, want = (
        of.factor(m, c, s, 0.7)
        for of, m, c, s in (
            (kernels, maximum, ours, found[0]),
            (reference, maximum.double(), exact, want[0]),
        )
    )
    inside = want > 1e-30
    assert ((found - want)[inside].abs() <= 5e-6 * want[inside]).all()


def one_after_the_other(gradient, bias_gradient, product, x, targets, target):
    gradient += product
    reference.add_target_rows_(gradient, bias_gradient, x, targets, target, SCRATCH)


def test_rows_of_tokens(kernels, dtype, monkeypatch):
    """finished, added, scaled, add_target_rows_, add_with_target_rows_, add_column_sums_; rows in several programs."""
    smaller(monkeypatch, kernels, "WIDEST", 32)
    x, weight, columns = (
        torch.randn(n, w).to(dtype) for n, w in ((TOKENS, HIDDEN), (COLUMNS, HIDDEN), (TOKENS, 70))
    )
    factor, target, product, gradient = (
        torch.randn(*size) for size in ((TOKENS,), (TOKENS,), (TOKENS, HIDDEN), (COLUMNS, HIDDEN))
    )
    targets, bias_gradient, sums = targets_around(), torch.randn(COLUMNS), torch.randn(70)
    targets.ids[7:11] = 123  # several tokens of one target
    assert bits(kernels.scaled(x, factor, SCRATCH).float()) == bits((x * factor[:, None]).to(dtype).float())
    everywhere = torch.tensor(0.3).expand(TOKENS)
    assert bits(kernels.scaled(x, everywhere, SCRATCH).float()) == bits((x * 0.3).to(dtype).float())
    results = []
    for of, kind in ((kernels, torch.float32), (reference, torch.float64)):
        p, d, b, s, f, t = (
            one.to(kind, copy=True) for one in (product, gradient, bias_gradient, sums, factor, target)
        )
        a, w, c = (one if of is kernels else one.double() for one in (x, weight, columns))
        assert of.finished(p, w, targets, f, t, SCRATCH) is p
        of.finished(p, w, targets, None, t, SCRATCH)
        of.add_target_rows_(d, b, a, targets, t, SCRATCH)
        of.add_target_rows_(d, None, a, targets, t, SCRATCH)
        if kernels.add_with_target_rows_ is not None:
            both = of.add_with_target_rows_ or one_after_the_other
            some = slice(17, 40)  # of the shard's rows, among them the one of several tokens
            among = targets.among(some.start, some.stop - some.start)
            both(d, b, w, a, targets, t)
            both(d[some], b[some], w[some], a, among, t)
            both(d[some], None, w[some], a, among, t)
        of.add_column_sums_(s, c, f, SCRATCH)
        of.add_column_sums_(s, c, None, SCRATCH)
        narrow = of.finished(a.clone(), w, targets, f, t, SCRATCH)
        assert narrow.dtype == kind
        assert of.added(p, a, f, SCRATCH) is p
        of.added(p, a, None, SCRATCH)
        fresh = [of.added(None, a, by, SCRATCH) for by in (f, None)]
        results.append((p, d, b, s, narrow, *fresh))
    for ours, exact in zip(*results, strict=True):
        assert relative(ours, exact) <= 1e-6


@pytest.mark.parametrize("curve", [Curve(), Curve(0.7, 5.0)], ids=str)
def test_views_with_a_stride_are_read_and_written_in_place(kernels, dtype, curve):
    """A tile's rows may begin further apart than they are long, as on a GPU."""
    wide, targets, factor = torch.randn(TOKENS, 192).to(dtype), targets_around(), torch.rand(TOKENS)
    tile, alone = wide[:, :COLUMNS], wide[:, :COLUMNS].clone()
    beside = wide[:, COLUMNS:].clone()
    for z in (tile, alone):
        maximum, _ = statistics = torch.empty(2, TOKENS)
        kernels.exponentiate_(z, z, targets, 0, statistics, None, curve, SCRATCH)
        assert kernels.scaled(z, factor, SCRATCH, z) is z
        kernels.exponentiate_again_(z, z, targets, 0, maximum, curve, SCRATCH)
    assert bits(tile.float()) == bits(alone.float())
    assert bits(wide[:, COLUMNS:].float()) == bits(beside.float())
