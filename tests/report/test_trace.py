"""The trace is held against Chrome's description of its format, and read back into the timeline it came from."""

import json
from pathlib import Path

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.cli import main
from pinisi.report.trace import COLOURS, TraceEntry, trace
from pinisi.schedule import Costs, Kind, Pass, Timeline, build, simulate
from pinisi.schedule.timeline import Span

from .made_run import make_run

COSTS = Costs(1e-3, 1.3e-3, 0.7e-3, 3.1e-4, 2.9e-4, 1.7e-5, 1.1e-5, 1e-6, 3e-6, 2e-6, 2e-6, 2e-6, 1e-6)
SIZES = [("1f1b", 3, 7, 1), ("1f1b", 4, 2, 2), ("gpipe", 1, 5, 0)]
# What chrome://tracing calls reserved names (catapult, color_scheme.html), as far as they are used here.
RESERVED = {
    "thread_state_runnable",
    "thread_state_running",
    "detailed_memory_dump",
    "background_memory_dump",
    "light_memory_dump",
    "yellow",
    "rail_idle",
    "cq_build_passed",
}


def made(name: str, ranks: int, microbatches: int, barriers: int, late: float = 0.0) -> Timeline:
    """A predicted timeline, all of it `late` seconds later."""
    timeline = simulate(build(name, ranks, microbatches, barriers=barriers), COSTS)
    spans = tuple(tuple(Span(p, a + late, b + late) for p, a, b in rank) for rank in timeline.spans)
    return Timeline(timeline.schedule, spans)


def follows_the_format(data: dict) -> None:
    """Phases X, C and M with the fields that the format asks of each; X events of one thread never overlap."""
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["displayTimeUnit"] in ("ms", "ns")
    ends: dict[tuple[int, int], int] = {}
    for event in data["traceEvents"]:
        assert isinstance(event["name"], str) and type(event["pid"]) is int and type(event["tid"]) is int
        if event["ph"] == "M":
            kind = {"name": str, "sort_index": int}[event["name"].split("_", 1)[1]]
            assert event["name"] in (
                "process_name",
                "process_sort_index",
                "thread_name",
                "thread_sort_index",
            )
            assert [type(value) for value in event["args"].values()] == [kind]
        elif event["ph"] == "C":
            assert event["ts"] >= 0 and all(type(value) in (int, float) for value in event["args"].values())
        else:
            assert event["ph"] == "X" and event["dur"] >= 0 and isinstance(event["cat"], str)
            assert event["cname"] in RESERVED
            # As a viewer does it: microseconds times 1000, cut to whole nanoseconds.
            start, length, track = event["ts"] * 1000, event["dur"] * 1000, (event["pid"], event["tid"])
            assert start == int(start) and length == int(length)
            assert start >= ends.get(track, 0)
            ends[track] = int(start + length)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "-".join(map(str, size)))
def test_every_pass_is_there_with_its_times(size) -> None:
    timeline = made(*size, late=0.123)
    data = trace([TraceEntry("one", made(*size)), TraceEntry("two", timeline)])
    follows_the_format(data)
    for process in (1, 2):
        for rank, spans in enumerate(timeline.spans):
            events = [
                event
                for event in data["traceEvents"]
                if (event["ph"], event["pid"], event["tid"]) == ("X", process, rank)
            ]
            assert [Pass.parse(event["args"]["pass"]) for event in events] == [p for p, _, _ in spans]
            for event, (p, start, end) in zip(events, spans, strict=True):
                assert (event["args"]["microbatch"], event["args"]["part"]) == (p.microbatch, p.part)
                assert event["cat"] == p.kind
                assert event["ts"] == pytest.approx(1e6 * (start - 0.123), abs=0.0626)
                assert event["dur"] == pytest.approx(1e6 * (end - start), abs=0.1251)


def test_kinds_differ_in_name_and_colour() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS) == len(Kind) and set(COLOURS.values()) == RESERVED
    events = trace([TraceEntry("x", made("1f1b", 2, 3, 2))])["traceEvents"]
    named = {(event["cat"], event["name"]) for event in events if event["ph"] == "X"}
    assert len(named) == len({name for _, name in named}) == len({kind for kind, _ in named}) == 6


def test_passes_that_touch_never_overlap() -> None:
    """Thousands of passes with lengths that no clock divides, one behind the other."""
    schedule = build("gpipe", 1, 4000)
    thirds = [(Span(p, step / 3e5, (step + 1) / 3e5)) for _, step, p in schedule.passes()]
    follows_the_format(trace([TraceEntry("thirds", Timeline(schedule, (tuple(thirds),)))]))


def test_memory_is_a_counter_for_each_rank() -> None:
    curves = [[(0.123, 5), (0.124, 7.5)], [(0.1, 1)], [(0.125, 2**40)]]
    data = trace([TraceEntry("x", made("1f1b", 3, 2, 0, late=0.123), curves)])
    follows_the_format(data)
    found = [(e["name"], e["ts"], e["args"]) for e in data["traceEvents"] if e["ph"] == "C"]
    assert found == [
        ("memory of rank 0", 0.0, {"bytes": 5}),
        ("memory of rank 0", 1000.0, {"bytes": 7.5}),
        ("memory of rank 1", 0.0, {"bytes": 1}),
        ("memory of rank 2", 2000.0, {"bytes": 2**40}),
    ]


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ([[(0, 1)]], ("1 memory curves", "3 ranks")),
        ([[], [(1, 1), (0.5, 1)], []], ("rank 1", "back in time")),
    ],
)
def test_a_wrong_memory_curve_is_named(curves, words) -> None:
    with pytest.raises(ScheduleError) as error:
        trace([TraceEntry("plan 3", made("1f1b", 3, 2, 0), curves)])
    assert all(word in str(error.value) for word in ("plan 3", *words))


def test_the_command_writes_predicted_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = make_run(tmp_path / "run", ranks=2, microbatches=3, barriers=1, steps=20)
    out = tmp_path / "new" / "trace.json"
    assert main(["trace", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    data = json.loads(out.read_text())
    follows_the_format(data)
    names = [e["args"]["name"] for e in data["traceEvents"] if e["name"] == "process_name"]
    assert names == ["predicted", "measured"]
    both = json.loads((run / "timeline.json").read_text())
    for process, name in enumerate(names, 1):
        ends = [e["ts"] + e["dur"] for e in data["traceEvents"] if (e["ph"], e["pid"]) == ("X", process)]
        assert max(ends) == pytest.approx(1e6 * Timeline.from_dict(both[name]).makespan, abs=0.13)
    assert main(["trace", str(run)]) == 0
    assert json.loads((run / "trace.json").read_text()) == data


def test_a_run_without_timelines_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["trace", str(tmp_path)]) == 2
    assert "timeline.json is missing" in capsys.readouterr().err
    assert main(["trace", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
