"""What the head does on a GPU, without one: every tensor says that it is on one, products that only CUDA has are made up, and
Triton's kernels, chosen for it by themselves, are interpreted."""

import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

from pinisi.losses import cross_entropy_with
from pinisi.vocabulary import Curve, HeadShard
from pinisi.vocabulary.kernels import use
from pinisi.vocabulary.products import adds_to_wide

from ..simulation import Case, relative, run_plain

pytest.importorskip("triton", minversion="3.9")  # older interpreters fail with numpy 2.4

VOCABULARY, TOKENS, HIDDEN = 2503, 41, 36
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


class Pretended(TorchFunctionMode):
    """A CPU that calls itself a GPU.

    adds_to_wide: addmm takes a sum in fp32, as in newer torch. wide_products: how many products were asked for with another
    dtype than their factors'.
    """

    wide_products = 0

    def __init__(self, adds_to_wide: bool) -> None:
        super().__init__()
        self.adds_to_wide = adds_to_wide

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = dict(keywords or {})
        if function == torch.Tensor.device.__get__:
            return torch.device("cuda")
        if keywords.get("device") is not None:
            keywords["device"] = "cpu"
        dtype = keywords.pop("out_dtype", None)
        if dtype is not None:
            assert function in (torch.mm, torch.addmm) and dtype == torch.float32
            assert {one.dtype for one in arguments[-2:]} <= {torch.bfloat16, torch.float16}
            if function is torch.addmm and not self.adds_to_wide:
                raise RuntimeError("self and mat2 must have the same dtype")
            self.wide_products += 1
            arguments = [one.to(dtype) for one in arguments]
        return function(*arguments, **keywords)


def drawn(dtype, softcap):
    draws = torch.Generator().manual_seed(11)
    x, weight, bias = (
        torch.randn(*size, generator=draws, dtype=torch.float64)
        for size in ((TOKENS, HIDDEN), (VOCABULARY, HIDDEN), (VOCABULARY,))
    )
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=draws)
    weights = torch.rand(TOKENS, generator=draws, dtype=torch.float64) / TOKENS
    targets[::5], weights[::5] = -100, 0
    return Case(x, 2 * weight / math.sqrt(HIDDEN), targets, weights, bias / 4, 0.7, softcap).to(dtype)


def run(case, barriers, loss, budget):
    gradient = torch.zeros(VOCABULARY, HIDDEN)
    db = torch.zeros(VOCABULARY)
    head = HeadShard(
        case.weight, gradient, 0, bias=case.bias, bias_gradient=db, curve=Curve(case.scale, case.softcap),
        barriers=barriers, budget=budget,
    )  # fmt: skip
    one = head.s(case.x, case.targets, logit_sum=True)
    seen = head.combine(one, one.statistics[None])
    value = loss(seen.lp, seen.lse, case.weights, logit_sum=seen.logit_sum)
    kept = [tile.kept.columns for tile in one.tiles if tile.kept is not None]
    dx = head.u(one, value) if barriers == 1 else None
    from_t = head.t(one, value)
    return seen.lp, from_t if dx is None else dx, gradient, db, kept


@pytest.mark.parametrize(
    "kernels,dtype,barriers,softcap,budget",
    [("triton", dtype, 1, None, None) for dtype in DTYPES]
    + [("triton", dtype, 2, 5.0, None) for dtype in DTYPES]
    + [("triton", torch.float16, 1, 5.0, 0), ("triton", torch.bfloat16, 2, None, 0)]
    + [("torch", torch.bfloat16, 1, 5.0, None), ("torch", torch.bfloat16, 2, None, 0)],
    ids=str,
)
def test_the_gpus_path_is_no_worse_than_plain_pytorch(kernels, dtype, barriers, softcap, budget):
    case, terms = drawn(dtype, softcap), {"label_smoothing": 0.1, "z_loss": 1e-2}
    loss = cross_entropy_with(VOCABULARY, **terms)
    adds_to_wide.cache_clear()
    with Pretended(adds_to_wide=barriers == 1) as gpu:
        if kernels == "triton":
            lp, dx, dw, db, kept = run(case, barriers, loss, budget)
        else:
            with use("torch"):
                lp, dx, dw, db, kept = run(case, barriers, loss, budget)
    assert (gpu.wide_products > 0) == (dtype != torch.float32)
    if budget is None:
        assert all(tile.stride(0) % 64 == 0 for tile in kept)
    exact, plain = run_plain(case.to(torch.float64), **terms), run_plain(case, **terms)
    least = torch.finfo(torch.float32).eps
    for field, ours in (("lp", lp), ("dx", dx.to(dtype)), ("dw", dw), ("db", db)):
        theirs = relative(getattr(plain, field), getattr(exact, field))
        assert relative(ours, getattr(exact, field)) <= max(theirs, 2 * least), field
