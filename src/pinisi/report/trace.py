"""Writes timelines as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open: JSON in Chrome's trace-event format.

A timeline is a process, a rank a thread with one complete event ("X") a pass, a rank's memory a counter ("C").
Format: "Trace Event Format", docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.errors import DataError, ScheduleError
from pinisi.report.files import read_run
from pinisi.schedule import Kind, Timeline
from pinisi.schedule.colours import NAMES

# The viewer of chrome://tracing has names for its colours (catapult, tracing/base/color_scheme.html); Perfetto
# chooses by an event's name, which is that of its kind, so each kind has one colour there too.
COLOURS = {
    Kind.E: "detailed_memory_dump",
    Kind.F: "thread_state_runnable",
    Kind.S: "yellow",
    Kind.T: "rail_idle",
    Kind.B: "background_memory_dump",
    Kind.W: "cq_build_passed",
    Kind.BW: "thread_state_running",
    Kind.G: "light_memory_dump",
}
# Times are whole eighths of a microsecond. Viewers turn microseconds into nanoseconds and drop a pass that
# overlaps the one before by a rounding error; eighths are exact in binary, so passes that touch never do.
PER_SECOND = 8_000_000
Curve = Sequence[tuple[float, float]]


class TraceEntry(NamedTuple):
    """A timeline to show. memory[rank]: (seconds, bytes) points, each held until the next, in the timeline's own
    seconds. rows: (label, value) facts beside it."""

    title: str
    timeline: Timeline
    memory: Sequence[Curve] | None = None
    rows: Sequence[tuple[str, str]] = ()


def write_trace(run_folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the trace of a run's timelines, by default to trace.json in its folder; returns where it is.

    Raises DataError if there is no such folder or it holds no timeline.
    """
    run = read_run(Path(run_folder))
    both = (("predicted", run.predicted), ("measured", run.measured))
    entries = [TraceEntry(name, timeline) for name, timeline in both if timeline]
    if not entries:
        why = run.notes.get("timeline.json", "timeline.json holds no timeline.")
        raise DataError(f"{run_folder}: {why}")
    target = Path(out) if out else Path(run_folder) / "trace.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(trace(entries), separators=(",", ":")), encoding="utf-8")
    return target


def trace(entries: Iterable[TraceEntry]) -> dict[str, Any]:
    """The trace as a JSON object; each timeline begins at 0. Raises ScheduleError as `check` does."""
    events = [event for process, entry in enumerate(entries, 1) for event in _process(process, entry)]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def check(entry: TraceEntry) -> None:
    """Raise ScheduleError unless there is a memory curve for each rank, in order of time."""
    if entry.memory is None:
        return
    ranks = len(entry.timeline.spans)
    if len(entry.memory) != ranks:
        raise ScheduleError(
            f"'{entry.title}' has {len(entry.memory)} memory curves for {ranks} ranks: give one per rank"
        )
    for rank, curve in enumerate(entry.memory):
        if any(after[0] < before[0] for before, after in pairwise(curve)):
            raise ScheduleError(
                f"the memory curve of rank {rank} of '{entry.title}' runs back in time: sort its points"
            )


def begin(timeline: Timeline) -> float:
    """The second at which the first pass starts."""
    return min((spans[0].start for spans in timeline.spans if spans), default=0.0)


def eighths(seconds: float) -> int:
    """Seconds in whole eighths of a microsecond."""
    return round(seconds * PER_SECOND)


def _process(process: int, entry: TraceEntry) -> Iterator[dict[str, Any]]:
    check(entry)
    origin, layout = begin(entry.timeline), entry.timeline.schedule.layout
    yield _name("process_name", process, 0, name=entry.title)
    yield _name("process_sort_index", process, 0, sort_index=process)
    for rank, spans in enumerate(entry.timeline.spans):
        stages = ", ".join(map(str, layout.stages[rank]))
        yield _name("thread_name", process, rank, name=f"rank {rank} (stages {stages})")
        yield _name("thread_sort_index", process, rank, sort_index=rank)
        for p, start, end in spans:
            first, last = eighths(start - origin), eighths(end - origin)
            yield {
                "name": NAMES[p.kind],
                "cat": str(p.kind),
                "ph": "X",
                "ts": first / 8,
                "dur": (last - first) / 8,
                "pid": process,
                "tid": rank,
                "cname": COLOURS[p.kind],
                "args": {"pass": str(p), "microbatch": p.microbatch, "part": p.part},
            }
    for rank, curve in enumerate(entry.memory or ()):
        for seconds, size in curve:
            yield {
                "name": f"memory of rank {rank}",
                "ph": "C",
                "ts": max(0, eighths(seconds - origin)) / 8,
                "pid": process,
                "tid": rank,
                "args": {"bytes": size},
            }


def _name(what: str, process: int, thread: int, **arguments: object) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": arguments}
