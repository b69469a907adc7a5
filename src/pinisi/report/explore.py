"""Makes a page of several timelines to look into: zoom, pan, what each pass waits for, memory, a Perfetto trace.

One HTML file that loads nothing. The page holds the passes as numbers and draws on a canvas what is in view, so that
30,000 passes stay quick.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.report import numbers
from pinisi.report.render import render
from pinisi.report.trace import COLOURS as TRACE_COLOURS
from pinisi.report.trace import TraceEntry, begin, check, eighths
from pinisi.schedule import Channel, Kind, Layout, Pass, Timeline, needs
from pinisi.schedule.colours import COLOURS, NAMES
from pinisi.schedule.needs import gives

KINDS = list(Kind)
CHANNELS = list(Channel)
_VIA = {
    Channel.STASH: "kept on the rank",
    Channel.ACTIVATION: "activation",
    Channel.GRADIENT: "gradient",
    Channel.C0: "C0",
    Channel.C1: "C1",
    Channel.C2: "C2",
    Channel.EMBEDDING: "embedding rows",
    Channel.EMBEDDING_GRADIENT: "embedding gradient",
}


def write_explorer(
    path: str | Path,
    title: str,
    entries: Iterable[TraceEntry],
    *,
    lead: str = "",
    memory_limit: float | None = None,
) -> Path:
    """Write the page; returns where it is. Entries may be plain tuples of an TraceEntry's fields.

    lead: a line of plain text under the title. memory_limit: bytes, drawn across the memory curves. Raises
    ScheduleError where an entry's memory curves don't fit its timeline.
    """
    html = explorer([TraceEntry(*entry) for entry in entries], title, lead=lead, memory_limit=memory_limit)
    return write_whole(path, html)


def explorer(
    entries: Sequence[TraceEntry], title: str, *, lead: str = "", memory_limit: float | None = None
) -> str:
    """The page's HTML, which is also well-formed XML."""
    data = {
        "title": title,
        "limit": memory_limit,
        "kinds": [[str(kind), NAMES[kind], COLOURS[kind], TRACE_COLOURS[kind]] for kind in KINDS],
        "vias": [_VIA[channel] for channel in CHANNELS],
        "entries": [encode(entry) for entry in entries],
    }
    return render(
        "explore.html",
        title=title,
        lead=lead,
        data=data,
        facts=_facts(entries),
        tools=_tools(entries, memory_limit),
        ways=[_way(entry) for entry in entries],
    )


def encode(entry: TraceEntry) -> dict[str, Any]:
    """An entry as numbers, times in eighths of a microsecond since the first pass.

    passes[rank]: kind, part, microbatch, idle time before it, length, of each pass. needs[rank]: of each pass how
    many needs, then channel and pass of each; of several sources the one that ended last, counted over all ranks.
    memory[rank]: time since the point before, bytes, of each point.
    """
    check(entry)
    timeline = entry.timeline
    origin = begin(timeline)
    waits = _Waits(timeline)
    return {
        "title": entry.title,
        "stages": timeline.schedule.layout.stages,
        "idle": [round(timeline.bubble(rank), 6) for rank in range(len(timeline.spans))],
        "passes": [list(_passes(timeline, rank, origin)) for rank in range(len(timeline.spans))],
        "needs": [[number for span in spans for number in waits.of(span.pass_)] for spans in timeline.spans],
        "memory": [list(_curve(curve, origin)) for curve in entry.memory] if entry.memory else None,
    }


def _passes(timeline: Timeline, rank: int, origin: float) -> Iterator[int]:
    now = 0
    for (kind, part, microbatch), start, end in timeline.spans[rank]:
        first, last = eighths(start - origin), eighths(end - origin)
        yield from (KINDS.index(kind), part, microbatch, first - now, last - first)
        now = last


def _curve(curve: Sequence[tuple[float, float]], origin: float) -> Iterator[int]:
    now = 0
    for seconds, size in curve:
        time = max(0, eighths(seconds - origin))
        yield from (time - now, round(size))
        now = time


class _Waits:
    """What the passes of a timeline wait for, as numbers."""

    def __init__(self, timeline: Timeline) -> None:
        self._layout: Layout = timeline.schedule.layout
        self._number: dict[Pass, int] = {}
        self._end: dict[Pass, float] = {}
        self._latest: dict[tuple[Pass, ...], int | None] = {}
        spans = (span for rank in timeline.spans for span in rank)
        for number, (p, _, end) in enumerate(spans):
            for given in gives(p):
                self._number[given], self._end[given] = number, end

    def of(self, p: Pass) -> list[int]:
        """How many needs, then channel and source of each."""
        pairs = [(CHANNELS.index(via), self._last(sources)) for sources, via in needs(p, self._layout)]
        found = [(via, source) for via, source in pairs if source is not None]
        return [len(found), *(number for pair in found for number in pair)]

    def _last(self, sources: tuple[Pass, ...]) -> int | None:
        """The source that ended last; None where a timeline lacks it."""
        if sources not in self._latest:
            there = [source for source in sources if source in self._end]
            last = max(there, key=self._end.__getitem__, default=None)
            self._latest[sources] = None if last is None else self._number[last]
        return self._latest[sources]


def _idle(timeline: Timeline) -> float:
    ranks = len(timeline.spans)
    return sum(timeline.bubble(rank) for rank in range(ranks)) / max(1, ranks)


def _peak(entry: TraceEntry) -> float | None:
    return max((size for curve in entry.memory or () for _, size in curve), default=None)


def _facts(entries: Sequence[TraceEntry]) -> dict[str, Any]:
    """A row per entry: the facts that came with it, or step, idle time and memory where none did."""
    facts = []
    for entry in entries:
        peak = _peak(entry)
        given = list(entry.rows) or [
            ("step", numbers.duration(entry.timeline.makespan)),
            ("idle", numbers.percent(_idle(entry.timeline))),
            *([("most memory", numbers.memory(peak))] if peak is not None else []),
        ]
        facts.append({str(label): str(value) for label, value in given})
    labels = list(dict.fromkeys(label for each in facts for label in each))
    rows = [[each.get(label, "") for label in labels] for each in facts]
    return {"labels": labels, "rows": rows}


def _tools(entries: Sequence[TraceEntry], memory_limit: float | None) -> dict[str, Any]:
    """What the bar that stays on top offers: boxes to tick, help, the colours."""
    used = {span.pass_.kind for entry in entries for rank in entry.timeline.spans for span in rank}
    memory = any(entry.memory for entry in entries)
    boxes = [("linked", "one scale")] if len(entries) > 1 else []
    if memory:
        boxes += [("memory-shown", "memory"), ("from-zero", "memory from 0")]
    return {
        "boxes": boxes,
        "chunks": any(len(held) > 1 for entry in entries for held in entry.timeline.schedule.layout.stages),
        "limit": numbers.memory(memory_limit) if memory_limit is not None and memory else "",
        "legend": [(COLOURS[kind], f"{kind}, {NAMES[kind]}") for kind in Kind if kind in used],
    }


def _way(entry: TraceEntry) -> dict[str, str]:
    """What stands above a timeline, and the name of its picture."""
    timeline, peak = entry.timeline, _peak(entry)
    ranks, microbatches = len(timeline.spans), timeline.schedule.microbatches
    about = f"{numbers.duration(timeline.makespan)} a step, idle {numbers.percent(_idle(timeline))}"
    about += f", {ranks} ranks, {microbatches} microbatches"
    if peak is not None:
        about += f", at most {numbers.memory(peak)} on a rank"
    return {"title": entry.title, "about": about, "label": f"timeline of {ranks} ranks: {entry.title}"}
