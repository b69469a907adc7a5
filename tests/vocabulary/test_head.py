"""S, T, combine and u over drawn cases, against plain PyTorch's cross-entropy and autograd in fp64."""

import gc
import math
import random
from dataclasses import replace

import pytest
import torch

from pinisi.losses import token_weights
from pinisi.vocabulary import Curve, HeadShard, Shards
from pinisi.vocabulary.buffers import CPU_BLOCK
from pinisi.vocabulary.statistics import combine_statistics
from pinisi.vocabulary.tiles import tile_bounds

from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here
from .simulation import Case, bits, derivatives, head_shards, relative, run_plain, run_sharded, wide

LIMIT = {torch.float32: 1e-5, torch.float64: 1e-11}
PRIMES = (7, 131, 509, 4099, 8209)


def draw(seed):
    """A case and its shards; sizes that divide nothing, everything optional now and then."""
    draws, torch_draws = random.Random(seed), torch.Generator().manual_seed(seed)
    vocabulary, tokens, hidden = draws.choice(PRIMES), draws.choice((1, 3, 29, 67)), draws.choice((5, 33, 61))

    def normal(*shape):
        return torch.randn(*shape, generator=torch_draws, dtype=torch.float64)

    targets = torch.randint(vocabulary, (tokens,), generator=torch_draws)
    if draws.random() < 0.5:
        targets[torch.rand(tokens, generator=torch_draws) < 0.3] = -100
    weights = torch.rand(tokens, generator=torch_draws, dtype=torch.float64) if draws.random() < 0.5 else None
    case = Case(
        normal(tokens, hidden),
        normal(vocabulary, hidden) * draws.choice((0.1, 1.0)),
        targets,
        token_weights(targets, weights, 17.0),
        bias=normal(vocabulary) if draws.random() < 0.5 else None,
        scale=draws.choice((1.0, 1.0, 0.37)),
        softcap=draws.choice((None, None, 3.0, 30.0)),
    )
    ranks = draws.randint(1, 5)
    shares = [draws.choice((0, 0, 1, 5, 9)) for _ in range(ranks)]
    shares[draws.randrange(ranks)] += 1
    uneven = draws.random() < 0.7
    return case, Shards.weighted(vocabulary, shares) if uneven else Shards.even(vocabulary, ranks)


def compare(case, got, limit, **loss):
    want = run_plain(case.to(torch.float64), **loss)
    assert relative(got.lp, want.lp) <= limit
    assert relative(got.dx, want.dx) <= limit
    assert relative(got.dw, want.dw) <= limit
    if case.bias is not None:
        assert relative(got.db, want.db) <= limit
    assert math.isclose(got.loss, want.loss, rel_tol=limit, abs_tol=1e-30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("budget", [None, 0])
@pytest.mark.parametrize("barriers", [1, 2])
def test_autograd_records_nothing(barriers, budget, softcap, dtype):
    """Whatever of what it is given asks for gradients: they would be kept, or find the gradient buffer changed in place. Nor does
    it see what a loss does with its own lp and lse."""
    x, weight, bias, g, k, e = (torch.randn(*of) for of in ((9, 5), (11, 5), (11,), (9,), (9,), (9,)))
    results = []
    for asks in (False, True):
        gradient, bias_gradient = torch.zeros(11, 5, dtype=wide(dtype)), torch.zeros(11, dtype=wide(dtype))
        shard = HeadShard(
            weight.to(dtype).requires_grad_(asks),
            gradient,
            0,
            bias=bias.to(dtype).requires_grad_(asks),
            bias_gradient=bias_gradient,
            curve=Curve(1.0, softcap),
            barriers=barriers,
            budget=budget,
        )
        one = shard.s(x.to(dtype).requires_grad_(asks), torch.arange(9), logit_sum=True)
        gathered = one.statistics.unsqueeze(0).clone().requires_grad_(asks)
        found = shard.combine(one, gathered)
        read = [found.lp, found.lse, found.logit_sum]
        results.append([of.clone() for of in read])
        assert not any(of.requires_grad for of in read)
        of_loss = derivatives(*(of.to(wide(dtype)).requires_grad_(asks) * 2 for of in (g, k, e)))
        if asks:
            for of in read:
                of.add_(1).requires_grad_()
        made = [shard.u(one, of_loss)] if barriers == 1 else []
        late = shard.t(one, of_loss)
        results[-1] += [*made, *([] if late is None else [late]), gradient, bias_gradient]
    assert results[1][-2].any() and not any(of.requires_grad for of in results[1])
    for one, other in zip(*results, strict=True):
        assert bits(one) == bits(other)


@pytest.mark.parametrize("barriers", [1, 2])
def test_other_tensors_than_before_are_seen(barriers):
    """After `weights_changed`, as other values in the same tensors are."""
    case, _ = draw(4)
    case = case.to(torch.float32)
    shards = Shards.even(len(case.weight), 1)
    (shard,), _, _ = head_shards(replace(case, weight=-case.weight), shards, barriers)
    shard.s(case.x, case.targets)
    fresh = run_sharded(case, shards, barriers)
    shard.weight, shard.gradient = case.weight, torch.zeros_like(case.weight)
    shard.weights_changed()
    one = shard.s(case.x, case.targets)
    lp = shard.combine(one, one.statistics.unsqueeze(0)).lp
    loss = derivatives(case.weights)
    dx = [shard.u(one, loss) if barriers == 1 else None, shard.t(one, loss)][barriers - 1]
    for got, want in ((lp, fresh.lp), (dx, fresh.dx), (shard.gradient, fresh.dw)):
        assert bits(got) == bits(want)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(24))
def test_gradients_are_those_of_the_undivided_head(seed, barriers, dtype):
    case, shards = draw(seed)
    case = case.to(dtype)
    compare(case, run_sharded(case, shards, barriers), LIMIT[dtype])


def test_several_tiles_of_one_shard_are_tried():
    assert len(tile_bounds(8209, torch.device("cpu"))) == 2
    for rows in (0, 1, 63, 8192, 8193, 75_968):
        covered = [
            row for start, stop in tile_bounds(rows, torch.device("cpu")) for row in range(start, stop)
        ]
        assert covered == list(range(rows))


@pytest.mark.parametrize("barriers", [1, 2])
def test_t_of_several_microbatches_runs_late_and_in_any_order(barriers):
    """All S first, T last and backwards, into one gradient buffer that already holds something."""
    torch.manual_seed(0)
    shards, weight = Shards.weighted(131, [3, 0, 5]), torch.randn(131, 17, dtype=torch.float64)
    cases = [
        Case(
            torch.randn(tokens, 17, dtype=torch.float64),
            weight,
            torch.randint(131, (tokens,)),
            torch.rand(tokens, dtype=torch.float64),
        )
        for tokens in (5, 11, 11, 2)
    ]
    gradient = torch.ones_like(weight)  # tied: the embedding's gradient may be there before
    heads, gradient, _ = head_shards(cases[0], shards, barriers, gradient)
    passes = [[head.s(case.x, case.targets) for head in heads] for case in cases]
    for of_all_ranks in passes:
        gathered = torch.stack([one.statistics for one in of_all_ranks])
        for head, one in zip(heads, of_all_ranks, strict=True):
            head.combine(one, gathered)
    dx = [0.0] * len(cases)
    for i in reversed(range(len(cases))):
        for head, one in zip(heads, passes[i], strict=True):
            ones = derivatives(torch.ones_like(cases[i].weights))  # as of a loss that is known only later
            part = head.u(one, ones) * cases[i].weights.unsqueeze(1) if barriers == 1 else 0.0
            from_t = head.t(one, derivatives(cases[i].weights))
            dx[i] += part if barriers == 1 else from_t
    wanted = [run_plain(case) for case in cases]
    for got, want in zip(dx, wanted, strict=True):
        assert relative(got, want.dx) <= 1e-11
    assert relative(gradient - 1, sum(want.dw for want in wanted)) <= 1e-11


@pytest.mark.parametrize("barriers", [1, 2])
def test_all_tokens_ignored_and_no_tokens_add_nothing(barriers):
    for targets in (torch.full((3,), -100), torch.empty(0, dtype=torch.long)):
        case = Case(torch.randn(len(targets), 5), torch.randn(11, 5), targets, torch.ones(len(targets)))
        got = run_sharded(case, Shards.weighted(11, [1, 0, 2]), barriers)
        assert not got.lp.any() and not got.dx.any() and not got.dw.any() and got.loss == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("offsets", [(0, 1), (0, 1, 2), (0, 1, 2, 3), (0, 0, 3, 4, 4), (0, 5, 6)], ids=str)
def test_shards_of_one_row_or_nothing_but_the_target(offsets, barriers, dtype):
    torch.manual_seed(offsets[-1])
    vocabulary = offsets[-1]
    case = Case(
        torch.randn(9, 6, dtype=torch.float64),
        torch.randn(vocabulary, 6, dtype=torch.float64),
        torch.arange(9) % vocabulary,
        torch.full((9,), 0.1, dtype=torch.float64),
    ).to(dtype)
    got = run_sharded(case, Shards(offsets), barriers)
    want = run_plain(case.to(torch.float64))
    limit = {torch.bfloat16: 3e-2, torch.float16: 4e-3}.get(dtype) or LIMIT[dtype]
    for field in ("lp", "dx", "dw"):
        error = (getattr(got, field).double() - getattr(want, field)).norm()
        assert error <= limit * getattr(want, field).norm() + 1e-30  # V = 1: everything is 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_huge_logits_stay_finite_and_right(sign, barriers, dtype):
    """Logits of ±1e4, the target on top and at the bottom."""
    x = torch.tensor([[100.0], [100.0], [-100.0]], dtype=dtype)
    weight = torch.tensor([100.0, -100.0, 0.5, 99.5, -3.0], dtype=dtype).unsqueeze(1) * sign
    case = Case(x, weight, torch.tensor([0, 1, 3]), torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64))
    got = run_sharded(case, Shards((0, 1, 1, 3, 5)), barriers)
    want = run_plain(case.to(torch.float64))
    for field in ("lp", "dx", "dw"):
        assert getattr(got, field).isfinite().all()
        # Logits of 1e4 have steps of 64 in bf16: lp is off by half a step, as in any 16-bit head.
        step = 32.0 if field == "lp" and dtype == torch.bfloat16 else 4.0 if field == "lp" else 0.0
        tolerance = step if dtype.itemsize == 2 else 0.0
        assert torch.allclose(
            getattr(got, field).double(), getattr(want, field), rtol=1e-6, atol=tolerance + 1e-6
        )


@pytest.mark.parametrize("barriers", [1, 2])
def test_rows_switched_off_by_a_bias_of_minus_infinity(barriers):
    """A whole shard at -inf sends a statistic of the least number and no sum."""
    bias = torch.tensor([-torch.inf] * 4 + [0.5, 1.5, -0.5], dtype=torch.float64)
    case = Case(
        torch.randn(5, 3, dtype=torch.float64),
        torch.randn(7, 3, dtype=torch.float64),
        torch.tensor([4, 5, 6, 4, 5]),
        torch.full((5,), 0.2, dtype=torch.float64),
        bias=bias,
    )
    compare(case, run_sharded(case, Shards((0, 2, 4, 7)), barriers), 1e-11)


def test_statistics_of_minus_infinity_combine():
    gathered = torch.tensor([[[-torch.inf], [0.0], [-torch.inf]], [[2.0], [1.0], [3.0]]])
    (lp, rest, *_), lse = combine_statistics(gathered, torch.tensor([True]))
    assert math.isclose(lse.item(), math.log(math.exp(2) + math.exp(3)), rel_tol=1e-6)
    assert math.isclose(lp.item(), 3 - lse.item(), rel_tol=1e-5)
    assert math.isclose(rest.item(), 1 - math.exp(lp.item()), rel_tol=1e-5)


def test_a_nan_is_not_hidden():
    case = Case(torch.full((2, 3), torch.nan), torch.randn(5, 3), torch.tensor([1, 4]), torch.ones(2))
    assert run_sharded(case, Shards.even(5, 2), 1).loss.isnan()


@pytest.mark.parametrize("barriers", [1, 2])
def test_evaluation_keeps_nothing_and_sees_the_same_lp(barriers):
    case, shards = draw(3)
    heads, _, _ = head_shards(case, shards, barriers)
    passes = [head.s(case.x, case.targets, keep=False) for head in heads]
    gathered = torch.stack([one.statistics for one in passes])
    lp = heads[0].combine(passes[0], gathered).lp
    assert torch.equal(lp, run_sharded(case, shards, barriers).lp)
    assert all(one.buffer is None and not one.tiles and one.product is None for one in passes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("budget", [None, 0])
def test_training_goes_on_after_an_evaluation_in_inference_mode(barriers, budget, dtype):
    """Buffers stay, and torch refuses to write to a tensor of that mode outside of it."""
    draws = torch.Generator().manual_seed(7)
    weight, x = (
        torch.randn(131, 33, generator=draws).to(dtype),
        torch.randn(29, 33, generator=draws).to(dtype),
    )
    gradient, targets = torch.zeros(131, 33), torch.arange(29)
    head = HeadShard(weight, gradient, 0, barriers=barriers, budget=budget)
    found = []
    for mode in (True, False):
        with torch.inference_mode(mode):
            one = head.s(x, targets)
            head.combine(one, one.statistics[None])
            dx = head.u(one, derivatives(torch.ones(29))) if barriers == 1 else None
            of_t = head.t(one, derivatives(torch.ones(29)))
            found.append([bits(gradient), bits(of_t if dx is None else dx)])
            gradient.zero_()
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("softcap, budget", [(None, None), (None, 0), (4.0, None)])
def test_torchs_default_dtype_changes_no_bit(softcap, budget, barriers, dtype):
    """A program may set it to the model's."""
    weight, x, targets = torch.randn(131, 33).to(dtype), torch.randn(29, 33).to(dtype), torch.arange(29)
    loss = derivatives(*torch.rand(3, 29, dtype=wide(dtype)).unbind())
    before, found = torch.get_default_dtype(), []
    try:
        for default in (torch.float32, torch.bfloat16, torch.float64):
            torch.set_default_dtype(default)
            gradient, db = torch.zeros(131, 33, dtype=wide(dtype)), torch.zeros(131, dtype=wide(dtype))
            more = {"bias": weight[:, 0].contiguous(), "bias_gradient": db}
            head = HeadShard(
                weight, gradient, 0, barriers=barriers, budget=budget, curve=Curve(1.0, softcap), **more
            )
            one = head.s(x, targets, logit_sum=True)
            seen = head.combine(one, one.statistics[None])
            dx = head.u(one, loss) if barriers == 1 else None
            of_t = head.t(one, loss)
            made = (seen.lp, seen.lse, seen.logit_sum, gradient, db, of_t if dx is None else dx)
            found.append([(of.dtype, bits(of)) for of in made])
    finally:
        torch.set_default_dtype(before)
    assert found[1] == found[0] and found[2] == found[0]


def storages():
    """Every tensor of this process, by where its memory is: other tests may have left some."""
    return {t.untyped_storage().data_ptr(): t for t in gc.get_objects() if type(t) is torch.Tensor}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_one_buffer_of_logits_in_the_models_dtype_outlives_s(dtype):
    tokens = 277
    case = Case(torch.randn(tokens, 16), torch.randn(5003, 16), torch.arange(tokens), torch.ones(tokens)).to(
        dtype
    )
    (head,), _, _ = head_shards(case, Shards.even(5003, 1), 1)
    gc.collect()
    before = set(storages())
    one = head.s(case.x, case.targets)
    alive = {place: t for place, t in storages().items() if place not in before}
    large = [t for t in alive.values() if t.untyped_storage().nbytes() > 4 * CPU_BLOCK]
    assert {t.untyped_storage().nbytes() for t in large} == {tokens * 5003 * dtype.itemsize}
    assert len(large) == 1 and one.tiles[0].kept.columns.untyped_storage().data_ptr() in alive


def test_only_minus_infinity_besides_the_target():
    gathered = torch.tensor([[[-torch.inf], [0.0], [3.0]], [[-torch.inf], [0.0], [-torch.inf]]])
    (lp, rest, *_), lse = combine_statistics(gathered, torch.tensor([True]))
    assert (lp.item(), lse.item(), rest.item()) == (0.0, 3.0, 0.0)


@pytest.mark.parametrize("barriers", [1, 2])
def test_what_a_loss_says_of_ignored_tokens_does_not_matter(barriers):
    case = Case(torch.randn(3, 5), torch.randn(11, 5), torch.tensor([2, -100, 9]), torch.ones(3))
    (head,), gradient, _ = head_shards(case, Shards.even(11, 1), barriers)
    one = head.s(case.x, case.targets)
    head.combine(one, one.statistics.unsqueeze(0))
    head.t(one, derivatives(torch.tensor([1.0, torch.nan, 1.0])))
    case.weights[1] = 0.0
    assert relative(gradient, run_plain(case.to(torch.float64)).dw) <= 1e-5


@pytest.mark.parametrize("barriers", [1, 2])
def test_buffers_used_again_are_not_shared_by_two_live_passes(barriers):
    torch.manual_seed(2)
    weight, shards = torch.randn(131, 7, dtype=torch.float64), Shards.even(131, 1)
    weights = torch.rand(5, dtype=torch.float64)
    cases = [Case(torch.randn(5, 7).double(), weight, torch.randint(131, (5,)), weights) for _ in range(6)]
    (head,), gradient, _ = head_shards(cases[0], shards, barriers)
    for first in range(0, 6, 2):  # two alive at a time, three times over
        passes = [head.s(case.x, case.targets) for case in cases[first : first + 2]]
        for one in passes:
            head.combine(one, one.statistics.unsqueeze(0))
            head.t(one, derivatives(weights))
    assert relative(gradient, sum(run_plain(case).dw for case in cases)) <= 1e-11


@pytest.mark.parametrize("barriers", [1, 2])
def test_microbatches_of_two_sizes_in_flight(barriers):
    """Buffers are kept from one microbatch to the next; each must get one of its own size."""
    head = HeadShard(torch.randn(37, 5), torch.zeros(37, 5), 0, barriers=barriers)
    for _ in range(2):
        passes = [head.s(torch.randn(n, 5), torch.randint(37, (n,))) for n in (11, 7)]
        assert [one.buffer.flat.numel() for one in passes] == [11 * 37, 7 * 37]
        for one in passes:
            head.combine(one, one.statistics[None])
            head.t(one, derivatives(torch.ones(len(one.x))))


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("budget", [None, 2**16])
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_buffers_used_again_for_other_sizes_change_no_bit(dtype, barriers, budget, softcap):
    """Views of what is kept and of dW's parts stay with a buffer; the next microbatch may be smaller or larger. With a soft-cap
    the logits stay, and T works on a tile beside them."""
    draws = torch.Generator().manual_seed(5)
    weight, bias = (torch.randn(*size, generator=draws).to(dtype) for size in ((371, 33), (371,)))

    def new():
        made = HeadShard(
            weight.clone(), torch.zeros(371, 33), 0, bias=bias, bias_gradient=torch.zeros(371),
            barriers=barriers, budget=budget, curve=Curve(1.0, softcap),
        )  # fmt: skip
        return made

    kept = new()
    for step, tokens in enumerate((67, 67, 29, 41, 67, 67, 3)):
        x, targets = torch.randn(tokens, 33, generator=draws).to(dtype), torch.randint(371, (tokens,))
        fresh = new()
        for head in (kept, fresh):
            if step % 3 == 2:
                head.weights_changed()
            head.gradient.zero_()
            head.bias_gradient.zero_()
            one = head.s(x, targets, logit_sum=True)
            head.combine(one, one.statistics[None])
            loss = derivatives(torch.ones(tokens), None, torch.linspace(-1, 1, tokens))
            dx = head.u(one, loss) if barriers == 1 else None
            of_t = head.t(one, loss)
            head.found = (head.gradient, head.bias_gradient, of_t if dx is None else dx)
        for ours, want in zip(kept.found, fresh.found, strict=True):
            assert bits(ours) == bits(want)
