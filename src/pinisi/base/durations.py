"""Writes a length of time as a reader wants it."""


def duration(seconds: float) -> str:
    """Returns seconds as a clock shows them, or with a unit where they are short: 350 ms, 12.5 s, 3:07 min, 1:02:03."""
    if seconds < 0.9995:  # above, three digits of ms would be 1e+03
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d} min"
