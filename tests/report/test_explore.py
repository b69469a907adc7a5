"""The page of timelines: read as XML and as data, and used in a real browser where there is one."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from pinisi.base.errors import ScheduleError
from pinisi.report.explore import CHANNELS, KINDS, encode, write_explorer
from pinisi.report.trace import TraceEntry, trace
from pinisi.schedule import Costs, Layout, Pass, Schedule, Timeline, build, simulate
from pinisi.schedule.colours import COLOURS

from . import browser

COSTS = Costs(1e-3, 1.3e-3, 0.7e-3, 3.1e-4, 2.9e-4, 1.7e-5, 1.1e-5, 1e-6, 3e-6, 2e-6, 2e-6, 2e-6, 1e-6)
ROWS = [
    "0F0 3F0 3B0 0F1 3F1 3W0 3BW1 0BW0 0B1 0W1",
    "1F0 2F0 2BW0 1F1 2F1 1B0 1W0 2BW1 1BW1",
]


def v_shaped() -> Timeline:
    order = tuple(tuple(map(Pass.parse, row.split())) for row in ROWS)
    return simulate(Schedule("v", Layout(((0, 3), (1, 2))), 2, order), COSTS)


def curves(timeline: Timeline) -> list[list[tuple[float, float]]]:
    """Some memory of every rank: as many bytes as passes begun, each times a prime."""
    return [
        [(start, 1_000_003 * (at + rank)) for at, (_, start, _) in enumerate(spans)]
        for rank, spans in enumerate(timeline.spans)
    ]


def some() -> list[TraceEntry]:
    one = simulate(build("1f1b", 3, 5, barriers=1), COSTS)
    two = simulate(build("1f1b", 3, 5), COSTS)
    return [
        TraceEntry("1 barrier <&> ]]>", one, curves(one), [("step", "1 s"), ("fits & how", "yes")]),
        TraceEntry("0 barriers", two, None, [("step", "2 s"), ("why <not>", "too big")]),
        TraceEntry("V", v_shaped(), curves(v_shaped())),
    ]


def parsed(path: Path) -> ElementTree.Element:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def test_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    path = write_explorer(
        tmp_path / "new" / "page.html", "A & <b>", some(), lead="on 3 <ranks>", memory_limit=7e7
    )
    assert path == tmp_path / "new" / "page.html" and list(path.parent.iterdir()) == [path]
    page, text = parsed(path), path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|<link|<img|<iframe|fetch\(|import\(", text)
    assert not [node for node in page.iter() if node.get("src")]
    assert [node.get("href") for node in page.iter("a")] == ["#way-0", "#way-1", "#way-2"]
    assert page.findtext(".//h1") == "A & <b>" and page.findtext(".//header/p[2]") == "on 3 <ranks>"
    titles = [entry.title for entry in some()]
    assert [node.text for node in page.findall(".//section[@class='way']/h2")] == titles
    assert [node.text or "" for node in page.iter("th")] == [
        "",
        "step",
        "fits & how",
        "why <not>",
        "idle",
        "most memory",
    ]
    cells = [["".join(cell.itertext()) for cell in row.iter("td")] for row in page.findall(".//tbody/tr")]
    assert cells[0] == [titles[0], "1 s", "yes", "", "", ""]
    assert cells[1] == ["0 barriers", "2 s", "", "too big", "", ""]
    data = json.loads(page.findtext(".//script[@id='data']") or "")
    assert "the memory limit, 66.76 MiB." in text
    assert data["limit"] == 7e7 and [entry["title"] for entry in data["entries"]] == titles


def test_entries_may_be_plain_tuples_or_none(tmp_path: Path) -> None:
    path = write_explorer(tmp_path / "a.html", "t", [("x", v_shaped())])
    assert len(parsed(path).findall(".//canvas")) == 1
    assert "No timelines." in write_explorer(tmp_path / "b.html", "t", []).read_text()
    with pytest.raises(ScheduleError, match="1 memory curves for 2 ranks"):
        write_explorer(tmp_path / "c.html", "t", [("x", v_shaped(), [[]])])
    assert not (tmp_path / "c.html").exists()


def test_passes_and_curves_are_those_of_the_timeline() -> None:
    for entry in some():
        data = encode(entry)
        for rank, spans in enumerate(entry.timeline.spans):
            flat, now = data["passes"][rank], 0
            assert len(flat) == 5 * len(spans)
            for at, (p, start, end) in enumerate(spans):
                kind, part, microbatch, gap, length = flat[5 * at : 5 * at + 5]
                assert Pass(KINDS[kind], part, microbatch) == p
                assert (now + gap) / 8e6 == pytest.approx(start, abs=1e-7)
                now += gap + length
                assert now / 8e6 == pytest.approx(end, abs=1e-7)
            if entry.memory:
                flat, now = data["memory"][rank], 0
                for at, (time, size) in enumerate(entry.memory[rank]):
                    now += flat[2 * at]
                    assert now / 8e6 == pytest.approx(time, abs=1e-7) and flat[2 * at + 1] == size


def waits(entry: TraceEntry) -> dict[str, set[tuple[str, str]]]:
    data, result = encode(entry), {}
    every = [span.pass_ for rank in entry.timeline.spans for span in rank]
    for rank, spans in enumerate(entry.timeline.spans):
        flat = data["needs"][rank]
        for p, _, _ in spans:
            count, pairs = flat[0], flat[1 : 1 + 2 * flat[0]]
            flat = flat[1 + 2 * count :]
            result[str(p)] = {
                (CHANNELS[via], str(every[source]))
                for via, source in zip(pairs[::2], pairs[1::2], strict=True)
            }
        assert not flat
    return result


def test_what_a_pass_waits_for() -> None:
    found = waits(TraceEntry("x", v_shaped()))
    assert found["0F1"] == set()
    assert found["2F1"] == {("ACTIVATION", "1F1")}
    assert found["3BW1"] == {("STASH", "3F1")}
    assert found["2BW1"] == {("STASH", "2F1"), ("GRADIENT", "3BW1")}
    assert found["1BW1"] == {("STASH", "1F1"), ("GRADIENT", "2BW1")}
    assert found["0BW0"] == {("STASH", "0F0"), ("GRADIENT", "1B0")}
    assert found["0W1"] == {("STASH", "0B1")}
    timeline = simulate(build("1f1b", 2, 3, barriers=1), COSTS)
    found = waits(TraceEntry("x", timeline))
    ends = {str(p): end for spans in timeline.spans for p, _, end in spans}
    for i in range(3):
        slower = max((f"0S{i}", f"1S{i}"), key=ends.__getitem__)
        assert found[f"1BW{i}"] == {("STASH", f"1F{i}"), ("C1", slower)}
        assert found[f"0S{i}"] == {("C0", f"1F{i}")}
        assert found[f"1G{i}"] == {("EMBEDDING_GRADIENT", f"0BW{i}")}


COLOUR_AT = """
function colour(board, x, y) {
  const ratio = window.devicePixelRatio || 1;
  return [...board.context.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data].slice(0, 3);
}
"""
# The name of every pass, its width in pixels, and the colour of a pixel in it.
PIXELS = """
boards.forEach(board => { board.view = {from: 0, to: board.entry.last}; board.draw(); });
const pixels = boards.map(board => board.entry.ranks.map((row, rank) => [...row.start].map((start, i) => {
  const x = board.x(start), wide = board.x(row.end[i]) - x, y = board.top(rank) + 3;
  return [name(row, i), wide / board.width, wide > 4 ? colour(board, x + wide * 0.3, y) : null];
})));
boards.forEach(board => { board.view = shared; });
"""
# What the words beside the pointer say over a pass, a gap, a memory curve and the names of the ranks.
POINTER = """
function send(board, type, x, y, more) {
  const place = board.canvas.getBoundingClientRect(), at = {clientX: place.left + x, clientY: place.top + y};
  const made = type === 'wheel' ? WheelEvent : PointerEvent;
  board.canvas.dispatchEvent(new made(type, {...at, bubbles: true, cancelable: true, ...more}));
}
function read(x, y) {
  send(boards[0], 'pointermove', x, y);
  return tip.hidden ? null : tip.textContent;
}
const board = boards[0], row = board.entry.ranks[2], y = board.top(2) + 4, every = [...row.start.keys()];
const which = every.find(i => name(row, i) === '2BW1');
const gap = every.find(i => i && row.start[i] - row.end[i - 1] > 1000);
const pointer = {
  pass: read(board.x((row.start[which] + row.end[which]) / 2), y),
  gap: read(board.x((row.start[gap] + row.end[gap - 1]) / 2), y), after: name(row, gap),
  memory: read(board.x(board.entry.memory[2].time[7]) + 1, y + board.lane + 6), beside: read(20, y),
};
"""
# The view after each step of a user.
MOVES = """
const steps = [{...shared}], note = () => steps.push({...shared}), board1 = boards[1], x = LEFT + 250;
const key = name => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true}));
send(board1, 'wheel', x, 60, {deltaY: -300}); note();                 // not focused: the page scrolls
const held = board1.time(x);
send(board1, 'wheel', x, 60, {deltaY: -300, ctrlKey: true}); note();  // e times closer
const after = board1.time(x);
for (const [type, by] of [['down', 0], ['move', -100], ['up', -100]]) send(board1, 'pointer' + type, x + by, 60);
note();
for (const name of ['ArrowRight', '+', '-', '0']) { key(name); note(); }
board1.canvas.focus();
send(board1, 'wheel', x, 60, {deltaY: -300}); note();                 // focused: the wheel alone zooms
document.getElementById('linked').click();
key('0');
const moves = {steps, held, after, last: longest, width: board1.width,
  own: board1.view, other: boards[0].view, two: board1.entry.last};
"""
# The file that the button offers.
SAVE = """
const saved = {};
URL.createObjectURL = blob => { saved.size = blob.size; return 'blob:'; };
HTMLAnchorElement.prototype.click = function () { saved.name = this.download; };
document.getElementById('trace').click();
"""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The page used in a browser: what each script saw."""
    if browser.find() is None:
        pytest.skip("no Chromium on this machine")
    page = write_explorer(tmp_path_factory.mktemp("page") / "p.html", "Plan <1>: é", some(), memory_limit=2e7)
    script = COLOUR_AT + PIXELS + POINTER + MOVES + SAVE
    script += "answer({pixels, pointer, moves, saved, trace: trace()});"
    return browser.run(page, script)


def test_the_browser_makes_the_same_trace(used: dict[str, Any]) -> None:
    """The page's own trace against the one that Python writes, event by event."""
    assert used["trace"] == json.loads(json.dumps(trace(some())))
    length = len(json.dumps(used["trace"], separators=(",", ":"), ensure_ascii=False).encode())
    assert used["saved"]["name"] == "Plan-1-é-trace.json"
    assert used["saved"]["size"] == pytest.approx(length, rel=0.01)


def test_every_pass_is_drawn_in_its_place_and_colour(used: dict[str, Any]) -> None:
    looked_at = 0
    for entry, ranks in zip(some(), used["pixels"], strict=True):
        timeline = entry.timeline
        held = timeline.schedule.layout.stages
        for rank, (spans, drawn) in enumerate(zip(timeline.spans, ranks, strict=True)):
            for (p, start, end), (name, wide, colour) in zip(spans, drawn, strict=True):
                assert name == str(p)
                assert wide == pytest.approx((end - start) / timeline.makespan, rel=1e-3)
                chunk = held[rank].index(p.part) if p.kind in ("F", "B", "W", "BW") else 0
                whole = [int(COLOURS[p.kind][at : at + 2], 16) * (1 - 0.14 * chunk) for at in (1, 3, 5)]
                if colour:
                    looked_at += 1
                    assert colour == pytest.approx(whole, abs=2), f"{entry.title}: {p}"
    assert looked_at > 100


def test_wheel_drag_and_keys_move_the_view(used: dict[str, Any]) -> None:
    found = used["moves"]
    steps = [(step["from"], step["to"]) for step in found["steps"]]
    last = found["last"]
    assert steps[0] == steps[1] == (0, last)
    width = steps[2][1] - steps[2][0]
    assert width == pytest.approx(last / math.e, rel=1e-6)
    assert found["after"] == pytest.approx(found["held"], abs=last / found["width"])  # a pixel
    dragged = 100 / found["width"]
    assert steps[3] == pytest.approx([edge + dragged * width for edge in steps[2]], rel=1e-6)
    assert steps[4] == pytest.approx([edge + 0.15 * width for edge in steps[3]], rel=1e-6)
    assert steps[5][1] - steps[5][0] == pytest.approx(width / 1.5, rel=1e-6)
    assert steps[6] == pytest.approx(steps[4], rel=1e-6)
    assert steps[7] == (0, last)
    assert steps[8][1] - steps[8][0] == pytest.approx(width, rel=1e-6)
    # Apart, one goes back to its own whole step, the other stays where it was.
    assert (found["own"]["from"], found["own"]["to"]) == (0, found["two"])
    assert (found["other"]["from"], found["other"]["to"]) == pytest.approx(steps[8], rel=1e-6)


def test_the_pointer_reads_pass_start_length_needs_gaps_and_memory(used: dict[str, Any]) -> None:
    found = used["pointer"]
    timeline = some()[0].timeline
    spans = {str(p): (start, end) for rank in timeline.spans for p, start, end in rank}
    start, end = spans["2BW1"]
    lines = found["pass"].split("\n")
    assert lines[0] == "2BW1  backward of microbatch 1, stage 2, rank 2"
    numbers = [float(x) for x in re.findall(r"([\d.]+) ms", lines[1])]
    assert numbers[:2] == pytest.approx([1e3 * start, 1e3 * (end - start)], rel=1e-3)
    slower = max((f"{rank}S1" for rank in range(3)), key=lambda name: spans[name][1])
    assert lines[2].startswith("needs 2F1 (kept on the rank), ended ")
    assert lines[3].startswith(f"needs {slower} (C1")
    assert found["gap"].startswith("rank 2 idle for ") and f"then {found['after']}\nneeds " in found["gap"]
    assert found["memory"].startswith("rank 2: 8.58 MiB at ") and found["beside"] is None


def test_thirty_two_ranks_are_blended(tmp_path: Path) -> None:
    """p = 32, m = 128: 24,576 passes. A pixel has the mean colour of what it covers, and a frame is a few drawings a rank."""
    if browser.find() is None:
        pytest.skip("no Chromium on this machine")
    timeline = simulate(build("gpipe", 32, 128, barriers=1), COSTS)
    path = write_explorer(tmp_path / "p.html", "t", [TraceEntry("x", timeline, curves(timeline))])
    assert path.stat().st_size < 4e6
    found = browser.run(
        path,
        COLOUR_AT
        + """
        const board = boards[0], row = board.entry.ranks[31], drawn = {};
        for (const way of ['fillRect', 'drawImage', 'stroke', 'fill', 'fillText']) {
          drawn[way] = 0;
          board.context[way] = function (...given) { drawn[way]++; CanvasRenderingContext2D.prototype[way].apply(this, given); };
        }
        board.draw();
        const at = i => colour(board, board.x(row.start[i]), board.top(31) + 7);
        const f = [...row.start.keys()].filter(i => data.kinds[row.kind[i]][0] === 'F')[70];
        const w = [...row.start.keys()].filter(i => data.kinds[row.kind[i]][0] === 'BW')[70];
        answer({drawn, passes: board.entry.ranks.reduce((a, r) => a + r.n, 0), f: at(f), w: at(w),
          dense: board.width / row.n});
        """,
    )
    assert found["passes"] == 24576 and found["dense"] < 4
    assert found["drawn"]["drawImage"] == 32 and sum(found["drawn"].values()) < 10 * 32
    for letter, colour in (("F", found["f"]), ("BW", found["w"])):
        kind = next(kind for kind in KINDS if kind == letter)
        assert colour == pytest.approx([int(COLOURS[kind][at : at + 2], 16) for at in (1, 3, 5)], abs=30)
