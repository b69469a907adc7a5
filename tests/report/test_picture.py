"""A timeline as an SVG file: a box for each pass, and titles that are text."""

from xml.etree import ElementTree

from pinisi.report.picture import draw
from pinisi.schedule import Costs, Kind, Pass, Timeline, build, simulate
from pinisi.schedule.timeline import Span


def test_a_picture_has_a_box_for_each_pass_and_a_colour_for_each_kind():
    timeline = simulate(build("1f1b", 3, 4, barriers=2), Costs(1, 1, 1, 0.5, 0.25, 0.1, 0.1))
    root = ElementTree.fromstring(draw(timeline, title="a < b"))
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == sum(len(spans) for spans in timeline.spans)
    assert "a < b" in [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    boxes = [b for b in root.iter("{http://www.w3.org/2000/svg}rect") if len(b)]
    assert len({b.get("fill") for b in boxes}) == 6
    assert all(64 <= float(b.get("x")) <= 1190.01 for b in boxes)
    empty = Timeline(timeline.schedule, ((Span(Pass(Kind.F, 0, 0), 0.0, 0.0),), (), ()))
    ElementTree.fromstring(draw(empty))
