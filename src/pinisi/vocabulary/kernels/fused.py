"""Does the element-wise work of S and T in Triton kernels, fp32 and 16 bit. See `Kernels` for what each does.

Block sizes and warps are chosen for a Hopper GPU: enough of a row per program that memory is busy, few enough numbers per
thread (at most 32) that they stay in registers.
"""

import torch
from torch import Tensor
from triton import cdiv, next_power_of_2

from pinisi.losses import LogProbs
from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.kernels import rows_without_gaps
from pinisi.vocabulary.kernels.reference import added as added
from pinisi.vocabulary.kernels.targets import Targets
from pinisi.vocabulary.kernels.tile_kernels import (
    column_sums_kernel,
    exponentiate_again_kernel,
    exponentiate_kernel,
)
from pinisi.vocabulary.kernels.token_kernels import (
    add_target_rows_kernel,
    coefficients_kernel,
    combine_kernel,
    factor_kernel,
    finish_kernel,
    scaled_kernel,
    target_logits_kernel,
)
from pinisi.vocabulary.statistics import Combined, log_probs
from pinisi.vocabulary.tiles import Curve

HELD = 16384  # columns of a tile that one program holds in registers
LOOPED = 4096  # columns of one step of a loop over wider tiles
BLOCK = 4096  # numbers of one program where several rows fit
WIDEST = 1024  # of a [T, h] row in one program
VECTOR = 256  # tokens of one program of a kernel on [T] vectors


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
    maximum, total = statistics[:2]
    held = columns <= HELD
    rows, width, warps = _block(columns, HELD if held else LOOPED)
    if tokens:
        exponentiate_kernel[(cdiv(tokens, rows),)](
            z, _row(z), out, _row(out), targets.ids, targets.start + first, floor, maximum, total,
            logit_sum, slopes, 0 if slopes is None else _row(slopes), tokens, columns, curve.scale,
            curve.softcap, HELD=held, ROWS=rows, WIDTH=width, num_warps=warps,
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
    factor, each = (None, None) if mix is None else (one.contiguous() for one in mix)
    rows, width, warps = _block(columns, LOOPED)
    if z.numel():
        exponentiate_again_kernel[(cdiv(tokens, rows), cdiv(columns, width))](
            z, _row(z), out, _row(out), targets.ids, targets.start + first, maximum, factor, each,
            tokens, columns, curve.scale, curve.softcap, ROWS=rows, WIDTH=width, num_warps=warps,
        )  # fmt: skip


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
    logits, slopes = statistics[2], torch.empty(tokens, dtype=torch.float32, device=x.device)
    rows, width, warps = _block(hidden, WIDEST)
    if tokens:
        target_logits_kernel[(cdiv(tokens, rows),)](
            x, _row(x), weight, _row(weight), bias, targets.ids, targets.start, targets.rows, logits,
            slopes, tokens, hidden, curve.scale, curve.softcap, ROWS=rows, WIDTH=width, num_warps=warps,
        )  # fmt: skip
    return slopes


def combine(gathered: Tensor, targets: Targets) -> tuple[Combined, LogProbs]:
    ranks, statistics, tokens = gathered.shape
    out = gathered.new_empty(2 + statistics, tokens)
    if tokens:
        combine_kernel[(cdiv(tokens, VECTOR),)](
            gathered.contiguous(), ranks, targets.ids, out, tokens, STATISTICS=statistics, WIDTH=VECTOR
        )
    lse, *rows = out.unbind()
    combined = Combined(*rows)
    return combined, log_probs(combined, lse)


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
    tokens = len(slope)
    softmax, target, each, factor = torch.empty(4, tokens, dtype=torch.float32, device=slope.device)
    by_lse, by_sum = (of if of is None else of.contiguous() for of in (by_logsumexp, by_logit_sum))
    if tokens:
        coefficients_kernel[(cdiv(tokens, VECTOR),)](
            targets.ids, combined.lp, combined.rest, combined.base, combined.unit, statistics[0], slope, scale,
            by_log_prob.contiguous(), by_lse, by_sum, softmax, target, each, factor, tokens, WIDTH=VECTOR,
        )  # fmt: skip
    return softmax, target, None if by_logit_sum is None else each, factor


def factor(maximum: Tensor, combined: Combined, softmax: Tensor, scale: float) -> Tensor:
    out, tokens = torch.empty_like(maximum), len(maximum)
    if tokens:
        factor_kernel[(cdiv(tokens, VECTOR),)](
            maximum, combined.base, combined.unit, softmax, scale, out, tokens, WIDTH=VECTOR
        )
    return out


def finished(
    product: Tensor,
    weight: Tensor,
    targets: Targets,
    factor: Tensor | None,
    target: Tensor,
    scratch: Scratch,
) -> Tensor:
    product = product.to(torch.float32)
    tokens, hidden = product.shape
    rows, width, warps = _block(hidden, WIDEST)
    if product.numel():
        finish_kernel[(cdiv(tokens, rows), cdiv(hidden, width))](
            product, _row(product), weight, _row(weight), targets.ids, targets.start, targets.rows,
            None if factor is None else factor.contiguous(), target, tokens, hidden, ROWS=rows, WIDTH=width, num_warps=warps,
        )  # fmt: skip
    return product


def scaled(x: Tensor, factor: Tensor, scratch: Scratch, out: Tensor | None = None) -> Tensor:
    tokens, hidden = x.shape
    out = torch.empty(tokens, hidden, dtype=x.dtype, device=x.device) if out is None else out
    rows, width, warps = _block(hidden, WIDEST)
    if x.numel():
        scaled_kernel[(cdiv(tokens, rows), cdiv(hidden, width))](
            x,
            _row(x),
            factor.contiguous(),
            out,
            _row(out),
            tokens,
            hidden,
            ROWS=rows,
            WIDTH=width,
            num_warps=warps,
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
    tokens, hidden = x.shape
    rows, width, warps = _block(hidden, WIDEST)
    if x.numel():
        add_target_rows_kernel[(cdiv(tokens, rows), cdiv(hidden, width))](
            gradient, _row(gradient), bias_gradient, x, _row(x), targets.ids, targets.start,
            targets.rows, target, tokens, hidden, ROWS=rows, WIDTH=width, num_warps=warps,
        )  # fmt: skip


add_with_target_rows_ = None


def add_column_sums_(sums: Tensor, columns: Tensor, factor: Tensor | None, scratch: Scratch) -> None:
    tokens, width = columns.shape
    factor = None if factor is None else factor.contiguous()
    if columns.numel():
        column_sums_kernel[(cdiv(width, 64),)](
            sums, columns, _row(columns), factor, tokens, width, ROWS=64, WIDTH=64
        )


def _block(columns: int, widest: int) -> tuple[int, int, int]:
    """Rows and columns of one program's block, and its warps: with 4 or more a thread has up to 32 numbers."""
    width = min(widest, max(16, next_power_of_2(columns)))
    rows = max(1, BLOCK // width)
    return rows, width, min(16, max(4, rows * width // 1024))


def _row(matrix: Tensor) -> int:
    """Where the next row begins, in elements."""
    assert rows_without_gaps(matrix), f"strides of {matrix.stride()}"
    return matrix.stride(0)
