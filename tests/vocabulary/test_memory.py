"""What S keeps for T: all of [T, V_r], what fits a budget, or nothing; exact whichever, and no larger than promised."""

from functools import cache

import pytest
import torch

from pinisi.bench.peak import peak_bytes
from pinisi.losses import RegularizedCrossEntropy
from pinisi.vocabulary import Curve, DistributionHead, HeadShard, Projection, Shards
from pinisi.vocabulary import head as head_module
from pinisi.vocabulary.head_pass import Tiling
from pinisi.vocabulary.tiles import tile_bounds

from ..effort import FULL
from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here
from .simulation import Case, bits, derivatives, head_shards, relative, run_plain, run_sharded
from .test_head import LIMIT, compare, draw

BUDGETS = (0, 1, 30_000, 300_000, 3_000_000, None)
SMOOTHED = {"label_smoothing": 0.2, "z_loss": 1e-3}


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("seed", range(100, 112))
def test_any_budget_is_exact(seed, barriers, dtype):
    case, shards = draw(seed)
    case = case.to(dtype)
    terms = SMOOTHED if seed % 2 else {}
    loss = {"loss": RegularizedCrossEntropy(len(case.weight), **terms)} if terms else {}
    budget = BUDGETS[seed % len(BUDGETS)]
    got = run_sharded(case, shards, barriers, budget=budget, **loss)
    # Σ_v l_v over thousands of rows loses digits of its own in fp32.
    compare(case, got, LIMIT[dtype] * (5 if terms and dtype == torch.float32 else 1), **terms)


def one_shard(dtype, tokens=29, rows=5003, hidden=61, softcap=None):
    """A case of one shard, half of whose targets are another's."""
    draws = torch.Generator().manual_seed(rows)
    return Case(
        torch.randn(tokens, hidden, generator=draws).to(dtype),
        (torch.randn(rows, hidden, generator=draws) / hidden**0.5).to(dtype),
        torch.randint(rows, (tokens,), generator=draws),
        torch.rand(tokens, generator=draws),
        softcap=softcap,
    )


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("smoothed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
def test_kept_or_made_again_the_bits_are_the_same(monkeypatch, barriers, dtype, smoothed, softcap):
    case = one_shard(dtype, softcap=softcap)
    loss = RegularizedCrossEntropy(5003, **(SMOOTHED if smoothed else {"z_loss": 1e-3}))
    bounds = tile_bounds(5003, torch.device("cpu"), 640)
    results = []
    for kept in (len(bounds), 3, 0):
        monkeypatch.setattr(head_module, "tiling", lambda *_, kept=kept, **__: Tiling(bounds, kept))
        results.append(run_sharded(case, Shards.even(5003, 1), barriers, loss))
    for got in results[1:]:
        for field in ("lp", "dx", "dw"):
            assert bits(getattr(got, field)) == bits(getattr(results[0], field))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_pass_keeps_what_fits(dtype):
    case = one_shard(dtype, tokens=256)
    everything = 256 * 5003 * dtype.itemsize
    kept = []
    for budget in (None, 4 * everything, everything * 2 // 3, everything // 5, 1, 0):
        (head,), _, _ = head_shards(case, Shards.even(5003, 1), 1, budget=budget)
        one = head.s(case.x, case.targets)
        assert budget is None or one.kept_bytes <= budget
        alone = (
            dtype if len(one.tiles) == 1 else torch.float32
        )  # the only tile's product waits for U as it was made
        assert one.nbytes == one.kept_bytes + alone.itemsize * case.x.numel()
        kept.append(one.kept_bytes)
    assert kept == sorted(kept, reverse=True) and kept[:2] == [everything] * 2 and kept[-2:] == [0, 0]
    assert 0 < kept[2] < everything


def test_microbatches_of_several_sizes_are_cut_each_by_its_own():
    """Of one head, one after the other."""
    case = one_shard(torch.float32, tokens=256, softcap=3.0)
    (head,), _, _ = head_shards(case, Shards.even(5003, 1), 1, budget=2_000_000)
    for tokens in (256, 10, 256, 100):
        for logit_sum in (False, True, False):
            x, targets = case.x[:tokens], case.targets[:tokens]
            (fresh,), _, _ = head_shards(case, Shards.even(5003, 1), 1, budget=2_000_000)
            found, wanted = (
                [(tile.start, tile.stop, tile.kept is None) for tile in one.tiles]
                for one in (of.s(x, targets, logit_sum=logit_sum) for of in (head, fresh))
            )
            assert found == wanted
    assert len(found) > 1


def peak(dtype, barriers, tokens, hidden, rows, budget=None, reads="", softcap=None):
    """Bytes of S, C1's part, U and T, beside x, weights and their gradient. reads: what the loss reads besides lp, of "sum",
    "entropy", "teacher"."""
    case = one_shard(dtype, tokens, rows, hidden, softcap)
    gradient, g = torch.zeros(rows, hidden), torch.rand(tokens)
    terms = {
        name: torch.rand(tokens)
        for name, of in (("e", "sum"), ("n", "entropy"), ("d", "teacher"))
        if of in reads
    }
    loss = derivatives(g, **terms)
    given = (
        {"logit_sum": True} if "sum" in reads else {"teacher": case.x.clone()} if "teacher" in reads else {}
    )

    def work():
        head = HeadShard(
            case.weight, gradient, 0, barriers=barriers, budget=budget, curve=Curve(1.0, softcap)
        )
        if "entropy" in reads or "teacher" in reads:
            teacher = Projection(case.weight, None, head.curve) if "teacher" in reads else None
            head = DistributionHead(head, entropy="entropy" in reads, teacher=teacher)
        one = head.s(case.x, case.targets, **given)
        head.combine(one, one.statistics[None])
        dx = head.u(one, loss) if barriers == 1 else None
        return dx, head.t(one, loss), head

    work()
    return peak_bytes(work, torch.device("cpu"))


@cache
def scratch(dtype, tokens, hidden, rows):
    """Bytes that torch's own products of a head, logits and weight gradient, take beside their results: none on most machines,
    and copies of a factor where the CPU has tiles for 16 bit (AMX)."""
    x, weight, p = (
        torch.rand(shape).to(dtype) for shape in ((tokens, hidden), (rows, hidden), (tokens, rows))
    )
    products = [lambda: x @ weight.t(), lambda: weight @ x.t(), lambda: p.t() @ x]
    taken = []
    for product in products:
        size = product().nbytes
        taken.append(peak_bytes(product, torch.device("cpu")) - size)
    return max(0, *taken)


SIZES = [
    (512, 512, 500),
    (512, 512, 1000),
    (512, 512, 2003),
    (512, 512, 3001),
    (512, 512, 4099),
    (512, 512, 8192),
    (1024, 1024, 6007),
]


@pytest.mark.parametrize("barriers", [1, 2])
# a CPU's products in fp16 are slow
@pytest.mark.parametrize(
    ("sizes", "dtype"),
    [
        (sizes, dtype)
        for sizes in SIZES
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
        if FULL or dtype != torch.float16 or sizes[-1] < 3000
    ],
    ids=str,
)
def test_peak_is_one_buffer_of_logits_and_two_of_hidden_units(sizes, barriers, dtype):
    """At most a quarter above one [T, V_r] in the model's dtype, A (or dX) in fp32, and one [T, h] in the model's dtype; beside
    what one of torch's own products takes on this machine."""
    tokens, hidden, rows = sizes
    promised = tokens * (rows * dtype.itemsize + hidden * (4 + dtype.itemsize))
    assert promised * 0.9 <= peak(dtype, barriers, *sizes) <= 1.25 * promised + scratch(dtype, *sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_peak_stays_within_a_budget_and_two_buffers_of_hidden_units(share, barriers, dtype):
    tokens, hidden, rows = 512, 512, 12_289
    budget = int(share * tokens * rows * dtype.itemsize)
    own = 3 * 2**18  # of torch's products, and rows of a few targets at a time
    got = peak(dtype, barriers, tokens, hidden, rows, budget)
    assert got <= budget + tokens * hidden * (4 + dtype.itemsize) + own


# What a loss reads, with a soft-cap or not; [T, V_r] that are kept; products in fp32 that wait for U with 1 barrier.
LOSSES = [
    ("sum", None, 1, 1),
    ("sum", 3.0, 1, 2),
    ("entropy", None, 1, 2),
    ("teacher", 3.0, 2, 2),
    ("entropy teacher", None, 2, 3),
]


@pytest.mark.parametrize(
    ("loss", "barriers"),
    [
        (loss, barriers)
        for at, loss in enumerate(LOSSES)
        for barriers in (1, 2)
        if FULL or at % 2 == barriers % 2
    ],
    ids=str,
)
def test_peak_of_other_losses(loss, barriers):
    """As with cross-entropy, the teacher's [T, V_r] and the products that the loss needs counted; and a budget is one."""
    reads, softcap, matrices, products = loss
    tokens, hidden, rows = 512, 512, 8192
    units = tokens * hidden * (4 * (products if barriers == 1 else 1) + 2)
    kept = matrices * tokens * rows * 2
    sizes = torch.bfloat16, barriers, tokens, hidden, rows
    own = scratch(torch.bfloat16, tokens, hidden, rows)
    assert peak(*sizes, reads=reads, softcap=softcap) <= 1.25 * (kept + units) + own
    assert peak(*sizes, kept // 5, reads, softcap) <= kept // 5 + units + 3 * 2**18


def test_peak_counts_copies_inside_an_operator():
    """A sum of two dtypes copies one of them; peak_bytes sees it."""
    wide, narrow = torch.zeros(512, 512), torch.zeros(512, 512, dtype=torch.bfloat16)
    seen = peak_bytes(lambda: wide.add_(narrow), torch.device("cpu"))
    assert 4 * 512 * 512 <= seen <= 5 * 512 * 512


def test_smoothing_with_a_softcap_keeps_one_buffer():
    case = one_shard(torch.bfloat16, tokens=128, rows=12_289, softcap=5.0)
    for barriers in (1, 2):
        (head,), _, _ = head_shards(case, Shards.even(12_289, 1), barriers)
        one = head.s(case.x, case.targets, logit_sum=True)
        assert one.kept_bytes == 2 * 128 * 12_289


def test_microbatches_in_flight_share_no_memory_within_a_budget():
    case, weights = one_shard(torch.float64, tokens=16), torch.rand(16, dtype=torch.float64)
    (head,), gradient, _ = head_shards(case, Shards.even(5003, 1), 1, budget=16 * 8 * 2500)
    draws = [torch.randn_like(case.x) for _ in range(3)]
    passes = [head.s(x, case.targets) for x in draws]
    for one in passes:
        head.combine(one, one.statistics[None])
    for one in reversed(passes):
        assert 0 < one.kept_bytes < 16 * 8 * 2500
        head.t(one, derivatives(weights))
    wanted = [run_plain(Case(x, case.weight, case.targets, weights)).dw for x in draws]
    assert relative(gradient, sum(wanted)) <= 1e-11
