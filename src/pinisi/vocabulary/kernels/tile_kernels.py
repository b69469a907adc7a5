"""Defines Triton kernels on [T, C] tiles of the logits. A program takes ROWS tokens, and reads and writes each row once where
it fits on the chip (HELD); of wider ones the second reading comes from a cache."""

import triton
import triton.language as tl

from pinisi.vocabulary.kernels.numeric import LOG2_E, LOWEST, curve, narrowed


@triton.jit
def exponentiate_kernel(
    z, z_stride, out, out_stride, ids, first, floor, maximum, total, logit_sum, slopes, slopes_stride,
    tokens, columns, scale, cap, HELD: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """See `Kernels.exponentiate_`. `ids` are global, `first` the tile's first row of the whole vocabulary."""
    token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = token < tokens
    target = (tl.load(ids + token, mask=there, other=0) - first)[:, None]
    top = tl.full([ROWS], LOWEST, tl.float32)
    if floor is not None:
        top = tl.maximum(tl.load(floor + token, mask=there, other=LOWEST), top)
    offsets = tl.arange(0, WIDTH)[None, :]
    row = token.to(tl.int64)[:, None]
    z += row * z_stride
    out += row * out_stride
    if HELD:
        inside = there[:, None] & (offsets < columns)
        l, slope = curve(tl.load(z + offsets, mask=inside, other=0.0).to(tl.float32), scale, cap)
        if logit_sum is not None:
            sums = tl.load(logit_sum + token, mask=there, other=0.0) + tl.sum(tl.where(inside, l, 0.0), 1)
            tl.store(logit_sum + token, sums, mask=there)
        if slopes is not None:
            to = slopes + row * slopes_stride + offsets
            tl.store(to, narrowed(slope, slopes.dtype.element_ty), mask=inside)
        l = tl.where(inside & (offsets != target), l, float("-inf"))
        top = tl.maximum(tl.max(l, 1), top)
        exps = tl.exp2((l - top[:, None]) * LOG2_E)
        tl.store(out + offsets, narrowed(exps * slope, out.dtype.element_ty), mask=inside)
    else:
        tops = tl.full([ROWS, WIDTH], float("-inf"), tl.float32)
        sums = tl.zeros([ROWS, WIDTH], tl.float32)
        for start in range(0, columns, WIDTH):
            column = start + offsets
            inside = there[:, None] & (column < columns)
            l, slope = curve(tl.load(z + column, mask=inside, other=0.0).to(tl.float32), scale, cap)
            if logit_sum is not None:
                sums += tl.where(inside, l, 0.0)
            if slopes is not None:
                to = slopes + row * slopes_stride + column
                tl.store(to, narrowed(slope, slopes.dtype.element_ty), mask=inside)
            tops = tl.maximum(tops, tl.where(inside & (column != target), l, float("-inf")))
        if logit_sum is not None:
            found = tl.load(logit_sum + token, mask=there, other=0.0) + tl.sum(sums, 1)
            tl.store(logit_sum + token, found, mask=there)
        top = tl.maximum(tl.max(tops, 1), top)
        exps = tl.zeros([ROWS, WIDTH], tl.float32)
        for start in range(0, columns, WIDTH):
            column = start + offsets
            inside = there[:, None] & (column < columns)
            l, slope = curve(tl.load(z + column, mask=inside, other=0.0).to(tl.float32), scale, cap)
            l = tl.where(inside & (column != target), l, float("-inf"))
            part = tl.exp2((l - top[:, None]) * LOG2_E)
            exps += part
            tl.store(out + column, narrowed(part * slope, out.dtype.element_ty), mask=inside)
    tl.store(maximum + token, top, mask=there)
    tl.store(total + token, tl.sum(exps, 1), mask=there)


@triton.jit
def exponentiate_again_kernel(
    z, z_stride, out, out_stride, ids, first, maximum, factor, each, tokens, columns, scale, cap,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """See `Kernels.exponentiate_again_`. A program per ROWS tokens and WIDTH columns."""
    token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = token < tokens
    target = (tl.load(ids + token, mask=there, other=0) - first)[:, None]
    top = tl.load(maximum + token, mask=there, other=0.0)[:, None]
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)[None, :]
    inside = there[:, None] & (column < columns)
    row = token.to(tl.int64)[:, None]
    z += row * z_stride + column
    l, slope = curve(tl.load(z, mask=inside, other=0.0).to(tl.float32), scale, cap)
    l = tl.where(inside & (column != target), l, float("-inf"))
    result = tl.exp2((l - top) * LOG2_E)
    if factor is not None:
        result *= tl.load(factor + token, mask=there, other=0.0)[:, None]
        result += tl.load(each + token, mask=there, other=0.0)[:, None]
    result *= slope
    tl.store(out + row * out_stride + column, narrowed(result, out.dtype.element_ty), mask=inside)


@triton.jit
def column_sums_kernel(
    sums, columns, columns_stride, factor, tokens, width, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """See `Kernels.add_column_sums_`. A program per WIDTH columns walks down all tokens."""
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    inside = column < width
    total = tl.zeros([ROWS, WIDTH], tl.float32)
    for start in range(0, tokens, ROWS):
        token = start + tl.arange(0, ROWS)
        there = token < tokens
        at = columns + token.to(tl.int64)[:, None] * columns_stride + column[None, :]
        block = tl.load(at, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
        if factor is not None:
            block *= tl.load(factor + token, mask=there, other=0.0)[:, None]
        total += block
    found = tl.sum(total, 0) + tl.load(sums + column, mask=inside, other=0.0)
    tl.store(sums + column, found, mask=inside)
