"""Computes functions of fp32 blocks for the Triton kernels, as exact as torch's own: Triton's core has no tanh, log1p or
rounding to bf16 that holds everywhere, and what CUDA's library has can't be interpreted on a CPU."""

import triton
import triton.language as tl

from pinisi.vocabulary.kernels import interpreted

# The interpreter's conversion from fp32 to bf16 truncates or loses a carry, so there the bits are rounded by hand.
INTERPRETED = tl.constexpr(interpreted())

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)
LOG2_E_LOW: tl.constexpr = tl.constexpr(1.925963033500117e-08)  # log2(e) - fp32(log2(e))
LN_2: tl.constexpr = tl.constexpr(0.6931471805599453)
LOWEST: tl.constexpr = tl.constexpr(-3.4028234663852886e38)  # of fp32
IGNORED: tl.constexpr = tl.constexpr(-100)

# tanh(a) = a + a³·P(a²) for a < 0.625, fitted to tanh(a)/a at Chebyshev points: 8e-8 off
TANH_0: tl.constexpr = tl.constexpr(-0.33333279208370553)
TANH_1: tl.constexpr = tl.constexpr(0.133313813543598)
TANH_2: tl.constexpr = tl.constexpr(-0.05373531884942157)
TANH_3: tl.constexpr = tl.constexpr(0.020626291823206352)
TANH_4: tl.constexpr = tl.constexpr(-0.005691985663136067)


@triton.jit
def tanh(x):
    """tanh(x) and 1 - tanh²(x), which keeps its relative precision where tanh is nearly 1."""
    a = tl.abs(x)
    decay = tl.exp2(a * (-2.0 * LOG2_E))
    share = 1.0 / (1.0 + decay)
    square = a * a
    series = (((TANH_4 * square + TANH_3) * square + TANH_2) * square + TANH_1) * square + TANH_0
    result = tl.where(a < 0.625, a + a * (square * series), 1.0 - 2.0 * decay * share)
    return tl.where(x < 0, -result, result), 4.0 * decay * share * share


@triton.jit
def curve(z, scale, cap):
    """l of z, and dl/dz without the factor `scale`; see `Curve`."""
    l = z * scale
    if cap is not None:
        bent, slope = tanh(l / cap)
        l = bent * cap
    else:
        slope = tl.full(l.shape, 1.0, tl.float32)
    return l, slope


@triton.jit
def greater(a, b):
    """The greater of both, NaN where one is: `tl.maximum` alone leaves NaN out."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def exp_of_negative(x):
    """exp(x) for x <= 0 to an ulp or two, where x·log2(e), rounded, would be off by as many as |x|; NaN of NaN."""
    x = greater(x, -200.0)  # 0 from here on; no infinity below
    power = x * LOG2_E
    low = tl.fma(x, LOG2_E, -power) + x * LOG2_E_LOW
    return tl.exp2(power) * (1.0 + low * LN_2)


@triton.jit
def log1p_of_share(x):
    """log(1 + x) for 0 <= x <= 1: 2·artanh(s) with s = x / (2 + x) <= 1/3, by its series."""
    s = x / (2.0 + x)
    q = s * s
    series = 1.0 / 15 * q + 1.0 / 13
    series = series * q + 1.0 / 11
    series = series * q + 1.0 / 9
    series = series * q + 1.0 / 7
    series = series * q + 1.0 / 5
    series = series * q + 1.0 / 3
    return 2.0 * (s + s * (q * series))


@triton.jit
def narrowed(x, dtype: tl.constexpr):
    """fp32 to `dtype`, to nearest, ties to even."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        x = bits.to(tl.float32, bitcast=True)
    return x.to(dtype)
