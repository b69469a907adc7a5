"""docs/timeline.svg: one step of 1F1B without and with vocabulary passes, simulated, on one scale of time.

Run it as `python benchmarks/picture.py`. The costs are those of `pinisi bench emulated`, in seconds of the
profiled GPU: each of 4 ranks holds as many rows of the vocabulary as one of the profile's 8.
"""

import re
from pathlib import Path

from pinisi.bench.emulated import PROFILE
from pinisi.report.picture import draw
from pinisi.schedule import Costs, Timeline, build, simulate, verify

RANKS, MICROBATCHES = 4, 8
OUT = Path(__file__).parents[1] / "docs" / "timeline.svg"


def timeline(barriers: int) -> Timeline:
    """0 barriers: the last rank holds the whole head, a third of it forward. 1 barrier: S : T = 2 : 1."""
    seconds = {name: value / 1e3 for name, value in PROFILE.items()}
    head = seconds.pop("head")
    if barriers:
        costs = Costs(**seconds, head_s=head * 2 / 3, head_t=head / 3)
    else:
        forward, backward = seconds["forward"], seconds["backward"]
        costs = Costs(
            forward=[forward] * (RANKS - 1) + [forward + RANKS * head / 3],
            backward=[backward] * (RANKS - 1) + [backward + RANKS * head * 2 / 3],
        )
    schedule = build("1f1b", RANKS, MICROBATCHES, barriers=barriers, costs=costs)
    verify(schedule)
    return simulate(schedule, costs)


def stacked(pictures: list[str]) -> str:
    """SVG documents below one another, in one document."""
    parts, top, width = [], 0, 0
    for picture in pictures:
        box = re.search(r'viewBox="0 0 (\d+) (\d+)" width="100%"', picture)
        assert box is not None
        width, height = int(box[1]), int(box[2])
        placed = f'viewBox="0 0 {width} {height}" y="{top}" width="{width}" height="{height}"'
        parts.append(picture.replace(box[0], placed))
        top += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="100%">'
    return head + "\n" + "".join(parts) + "</svg>\n"


def main() -> None:
    timelines = [timeline(0), timeline(1)]
    until = max(t.makespan for t in timelines)
    OUT.write_text(stacked([draw(t, until=until) for t in timelines]), encoding="utf-8")
    for t in timelines:
        idle = max(t.bubble(rank) for rank in range(RANKS))
        print(f"{t.schedule.layout.barriers} barriers: {t.makespan:.4f} s, largest bubble {100 * idle:.1f} %")


if __name__ == "__main__":
    main()
