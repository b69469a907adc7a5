"""Writes numbers as a reader wants them."""

import math
from typing import Any

from pinisi.base.durations import duration as duration

LN2 = math.log(2)


def is_number(value: Any) -> bool:
    """Whether a value that was read from a file is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def count(value: float) -> str:
    """1234567 -> 1,234,567"""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """1234567 -> 1.23 M"""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def memory(value: float) -> str:
    """Bytes in binary units: 1.50 GiB"""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if abs(value) >= 1024**power:
            return f"{value / 1024**power:.2f} {unit}"
    return f"{value:.0f} B"


def percent(ratio: float, digits: int = 1) -> str:
    return f"{100 * ratio:.{digits}f} %"


def bits_per_byte(entry: dict[str, Any]) -> float | None:
    """loss * tokens / (bytes * ln 2) of one language's evaluation; None where bytes or tokens are unknown."""
    tokens, size = entry.get("tokens"), entry.get("bytes")
    return entry["loss"] * tokens / (size * LN2) if tokens and size else None


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high, about so many, 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_label(value: float) -> str:
    return short(value).replace(" ", " ") if abs(value) >= 1e4 else f"{value:.6g}"
