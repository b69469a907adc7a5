"""Draws a sweep over LR-DPO's α as an SVG picture: length and accuracy of answers, a line for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pinisi.report.marks import mark, together

WIDTH, HEIGHT, LEFT, TOP, FOOT = 440, 250, 56, 44, 40
COLOURS = ("#2f6db5", "#c8621b", "#3f8f4f", "#8a5aa8")
INK, FAINT = "#222222", "#c8c8c8"


def sweep_picture(alphas: Sequence[float], seeds: dict[int, list[tuple[float, float]]]) -> str:
    """Returns an SVG document of two panels. seeds: (mean tokens of an answer, share of right answers) for each α, by seed."""
    lengths = {seed: [length for length, _ in found] for seed, found in seeds.items()}
    shares = {seed: [100 * share for _, share in found] for seed, found in seeds.items()}
    top = max(value for each in lengths.values() for value in each)
    panels = [
        _panel(0, "tokens of a greedy answer", alphas, lengths, 1.1 * top),
        _panel(WIDTH, "right answers, per cent", alphas, shares, 100.0),
    ]
    legend = [
        mark("text", f"seed {seed}", x=LEFT + 70 * n, y=18, fill=COLOURS[n % 4], font_weight=600)
        for n, seed in enumerate(seeds)
    ]
    name = "LR-DPO: length and accuracy by α"
    box = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {2 * WIDTH} {HEIGHT}", "width": "100%"}
    ground = mark("rect", width=2 * WIDTH, height=HEIGHT, fill="#ffffff")
    drawn = together(mark("title", name), ground, *legend, *panels)
    return mark("svg", drawn, **box, role="img", font_family="system-ui, sans-serif", font_size=12) + "\n"


def _panel(at: int, title: str, alphas: Sequence[float], values: dict[int, list[float]], high: float) -> Any:
    """One chart, from 0 to `high`; α stand at even distances."""
    right, bottom = at + WIDTH - 16, HEIGHT - FOOT
    step = (right - at - LEFT - 20) / max(1, len(alphas) - 1)
    xs = [at + LEFT + 10 + step * n for n in range(len(alphas))]

    def y_of(value: float) -> float:
        return bottom - value / high * (bottom - TOP)

    parts = [mark("text", title, x=at + LEFT, y=TOP - 8, fill=INK)]
    for part in range(5):
        y = y_of(high * part / 4)
        parts.append(mark("line", x1=at + LEFT, x2=right, y1=y, y2=y, stroke=FAINT))
        label = f"{high * part / 4:.0f}"
        parts.append(mark("text", label, x=at + LEFT - 6, y=y + 4, text_anchor="end", fill=INK))
    for x, alpha in zip(xs, alphas, strict=True):
        parts.append(mark("text", f"α = {alpha:g}", x=x, y=bottom + 18, text_anchor="middle", fill=INK))
    for number, found in enumerate(values.values()):
        places = [(x, y_of(value)) for x, value in zip(xs, found, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        colour = COLOURS[number % 4]
        parts.append(mark("polyline", points=line, fill="none", stroke=colour, stroke_width=2))
        parts += [mark("circle", cx=x, cy=y, r=3.5, fill=colour) for x, y in places]
    return together(*parts)
