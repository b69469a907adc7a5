import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Channel, Kind, Layout, Pass, Schedule, build, needs


@given(st.sampled_from(list(Kind)), st.integers(0, 99), st.integers(0, 999))
def test_a_pass_is_read_back_from_its_text(kind, part, microbatch):
    p = Pass(kind, part, microbatch)
    assert Pass.parse(str(p)) == p


def test_a_pass_looks_as_people_write_it():
    assert str(Pass(Kind.F, 3, 7)) == "3F7"
    assert str(Pass(Kind.BW, 0, 12)) == "0BW12"


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2))
def test_a_table_is_read_back_from_its_text(ranks, microbatches, barriers):
    schedule = build("1f1b", ranks, microbatches, barriers=barriers)
    assert Schedule.from_text(schedule.to_text()) == schedule


def test_the_text_can_be_typed():
    schedule = Schedule.from_text(
        "# two ranks\nschedule mine microbatches 1 barriers 0\n\n"
        "rank 0 stages 0: 0F0 0BW0\nrank 1 stages 1: 1F0 1BW0"
    )
    assert schedule == Schedule("mine", Layout(((0,), (1,))), 1, build("1f1b", 2, 1).order)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("line 1", "schedule NAME")),
        ("schedule a microbatches 1 barriers 0\nrank 1 stages 0: 0F0", ("line 2", "rank 0 stages")),
        ("schedule a microbatches 1 barriers 0\nrank 0 stages 0: 0F0 0X0", ("line 2", "0X0")),
        ("schedule a microbatches 1 barriers 0\nrank 0 stages 1: 1F0", ("stages [1]",)),
    ],
)
def test_a_wrong_line_is_named(text, words):
    with pytest.raises(ScheduleError) as error:
        Schedule.from_text(text)
    assert all(word in str(error.value) for word in words)


def test_a_v_shaped_layout_knows_its_ranks():
    layout = Layout(((0, 3), (1, 2)), barriers=1)
    assert (layout.ranks, layout.last_stage, layout.first_rank, layout.last_rank) == (2, 3, 0, 0)
    assert layout.rank_of(Pass(Kind.BW, 2, 0)) == 1
    assert layout.rank_of(Pass(Kind.S, 1, 0)) == 1
    assert layout.vocabulary_ranks == (0, 1)
    assert Layout(((0, 3), (1, 2))).vocabulary_ranks == ()


def said(p, barriers):
    found = needs(p, Layout(((0,), (1,)), barriers))
    return {(str(via), " ".join(map(str, sources))) for sources, via in found}


def test_needs_are_those_of_the_algorithms():
    """Golden: arXiv 2411.05288, algorithms 1 (2 barriers) and 2 (1 barrier)."""
    f, bw = Pass(Kind.F, 0, 5), Pass(Kind.BW, 1, 5)
    assert said(f, 0) == set()
    assert said(f, 1) == {("EMBEDDING", "0E5 1E5")}
    assert said(Pass(Kind.F, 1, 5), 2) == {("ACTIVATION", "0F5")}
    assert said(Pass(Kind.S, 0, 5), 1) == {("C0", "1F5")}
    assert said(Pass(Kind.T, 0, 5), 1) == {("STASH", "0S5"), ("C1", "0S5 1S5")}
    assert said(bw, 0) == {("STASH", "1F5")}
    assert said(bw, 1) == {("STASH", "1F5"), ("C1", "0S5 1S5")}
    assert said(bw, 2) == {("STASH", "1F5"), ("C2", "0T5 1T5")}
    assert said(Pass(Kind.B, 0, 5), 1) == {("STASH", "0F5"), ("GRADIENT", "1B5")}
    assert said(Pass(Kind.W, 0, 5), 1) == {("STASH", "0B5")}
    assert said(Pass(Kind.G, 1, 5), 1) == {("EMBEDDING_GRADIENT", "0B5")}
    assert said(Pass(Kind.E, 1, 5), 1) == set()
    assert Channel.C0 == "C0"
