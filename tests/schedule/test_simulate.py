import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Kind, Op, Timeline, build, lower, simulate
from pinisi.schedule.execution.replay import replay
from pinisi.schedule.needs import gives, needs


def starts(timeline):
    return {str(s.pass_): (s.start, s.end) for spans in timeline.spans for s in spans}


def test_two_ranks_by_hand():
    """F = 1, B = 1, W = 2, a message takes a quarter: p = 2, m = 2, worked out on paper."""
    timeline = simulate(build("1f1b", 2, 2), Costs(1, 1, 2, p2p=0.25))
    assert starts(timeline) == {
        "0F0": (0, 1),
        "0F1": (1, 2),
        "1F0": (1.25, 2.25),
        "1BW0": (2.25, 5.25),
        "1F1": (5.25, 6.25),
        "1BW1": (6.25, 9.25),
        "0BW0": (5.5, 8.5),
        "0BW1": (9.5, 12.5),
    }
    assert timeline.makespan == 12.5
    assert timeline.bubble(0) == pytest.approx(1 - 8 / 12.5)
    assert [timeline.peak_activation(rank) for rank in (0, 1)] == [2, 1]


@pytest.mark.parametrize(
    ("barriers", "end"),
    [
        # Up to here: E 1, rows .5, F 1, p2p .25, F 1, C0 .125, S on rank 0: 1, C1 .75. Then:
        (1, 5.625 + 2 + 3 + 0.25 + 3 + 0.5 + 1),  # T (U arrives meanwhile), BW, p2p, BW, rows, G
        (2, 5.625 + 2 + 0.6 + 3 + 0.25 + 3 + 0.5 + 1),  # T, C2, BW, p2p, BW, rows, G
    ],
)
def test_one_microbatch_passes_every_channel_once(barriers, end):
    costs = Costs(1, 1, 2, 1, 2, 1, 1, p2p=0.25, c0=0.125, c1=0.75, u=0.3, c2=0.6, embedding=0.5)
    timeline = simulate(build("1f1b", 2, 1, barriers=barriers), costs)
    assert timeline.makespan == pytest.approx(end)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(("gpipe", "1f1b")), st.integers(1, 5), st.integers(1, 9), st.integers(0, 2), st.data())
def test_no_pass_starts_before_what_it_needs_and_ranks_do_one_thing_at_a_time(name, ranks, m, barriers, data):
    numbers = [data.draw(st.floats(0.05, 3)) for _ in range(13)]
    costs = Costs(*numbers)
    schedule = build(name, ranks, m, barriers=barriers)
    timeline = simulate(schedule, costs)
    when = {g: s for spans in timeline.spans for s in spans for g in gives(s.pass_)}
    channel = {
        "STASH": 0.0,
        "ACTIVATION": costs.p2p,
        "GRADIENT": costs.p2p,
        "C0": costs.c0,
        "C1": costs.c1,
        "C2": costs.c2,
        "EMBEDDING": costs.embedding,
        "EMBEDDING_GRADIENT": costs.embedding,
    }
    for row, spans in zip(schedule.order, timeline.spans, strict=True):
        assert tuple(s.pass_ for s in spans) == row
        for before, after in pairwise(spans):
            assert after.start >= before.end
        for span in spans:
            p = span.pass_
            for sources, via in needs(p, schedule.layout):
                for source in sources:
                    far = via in ("C0", "C1", "C2") or schedule.layout.rank_of(
                        source
                    ) != schedule.layout.rank_of(p)
                    extra = costs.u if via == "C1" and p.kind is Kind.BW else 0.0
                    least = when[source].end + (channel[via] + extra if far else 0.0)
                    assert span.start >= least - 1e-9
    # Adding to any cost never helps a fixed program.
    slower = Costs(*[x * 1.1 for x in numbers])
    assert simulate(schedule, slower).makespan == pytest.approx(1.1 * timeline.makespan)


def test_a_channel_carries_one_message_at_a_time():
    """F = 1 but a message takes 3: stage 1 gets one every 3 seconds."""
    times = starts(simulate(build("gpipe", 2, 4), Costs(1, 1, p2p=3)))
    assert [times[f"1F{i}"][0] for i in range(4)] == [4, 7, 10, 13]


def test_receives_are_posted_a_long_pass_ahead_and_nothing_waits_early():
    for barriers in (0, 1, 2):
        program = lower(build("1f1b", 4, 9, barriers=barriers))
        for code in program.instructions:
            place = {item: at for at, item in enumerate(code)}
            for (op, what), at in place.items():
                if op is Op.WAIT and (Op.RECEIVE, what) in place:
                    between = code[place[Op.RECEIVE, what] : at]
                    runs = [i.what.kind for i in between if i.op is Op.RUN]
                    first = not any(i.op is Op.RUN for i in code[: place[Op.RECEIVE, what]])
                    assert first or any(kind in ("F", "BW") for kind in runs)
                    rest = [i for i in code[at:] if i.op is not Op.WAIT]
                    assert rest[0].op is Op.RUN  # the consumer follows at once
                if op is Op.SEND:
                    back = [i for i in code[:at] if i.op not in (Op.SEND, Op.RECEIVE, Op.LAUNCH)]
                    assert back[-1].op is Op.RUN


def test_a_timeline_survives_json():
    timeline = simulate(build("1f1b", 3, 4, barriers=1), Costs(1, 1, 1, 0.5, 0.25, 0.1, 0.1))
    again = Timeline.from_dict(json.loads(json.dumps(timeline.to_dict())))
    assert again == timeline
    with pytest.raises(ScheduleError, match="no timeline"):
        Timeline.from_dict({"schedule": timeline.schedule.to_text()})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"forward": -1, "backward": 1}, ("forward", "-1")),
        ({"forward": float("nan"), "backward": 1}, ("forward", "nan")),
        ({"forward": "1", "backward": 1}, ("forward", "'1'")),
        ({"forward": 1, "backward": [1, 1, 1]}, ("backward", "3 numbers for 2 ranks")),
        ({"forward": [[1, 1], [1, 1]], "backward": 1}, ("forward of rank 0", "1 chunks")),
        ({"forward": 1, "backward": 1, "head_s": [[1], [1]]}, ("head_s", "chunk")),
    ],
)
def test_wrong_costs_are_named(arguments, words):
    with pytest.raises(ScheduleError) as error:
        simulate(build("1f1b", 2, 1), Costs(**arguments))
    assert all(word in str(error.value) for word in words)


def test_costs_by_rank_and_chunk():
    costs = Costs(forward=[[1], [2]], backward=[3, 4], weight=0.5)
    times = starts(simulate(build("1f1b", 2, 1), costs))
    assert times == {"0F0": (0, 1), "1F0": (1, 3), "1BW0": (3, 7.5), "0BW0": (7.5, 11)}


def test_replay_agrees_with_the_machine_where_no_message_queues():
    costs = Costs(1, 1, 2, 1, 2, 1, 1, p2p=0.25, c0=0.125, c1=0.75, u=2.5, c2=0.6, embedding=0.5)
    for barriers in (0, 1, 2):
        schedule = build("1f1b", 3, 1, barriers=barriers)
        assert max(replay(schedule, costs).end.values()) == pytest.approx(simulate(schedule, costs).makespan)
