"""Tables of the installed torch, read; tables of ours, read by torch. torch only plans here: no processes."""

import csv
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import pytest
import torch
import torch.distributed.pipelining.schedules as torch_schedules
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import ScheduleError
from pinisi.schedule import Costs, Kind, Schedule, build, simulate, verify
from pinisi.schedule.pipelining import read_csv, write_csv

# name, ranks, chunks, microbatches; sizes that divide nothing where torch allows it
TABLES = [
    ("GPipe", 3, 1, 5),
    ("LoopedBFS", 3, 3, 5),
    ("Interleaved1F1B", 4, 2, 8),
    ("Interleaved1F1B", 3, 3, 6),
    ("InterleavedZeroBubble", 2, 2, 8),
    ("InterleavedZeroBubble", 3, 2, 9),
    ("ZBVZeroBubble", 2, 2, 3),
    ("ZBVZeroBubble", 4, 2, 11),
    ("DualPipeV", 2, 2, 7),
    ("DualPipeV", 4, 2, 10),
]
V_SHAPED = ("ZBVZeroBubble", "DualPipeV")


def stages(ranks, chunks):
    """What torch asks of a stage to plan a schedule, and no more."""
    return [
        SimpleNamespace(
            num_stages=ranks * chunks,
            group_size=ranks,
            group_rank=0,
            stage_index=ranks * chunk,
            is_first=not chunk,
            is_last=False,
            has_backward=True,
            submod=torch.nn.Identity(),
        )
        for chunk in range(chunks)
    ]


def torch_schedule(name, ranks, chunks, microbatches):
    cls = torch_schedules.get_schedule_class(name)
    made = stages(ranks, chunks)
    single = issubclass(cls, torch_schedules.PipelineScheduleSingle)
    return cls(made[0] if single else made, microbatches)


def torch_csv(schedule, order=None) -> str:
    """As torch's `_dump_csv` writes it; the schedules of one stage a rank have none of their own."""
    text = StringIO()
    table = order or schedule.pipeline_order
    csv.writer(text).writerows(table[rank] for rank in table)
    return text.getvalue()


def leaves(actions):
    """The compute actions of a row of torch's, overlapped ones one by one, as (stage, letter, microbatch)."""
    flat = [leaf for action in actions if action for leaf in action.sub_actions or (action,)]
    letters = "FBIW"
    return [
        (a.stage_index, a.computation_type.value, a.microbatch_index)
        for a in flat
        if a.computation_type.value in letters
    ]


def runs(schedule: Schedule) -> bool:
    """Whether ranks that run their rows in order, messages being instant, all come to the end. Written out by
    hand for 0 barriers; nothing is shared with `needs`."""
    last = sum(len(held) for held in schedule.layout.stages) - 1
    done: set[tuple[str, int, int]] = set()
    at = [0] * len(schedule.order)
    moved = True
    while moved:
        moved = False
        for rank, row in enumerate(schedule.order):
            while at[rank] < len(row):
                kind, stage, i = row[at[rank]]
                if kind == "F":
                    ready = stage == 0 or ("F", stage - 1, i) in done
                elif kind == "W":
                    ready = ("B", stage, i) in done
                else:
                    ready = ("F", stage, i) in done and (stage == last or ("B", stage + 1, i) in done)
                if not ready:
                    break
                done.update((letter, stage, i) for letter in kind)  # BW is B and W
                at[rank] += 1
                moved = True
    return all(a == len(row) for a, row in zip(at, schedule.order, strict=True))


@pytest.mark.parametrize("case", TABLES, ids=lambda case: "-".join(map(str, case)))
def test_torchs_tables_load_verify_and_simulate(case, tmp_path):
    name, ranks, chunks, microbatches = case
    theirs = torch_schedule(*case)
    text = torch_csv(theirs)
    if chunks > 1:
        theirs._dump_csv(tmp_path / "dumped.csv", format="compute_only")
        assert (tmp_path / "dumped.csv").read_text() == text.replace("\r\n", "\n")
    schedule = read_csv(text, name)
    assert schedule.microbatches == microbatches
    ends = [(r, 2 * ranks - 1 - r) for r in range(ranks)]
    around = [tuple(range(r, ranks * chunks, ranks)) for r in range(ranks)]
    assert schedule.layout.stages == tuple(ends if name in V_SHAPED else around)
    letter = {"F": Kind.F, "I": Kind.B, "W": Kind.W, "B": Kind.BW}
    for rank, row in theirs.pipeline_order.items():
        assert [(p.part, p.kind, p.microbatch) for p in schedule.order[rank]] == [
            (stage, letter[kind], i) for stage, kind, i in leaves(row)
        ]
    verify(schedule)
    timeline = simulate(schedule, Costs(1.0, 1.0, 1.0))
    work = 3 * chunks * microbatches
    assert all(timeline.busy(rank) == work for rank in range(ranks))
    assert work < timeline.makespan < 3 * work


@pytest.mark.parametrize(
    ("case", "bound"),
    [
        # F = B = W = 1 for each of two chunks. arXiv 2405.15362: ZB-V's peak is p whole microbatches, and no
        # rank idles but while the pipeline fills, p - 1 forwards on the last rank.
        (("ZBVZeroBubble", 4, 2, 11), (66 + 3, 4.0)),
        (("ZBVZeroBubble", 6, 2, 17), (102 + 5, 6.0)),
    ],
)
def test_zbv_has_the_published_peak_and_bubble(case, bound):
    schedule = read_csv(torch_csv(torch_schedule(*case)), "zbv")
    timeline = simulate(schedule, Costs(1.0, 1.0, 1.0))
    makespan, peak = bound
    assert timeline.makespan == makespan
    assert max(timeline.peak_activation(rank) for rank in range(case[1])) == peak


@pytest.mark.parametrize("case", TABLES[1:], ids=lambda case: "-".join(map(str, case)))
def test_torch_reads_what_we_write(case, tmp_path):
    name, ranks, chunks, microbatches = case
    schedule = read_csv(torch_csv(torch_schedule(*case)), name)
    path = tmp_path / "ours.csv"
    path.write_text(write_csv(schedule))
    theirs = torch_schedules._PipelineScheduleRuntime(stages(ranks, chunks), microbatches)
    theirs._load_csv(path)  # raises unless the table is whole and every send and receive finds its place
    assert torch_csv(theirs).split() == write_csv(schedule).split()
    held = theirs.stage_index_to_group_rank
    assert all(held[s] == schedule.layout.rank_of_stage(s) for s in range(ranks * chunks))


@pytest.mark.parametrize("case", TABLES[1:7], ids=lambda case: "-".join(map(str, case)))
def test_tables_with_torchs_communication_read_as_those_without(case):
    theirs = torch_schedule(*case)
    plain = read_csv(torch_csv(theirs), "x")
    full = torch_csv(theirs, theirs.pipeline_order_with_comms)
    assert "SEND_F" in full and "REDUCE_GRAD" in full
    assert read_csv(full, "x") == plain


@pytest.mark.parametrize("case", [("InterleavedZeroBubble", 2, 2, 8), ("DualPipeV", 4, 2, 10)])
def test_the_older_spelling_of_an_input_gradient_reads_the_same(case):
    text = torch_csv(torch_schedule(*case))
    assert "I" in text
    assert read_csv(text.replace("I", "B"), "x") == read_csv(text, "x")
    assert read_csv("0F0,0BW0", "1f1b") == read_csv("0F0,0B0", "1f1b") == build("1f1b", 1, 1)


def test_torchs_1f1b_reads_as_ours():
    """torch 2.13's own table counts the last rank's forwards from 1 instead of 0, which `verify` refuses; its
    runtime doesn't read that row."""
    text = torch_csv(torch_schedule("1F1B", 4, 1, 6))
    rows = text.split("\r\n")
    if "3F6" in rows[3]:
        with pytest.raises(ScheduleError, match="never runs"):
            verify(read_csv(text, "1f1b"))
        for i in range(6):
            rows[3] = rows[3].replace(f"3F{i + 1}", f"3F{i}")
    assert read_csv("\n".join(rows), "1f1b") == build("1f1b", 4, 6)


@pytest.mark.parametrize(
    "name", ["1f1b", "interleaved-1f1b", "zb-h1", "zb-2p", "zbv", "v-half", "v-min", "dualpipev"]
)
@pytest.mark.parametrize(("ranks", "microbatches"), [(2, 5), (3, 12)])
def test_torch_reads_our_own_schedules(name, ranks, microbatches, tmp_path):
    schedule = build(name, ranks, microbatches)
    path = tmp_path / "ours.csv"
    path.write_text(write_csv(schedule))
    chunks = len(schedule.layout.stages[0])
    theirs = torch_schedules._PipelineScheduleRuntime(stages(ranks, chunks), microbatches)
    theirs._load_csv(path)
    assert read_csv(torch_csv(theirs), name) == schedule


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["gpipe", "1f1b"]), st.integers(1, 6), st.integers(1, 9))
def test_a_table_is_read_back_as_it_was_written(name, ranks, microbatches):
    schedule = build(name, ranks, microbatches)
    assert read_csv(write_csv(schedule), name) == schedule


@pytest.mark.parametrize(
    "case",
    [("InterleavedZeroBubble", 2, 2, 4), ("ZBVZeroBubble", 3, 2, 5), ("DualPipeV", 2, 2, 5), TABLES[3]],
    ids=lambda case: "-".join(map(str, case)),
)
def test_tables_of_several_stages_with_two_passes_swapped_are_judged_by_hand(case):
    """B and W apart, several stages on a rank: verify takes what runs and refuses what doesn't."""
    schedule = read_csv(torch_csv(torch_schedule(*case)), "x")
    assert runs(schedule)
    verdicts = set()
    for rank, row in enumerate(schedule.order):
        for at in range(len(row) - 1):
            swapped = (*row[:at], row[at + 1], row[at], *row[at + 2 :])
            mutant = replace(schedule, order=(*schedule.order[:rank], swapped, *schedule.order[rank + 1 :]))
            try:
                verify(mutant)
                accepted = True
            except ScheduleError:
                accepted = False
            assert accepted == runs(mutant), f"rank {rank}, step {at}: {row[at]} and {row[at + 1]}"
            verdicts.add(accepted)
    assert verdicts == {True, False}


def test_overlapped_and_empty_cells():
    schedule = read_csv("0F0,,0F1,0B0, 0B1 \n,1F0,1B0,(1F1;1B1)OVERLAP_F_B,\n\n", "x")
    assert " ".join(map(str, schedule.order[1])) == "1F0 1BW0 1F1 1BW1"
    verify(schedule)


def test_stages_that_are_given_set_the_order_of_chunks():
    text = "0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n"
    assert read_csv(text, "x").layout.stages == ((0, 3), (1, 2))
    assert read_csv(text, "x", stages=[[3, 0], [1, 2]]).layout.stages == ((3, 0), (1, 2))


@pytest.mark.parametrize(
    ("text", "stages", "words"),
    [
        ("", None, ("empty",)),
        ("0F0,0B0\n,\n1F0,1B0", None, ("row 2 (rank 1)", "no pass")),
        ("0F0,0B0\n1F0,1X0", None, ("row 2 (rank 1), cell 2", "'1X0'", "3F7")),
        ("0F0,F0", None, ("row 1 (rank 0), cell 2", "'F0'")),
        ("0F0,(0F1;)OVERLAP_F_B", None, ("row 1 (rank 0), cell 2",)),
        ("0F0,0B0,1F0\n1F0,1B0", None, ("row 2 (rank 1), cell 1", "stage 1", "row 1 (rank 0), cell 3")),
        ("0F0,0B0\n2F0,2B0", None, ("stage 1", "row 2 (rank 1), cell 1", "stage 2")),
        ("0F0,0B0\n1F0,1B0", [[0]], ("2 rows", "1 ranks")),
        ("0F0,0B0\n1F0,1B0", [[1], [0]], ("row 1 (rank 0), cell 1", "stage 0")),
    ],
)
def test_a_wrong_table_is_named_with_its_cell(text, stages, words):
    with pytest.raises(ScheduleError) as error:
        read_csv(text, "x", stages=stages)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_names_and_vocabulary_passes_that_a_csv_cant_have():
    with pytest.raises(ScheduleError, match="without spaces"):
        read_csv("0F0,0B0", "two words")
    with pytest.raises(ScheduleError, match=r"row 1 \(rank 0\), cell 1: 0E0 .* 0 barriers"):
        write_csv(build("1f1b", 2, 3, barriers=1))
