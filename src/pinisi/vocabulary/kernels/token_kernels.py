"""Defines Triton kernels on what S and T have of each token: [T] vectors and [T, h] rows, with sums in fp32."""

import triton
import triton.language as tl

from pinisi.vocabulary.kernels.numeric import (
    IGNORED,
    LOWEST,
    curve,
    exp_of_negative,
    greater,
    log1p_of_share,
    narrowed,
)


@triton.jit
def target_logits_kernel(
    x, x_stride, weight, weight_stride, bias, ids, start, rows, logits, slopes, tokens, hidden, scale, cap,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """See `Kernels.target_logits`. A program per ROWS tokens; those whose target is elsewhere read nothing."""
    token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = token < tokens
    row = tl.load(ids + token, mask=there, other=IGNORED) - start
    own = there & (row >= 0) & (row < rows)
    x += token.to(tl.int64)[:, None] * x_stride
    weight += row[:, None] * weight_stride
    dots = tl.zeros([ROWS, WIDTH], tl.float32)
    for first in range(0, hidden, WIDTH):
        column = first + tl.arange(0, WIDTH)[None, :]
        read = own[:, None] & (column < hidden)
        of_x = tl.load(x + column, mask=read, other=0.0).to(tl.float32)
        dots += of_x * tl.load(weight + column, mask=read, other=0.0).to(tl.float32)
    z = tl.sum(dots, 1)
    if bias is not None:
        z += tl.load(bias + row, mask=own, other=0.0).to(tl.float32)
    l, slope = curve(z, scale, cap)
    tl.store(logits + token, tl.where(own, l, float("-inf")), mask=there)
    tl.store(slopes + token, tl.where(own, slope * scale, 0.0), mask=there)


@triton.jit
def combine_kernel(gathered, ranks, ids, out, tokens, STATISTICS: tl.constexpr, WIDTH: tl.constexpr):
    """See `Kernels.combine`: gathered [p, STATISTICS, T] to out [2 + STATISTICS, T] = lse, lp, 1 - p_y, base, unit (, Σ_v l_v).

    What is NaN in a token's statistics is NaN in its results.
    """
    token = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    there = token < tokens
    valid = tl.load(ids + token, mask=there, other=IGNORED) != IGNORED
    top = tl.full([WIDTH], LOWEST, tl.float32)
    own = tl.full([WIDTH], float("-inf"), tl.float32)
    for rank in range(ranks):
        of_rank = gathered + rank * STATISTICS * tokens + token
        top = greater(top, tl.load(of_rank, mask=there, other=LOWEST))
        own = greater(own, tl.load(of_rank + 2 * tokens, mask=there, other=float("-inf")))
    sum_ = tl.zeros([WIDTH], tl.float32)
    logit_sum = tl.zeros([WIDTH], tl.float32)
    for rank in range(ranks):
        of_rank = gathered + rank * STATISTICS * tokens + token
        highest = greater(tl.load(of_rank, mask=there, other=LOWEST), LOWEST)
        part = tl.load(of_rank + tokens, mask=there, other=0.0)
        sum_ += part * exp_of_negative(highest - top)
        if STATISTICS == 4:
            logit_sum += tl.load(of_rank + 3 * tokens, mask=there, other=0.0)
    none = sum_ == 0  # y is the only column; NaN is not none
    others = tl.where(none, float("-inf"), tl.log(tl.where(none, 1.0, sum_)))
    margin = (top - tl.where(valid, own, 0.0)) + others
    share = exp_of_negative(-tl.abs(margin))  # of the smaller of p_y and 1 - p_y to the larger
    rest = tl.where(margin > 0, 1.0, share) / (1.0 + share)
    lp = -(greater(margin, 0.0) + log1p_of_share(share))
    base = greater(top, own)
    total = sum_ * exp_of_negative(top - base) + exp_of_negative(own - base)
    nothing = total == 0  # an ignored token's, all of whose logits are -inf
    total = tl.where(nothing, 1.0, total)
    tl.store(out + token, tl.where(nothing, float("-inf"), base + tl.log(total)), mask=there)
    tl.store(out + tokens + token, tl.where(valid, lp, 0.0), mask=there)
    tl.store(out + 2 * tokens + token, tl.where(valid, rest, 0.0), mask=there)
    tl.store(out + 3 * tokens + token, base, mask=there)
    tl.store(out + 4 * tokens + token, 1.0 / total, mask=there)
    if STATISTICS == 4:
        tl.store(out + 5 * tokens + token, logit_sum, mask=there)


@triton.jit
def factor_of(maximum, base, unit, softmax, scale):
    return tl.where(softmax != 0.0, exp_of_negative(maximum - base) * unit * scale * softmax, 0.0)


@triton.jit
def coefficients_kernel(
    ids, lp, rest, base, unit, maximum, slope, scale, by_lp, by_lse, by_sum, softmax, target, each, factor, tokens,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """See `Kernels.coefficients`."""
    token = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    there = token < tokens
    valid = tl.load(ids + token, mask=there, other=IGNORED) != IGNORED
    of_softmax = 0.0 - tl.load(by_lp + token, mask=valid, other=0.0).to(tl.float32)
    of_target = -of_softmax * tl.load(rest + token, mask=valid, other=0.0)
    if by_lse is not None:
        of_lse = tl.load(by_lse + token, mask=valid, other=0.0).to(tl.float32)
        of_softmax += of_lse
        of_target += of_lse * exp_of_negative(tl.load(lp + token, mask=valid, other=0.0))
    of_target *= tl.load(slope + token, mask=valid, other=0.0)
    tl.store(softmax + token, of_softmax, mask=there)
    tl.store(target + token, of_target, mask=there)
    if by_sum is not None:
        of_each = tl.load(by_sum + token, mask=valid, other=0.0).to(tl.float32)
        tl.store(each + token, of_each * scale, mask=there)
    top = tl.load(maximum + token, mask=valid, other=0.0)
    of_base, of_unit = (
        tl.load(base + token, mask=valid, other=0.0),
        tl.load(unit + token, mask=valid, other=0.0),
    )
    tl.store(factor + token, factor_of(top, of_base, of_unit, of_softmax, scale), mask=there)


@triton.jit
def factor_kernel(maximum, base, unit, softmax, scale, out, tokens, WIDTH: tl.constexpr):
    """See `Kernels.factor`."""
    token = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    there = token < tokens
    top = tl.load(maximum + token, mask=there, other=0.0)
    of_base, of_unit = (
        tl.load(base + token, mask=there, other=0.0),
        tl.load(unit + token, mask=there, other=0.0),
    )
    of_softmax = tl.load(softmax + token, mask=there, other=0.0)
    tl.store(out + token, factor_of(top, of_base, of_unit, of_softmax, scale), mask=there)


@triton.jit
def finish_kernel(
    product, product_stride, weight, weight_stride, ids, start, rows, factor, target, tokens, hidden,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """See `Kernels.finish_`. A program per ROWS tokens and WIDTH of their numbers."""
    token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = token < tokens
    row = tl.load(ids + token, mask=there, other=IGNORED) - start
    own = there & (row >= 0) & (row < rows)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)[None, :]
    inside = there[:, None] & (column < hidden)
    product += token.to(tl.int64)[:, None] * product_stride + column
    result = tl.load(product, mask=inside, other=0.0)
    if factor is not None:
        result *= tl.load(factor + token, mask=there, other=0.0)[:, None]
    weight += row[:, None] * weight_stride + column
    of_row = tl.load(weight, mask=own[:, None] & (column < hidden), other=0.0).to(tl.float32)
    result += of_row * tl.load(target + token, mask=there, other=0.0)[:, None]
    tl.store(product, result, mask=inside)


@triton.jit
def scaled_kernel(
    x, x_stride, factor, out, out_stride, tokens, hidden, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """See `Kernels.scaled`. A program per ROWS tokens and WIDTH of their numbers."""
    token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = token < tokens
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)[None, :]
    inside = there[:, None] & (column < hidden)
    row = token.to(tl.int64)[:, None]
    result = tl.load(x + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    result *= tl.load(factor + token, mask=there, other=0.0)[:, None]
    tl.store(out + row * out_stride + column, narrowed(result, out.dtype.element_ty), mask=inside)


@triton.jit
def add_target_rows_kernel(
    gradient, gradient_stride, bias_gradient, x, x_stride, ids, start, rows, target, tokens, hidden,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """See `Kernels.add_target_rows_`. A program per ROWS tokens and WIDTH of their numbers; targets repeat, so it adds
    atomically."""
    token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = token < tokens
    row = tl.load(ids + token, mask=there, other=IGNORED) - start
    own = there & (row >= 0) & (row < rows)
    coefficient = tl.load(target + token, mask=own, other=0.0)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)[None, :]
    read = own[:, None] & (column < hidden)
    x += token.to(tl.int64)[:, None] * x_stride + column
    part = tl.load(x, mask=read, other=0.0).to(tl.float32) * coefficient[:, None]
    tl.atomic_add(gradient + row[:, None] * gradient_stride + column, part, mask=read, sem="relaxed")
    if bias_gradient is not None:  # noqa: SIM102 - known at compile time, unlike the next
        if tl.program_id(1) == 0:
            tl.atomic_add(bias_gradient + row, coefficient, mask=own, sem="relaxed")
