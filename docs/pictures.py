"""Draws the three journeys of docs/architecture.md as SVG files beside it: `python docs/pictures.py`."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTH, BOX, HEIGHT, GAP, LINE = 960, 168, 74, 30, 17
COLOURS = {"plain": "#eef2f7", "rank": "#e5f3e8", "file": "#fdf3dc"}


class Box(NamedTuple):
    """Holds one station: its name, a line or two about it, and what kind of thing it is."""

    name: str
    about: tuple[str, ...]
    kind: str = "plain"


JOURNEYS: dict[str, tuple[str, list[list[Box]]]] = {
    "batch": (
        "A batch: on each rank that run has started or joined",
        [
            [
                Box("token shards", ("of components,", "by language"), "file"),
                Box("Sampler", ("mixture, phase;", "rows of documents"), "rank"),
                Box("Task", ("batches, loss,", "frozen models"), "rank"),
                Box("Trainer", ("steps, evaluation,", "metrics, phases"), "rank"),
                Box("Engine", ("gradients, then", "update"), "rank"),
            ],
            [
                Box("Executor", ("runs the rank's", "program"), "rank"),
                Box("PipelineWorker", ("E F S T B W G", "of this rank"), "rank"),
                Box("optimizer", ("clip, AdamW", "on slots"), "rank"),
                Box("checkpoint", ("boxes of tensors,", "for any ranks"), "file"),
                Box("export", ("a Hugging Face", "folder"), "file"),
            ],
        ],
    ),
    "schedule": (
        "A schedule: once for each phase of a run",
        [
            [
                Box("name, costs", ("1f1b, 2 barriers;", "work of the passes")),
                Box("build", ("blocks, waves,", "weave, fill")),
                Box("search", ("if asked: a faster", "order for these costs")),
                Box("table", ("passes by rank:", "0F0 0F1 0F2 0B0"), "file"),
                Box("verify", ("order, memory,", "no deadlock")),
            ],
            [
                Box("lower", ("send, receive,", "launch, wait")),
                Box("Executor", ("runs a rank's", "program"), "rank"),
                Box("timeline", ("measured, or predicted", "by simulate"), "file"),
                Box("draw, plan", ("SVG, pages,", "ranking of ways")),
            ],
        ],
    ),
    "document": (
        "A document: from raw files to tokens",
        [
            [
                Box("raw files", ("text, JSON lines, HTML,", "WARC, PDF, Parquet"), "file"),
                Box("read", ("mend, identify, mask", "personal data, rules")),
                Box("score", ("head, middle, tail;", "outliers")),
                Box("near", ("near duplicates,", "one URL once")),
                Box("finish", ("passages, frequent", "lines")),
            ],
            [
                Box("documents", ("one file a language;", "drops with reasons"), "file"),
                Box("tokenize", ("parts in parallel,", "decoded back")),
                Box("token shards", ("tokens, bounds, names;", "inspect finds a token"), "file"),
                Box("Sampler", ("rows of a microbatch,", "document masks"), "rank"),
            ],
        ],
    ),
}


def place(row: int, column: int) -> tuple[int, int]:
    """Returns the left and the top of a box."""
    return GAP // 2 + column * (BOX + (WIDTH - GAP - 5 * BOX) // 4), 44 + row * (HEIGHT + 46)


def box(station: Box, row: int, column: int) -> str:
    """Draws a station."""
    x, y = place(row, column)
    lines = [
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="{COLOURS[station.kind]}" stroke="#5b6b7d"/>'
    ]
    lines.append(f'<text x="{x + BOX / 2:g}" y="{y + 22}" font-weight="bold">{escape(station.name)}</text>')
    for number, text in enumerate(station.about, 1):
        lines.append(f'<text x="{x + BOX / 2:g}" y="{y + 24 + number * LINE}">{escape(text)}</text>')
    return "\n".join(lines)


def arrow(*points: tuple[float, float]) -> str:
    """Draws a line through points, with a head at its end."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="#34465a" stroke-width="1.5" marker-end="url(#head)"/>'
    )


def arrows(row: int, count: int) -> list[str]:
    """Draws the arrows between a row's stations."""
    found = []
    for column in range(count - 1):
        (x, y), (to, _) = place(row, column), place(row, column + 1)
        found.append(arrow((x + BOX, y + HEIGHT / 2), (to - 2, y + HEIGHT / 2)))
    return found


def turn() -> str:
    """Draws the way from the end of the first row to the beginning of the second."""
    (x, y), (to, below) = place(0, 4), place(1, 0)
    middle = y + HEIGHT + 23
    return arrow(
        (x + BOX / 2, y + HEIGHT), (x + BOX / 2, middle), (to + BOX / 2, middle), (to + BOX / 2, below - 2)
    )


def picture(title: str, rows: list[list[Box]]) -> str:
    """Draws a journey."""
    height = place(len(rows) - 1, 0)[1] + HEIGHT + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        'font-family="sans-serif" font-size="14" text-anchor="middle" fill="#1c2733">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#34465a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{GAP // 2}" y="26" text-anchor="start" font-weight="bold">{escape(title)}</text>',
        turn(),
    ]
    for number, row in enumerate(rows):
        parts += arrows(number, len(row))
        parts += [box(station, number, column) for column, station in enumerate(row)]
    words = {"plain": "code", "rank": "on each rank", "file": "a file or a folder"}
    for number, (kind, colour) in enumerate(COLOURS.items()):
        x = GAP // 2 + number * 190
        parts.append(
            f'<rect x="{x}" y="{height - 26}" width="16" height="14" fill="{colour}" stroke="#5b6b7d"/>'
        )
        parts.append(f'<text x="{x + 24}" y="{height - 14}" text-anchor="start">{words[kind]}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    for name, journey in JOURNEYS.items():
        (Path(__file__).parent / f"{name}.svg").write_text(picture(*journey), encoding="utf-8")


if __name__ == "__main__":
    main()
