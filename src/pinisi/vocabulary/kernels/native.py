"""Does the element-wise work of S and T in C++, fp32 and bf16 on a CPU: `native.cpp`. See `Kernels` for what each function
does."""

import ctypes
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from pinisi.losses import LogProbs
from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.kernels import build, rows_without_gaps
from pinisi.vocabulary.kernels.targets import Targets
from pinisi.vocabulary.statistics import Combined
from pinisi.vocabulary.tiles import Curve

# Parameters of each function: p a pointer, i an int64, f a float, b a bool; the number of threads comes last, an int.
PARAMETERS = {
    "exponentiate": "pipipipppii",
    "exponentiate_curved": "pipipipppppiiiff",
    "exponentiate_again": "pipipipii",
    "exponentiate_again_curved": "pipipipppiiff",
    "target_logits": "pipippiippiiff",
    "finished": "pipipipiippii",
    "added": "pipipbii",
    "scaled": "pippiii",
    "add_target_rows": "pippipiipii",
    "add_with_target_rows": "pippipipiipii",
    "add_column_sums": "ppipii",
    "combine": "piipppppppppi",
    "coefficients": "pppppppfpppppppi",
    "factor": "ppppfpi",
}
CPU = torch.device("cpu")
TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float, "b": ctypes.c_bool}


def exponentiate_(
    z: Tensor,
    out: Tensor,
    targets: Targets,
    first: int,
    statistics: Tensor,
    floor: Tensor | None,
    curve: Curve,
    scratch: Scratch,
    logit_sum: Tensor | None = None,
    slopes: Tensor | None = None,
) -> None:
    tokens, columns = z.shape
    ids, floor = _at(targets.ids), _vector(floor)
    matrices = _at(z), z.stride(0), _at(out), out.stride(0)
    results = _at(floor), *_rows_at(statistics, 0, 1)
    first += targets.start
    if curve.is_identity and logit_sum is None and slopes is None:
        run = _function("exponentiate", z.dtype)
        run(*matrices, ids, first, *results, tokens, columns, torch.get_num_threads())
        return
    run = _function("exponentiate_curved", z.dtype)
    of_slopes = 0 if slopes is None else slopes.stride(0)
    run(
        *matrices, ids, first, *results, _at(logit_sum), _at(slopes), of_slopes, tokens, columns, *_curve(curve),
        torch.get_num_threads(),
    )  # fmt: skip


def exponentiate_again_(
    z: Tensor,
    out: Tensor,
    targets: Targets,
    first: int,
    maximum: Tensor,
    curve: Curve,
    scratch: Scratch,
    mix: tuple[Tensor, Tensor] | None = None,
) -> None:
    tokens, columns = z.shape
    ids, maximum = _at(targets.ids), _ready(maximum)
    given = _at(z), z.stride(0), _at(out), out.stride(0), ids, targets.start + first, _at(maximum)
    if curve.is_identity and mix is None:
        _function("exponentiate_again", z.dtype)(*given, tokens, columns, torch.get_num_threads())
        return
    factor, each = (None, None) if mix is None else map(_vector, mix)
    run = _function("exponentiate_again_curved", z.dtype)
    run(*given, _at(factor), _at(each), tokens, columns, *_curve(curve), torch.get_num_threads())


def target_logits(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Targets,
    statistics: Tensor,
    curve: Curve,
    scratch: Scratch,
) -> Tensor:
    tokens, hidden = x.shape
    slopes, ids, (logits,) = statistics.new_empty(tokens), _at(targets.ids), _rows_at(statistics, 2)
    _function("target_logits", x.dtype)(
        _at(x), x.stride(0), _at(weight), weight.stride(0), _at(bias), ids, targets.start, targets.rows, logits,
        _at(slopes), tokens, hidden, *_curve(curve), torch.get_num_threads(),
    )  # fmt: skip
    return slopes


def combine(gathered: Tensor, targets: Targets) -> tuple[Combined, LogProbs]:
    ranks, statistics, tokens = gathered.shape
    gathered = _ready(gathered)
    # Each of its own and copied here: to unbind, or to clone, is another operation, for which a cold cache takes longer.
    lp, rest, base, unit, lp_again, lse, *sums = (
        gathered.new_empty(tokens) for _ in range(6 if statistics == 3 else 8)
    )
    sum_, sum_again = sums or (None, None)
    made = map(_at, (lp, rest, base, unit, sum_, lp_again, lse, sum_again))
    run = _function("combine")
    run(_at(gathered), ranks, statistics, _at(targets.ids), *made, tokens, torch.get_num_threads())
    return Combined(lp, rest, base, unit, sum_), LogProbs(lp_again, lse, sum_again)


def coefficients(
    targets: Targets,
    combined: Combined,
    statistics: Tensor,
    slope: Tensor,
    scale: float,
    by_log_prob: Tensor,
    by_logsumexp: Tensor | None = None,
    by_logit_sum: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    ids, derivatives = _at(targets.ids), [_vector(one) for one in (by_log_prob, by_logsumexp, by_logit_sum)]
    *of_tokens, slope = [_ready(one) for one in (*combined[:4], slope)]
    # Four calls of one function: where the cache is cold, another function, as one that unbinds, takes longer.
    made = softmax, target, each, factor = [slope.new_empty(len(slope)) for _ in range(4)]
    _function("coefficients")(
        ids, *map(_at, of_tokens), *_rows_at(statistics, 0), _at(slope), scale, *map(_at, (*derivatives, *made)),
        len(slope), torch.get_num_threads(),
    )  # fmt: skip
    return softmax, target, None if by_logit_sum is None else each, factor


def factor(maximum: Tensor, combined: Combined, softmax: Tensor, scale: float) -> Tensor:
    given = [_ready(one) for one in (maximum, combined.base, combined.unit, softmax)]
    out = given[0].new_empty(len(maximum))
    _function("factor")(*map(_at, given), scale, _at(out), len(out), torch.get_num_threads())
    return out


def added(sum_: Tensor | None, product: Tensor, factor: Tensor | None, scratch: Scratch) -> Tensor:
    out, factor = _empty(*product.shape) if sum_ is None else sum_, _vector(factor)
    _function("added", product.dtype)(
        _at(out), out.stride(0), _at(product), product.stride(0), _at(factor), sum_ is not None, *product.shape,
        torch.get_num_threads(),
    )  # fmt: skip
    return out


def finished(
    product: Tensor,
    weight: Tensor,
    targets: Targets,
    factor: Tensor | None,
    target: Tensor,
    scratch: Scratch,
) -> Tensor:
    out = product if product.dtype == torch.float32 else _empty(*product.shape)
    ids, factor, target = _at(targets.ids), _vector(factor), _ready(target)
    _function("finished", product.dtype, weight.dtype)(
        _at(product), product.stride(0), _at(out), out.stride(0), _at(weight), weight.stride(0), ids, targets.start,
        targets.rows, _at(factor), _at(target), *product.shape, torch.get_num_threads(),
    )  # fmt: skip
    return out


def scaled(x: Tensor, factor: Tensor, scratch: Scratch, out: Tensor | None = None) -> Tensor:
    out = scratch.take("hidden", x.shape[0], x.shape[1], x.dtype, x.device) if out is None else out
    factor = _ready(factor)
    _function("scaled", x.dtype)(
        _at(x), x.stride(0), _at(factor), _at(out), out.stride(0), *x.shape, torch.get_num_threads()
    )
    return out


def add_target_rows_(
    gradient: Tensor,
    bias_gradient: Tensor | None,
    x: Tensor,
    targets: Targets,
    target: Tensor,
    scratch: Scratch,
) -> None:
    assert len(gradient) == targets.rows, "memory beyond the gradient's rows would be written"
    ids, target = _at(targets.ids), _ready(target)
    _function("add_target_rows", x.dtype)(
        _at(gradient), gradient.stride(0), _at(bias_gradient), _at(x), x.stride(0), ids, targets.start, targets.rows,
        _at(target), *x.shape, torch.get_num_threads(),
    )  # fmt: skip


def add_with_target_rows_(
    gradient: Tensor,
    bias_gradient: Tensor | None,
    product: Tensor,
    x: Tensor,
    targets: Targets,
    target: Tensor,
) -> None:
    assert len(gradient) == targets.rows, "memory beyond the gradient's rows would be written"
    assert product.shape == gradient.shape and product.dtype == x.dtype
    ids, target = _at(targets.ids), _ready(target)
    _function("add_with_target_rows", x.dtype)(
        _at(gradient), gradient.stride(0), _at(bias_gradient), _at(product), product.stride(0), _at(x), x.stride(0), ids,
        targets.start, targets.rows, _at(target), *x.shape, torch.get_num_threads(),
    )  # fmt: skip


def add_column_sums_(sums: Tensor, columns: Tensor, factor: Tensor | None, scratch: Scratch) -> None:
    factor = _vector(factor)
    _function("add_column_sums", columns.dtype)(
        _at(sums), _at(columns), columns.stride(0), _at(factor), *columns.shape, torch.get_num_threads()
    )


@cache
def _function(name: str, *dtypes: torch.dtype) -> Callable[..., None]:
    """The function of that name for tensors of these dtypes; its temporary tensors must outlive the call."""
    library = build.library()
    assert library is not None, "kernels_for asks first"
    types = [*(TYPES[letter] for letter in PARAMETERS[name]), ctypes.c_int]
    if not dtypes:
        function = getattr(library, name)
        function.argtypes, function.restype = types, None
        return function
    names = (str(dtype).removeprefix("torch.") for dtype in dtypes)
    address = ctypes.c_void_p.in_dll(library, "_".join((name, *names))).value
    assert address is not None
    return ctypes.CFUNCTYPE(None, *types)(address)


def _empty(*size: int) -> Tensor:
    """An uninitialised one in fp32, whatever defaults a program has given torch."""
    return torch.empty(size, dtype=torch.float32, device=CPU)


def _at(tensor: Tensor | None) -> int | None:
    """Where it begins; its rows lie without gaps."""
    if tensor is None:
        return None
    assert rows_without_gaps(tensor), f"strides of {tensor.stride()}"
    return tensor.data_ptr()


def _rows_at(statistics: Tensor, *rows: int) -> list[int]:
    """Where these rows of an fp32 [R, T] begin: a view of one takes longer."""
    assert statistics.dtype == torch.float32 and statistics.is_contiguous()
    first, width = statistics.data_ptr(), 4 * statistics.shape[1]
    return [first + row * width for row in rows]


def _ready(tensor: Tensor) -> Tensor:
    """In fp32 and without gaps. Asked first: an operation that does nothing takes 10 µs, too, where the cache is cold."""
    fits = tensor.dtype == torch.float32 and tensor.is_contiguous()
    return tensor if fits else tensor.to(torch.float32).contiguous()


def _vector(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _ready(tensor)


def _curve(curve: Curve) -> tuple[float, float]:
    return curve.scale, curve.softcap or 0.0
