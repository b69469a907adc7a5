"""Phases: their settings, and a run that is stopped in each of them and between them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from pinisi.base.errors import CheckpointError, ConfigError
from pinisi.config import load
from pinisi.data import Sampler, TokenShards
from pinisi.launch.check import check
from pinisi.parallel.place import free_port
from pinisi.train.phases import phase_at, phases_of, rate_jump, rate_jumps, rates
from pinisi.train.trainer import Trainer
from tests.effort import FULL, only_full
from tests.engine.runs import TRAIN, losses, pinisi
from tests.killed import operations

PHASES = """
[[phases]]
name = "broad"
steps = 4
[[phases]]
name = "narrow"
steps = 5
sequence = 8
microbatch_size = 2
microbatches = 4
learning_rate = 5e-3
schedule = "constant"
mixture = { id = 1.0 }
"""


@pytest.fixture(scope="module")
def phased(project, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("phased") / "phased.toml"
    text = (project / "config.toml").read_text().replace("steps = 6\n", "")
    file.write_text(
        text.replace('folder = "', f'folder = "{file.parent}/unused-').replace("every = 2", "every = 1")
        + PHASES
    )
    return file


@pytest.fixture(scope="module")
def uninterrupted(phased) -> dict[int, float]:
    run = phased.parent / "whole"
    assert pinisi("train", str(phased), f"run.folder={run}").returncode == 0
    return losses(run)


def test_what_a_phase_leaves_out_is_as_the_rest_says(phased) -> None:
    first, second = phases_of(load(phased))
    assert (first.start, first.stop, second.start, second.stop) == (0, 4, 4, 9)
    assert (first.data.sequence, first.microbatches) == (16, 3)
    assert (second.data.sequence, second.data.microbatch_size, second.microbatches) == (8, 2, 4)
    assert second.data.mixture == {"id": 1.0} and first.data.mixture is None
    assert first.learning_rate(0) == pytest.approx(1e-2) and second.learning_rate(8) == 5e-3
    assert [phase_at([first, second], step).number for step in (0, 3, 4, 8, 9)] == [0, 0, 1, 1, 1]


def test_the_rate_is_the_same_where_nothing_changed_and_a_jump_is_said(phased) -> None:
    phases = phases_of(load(phased))
    assert rate_jump(rates(phases), phases, 5) is None
    other = phases_of(load(phased, ["phases=[{steps = 4}, {steps = 5}]"]))
    assert "of step 6 is" in (rate_jump(rates(phases), other, 5) or "")
    single = phases_of(load(phased, ["phases=[]", "run.steps=9", "optimizer.schedule=constant"]))
    before = {
        "steps": 9,
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant", "clip": 1.0, "epsilon": 1e-8},
    }
    assert rate_jump(before, single, 3) is None  # as a version without phases, and with other names, left it


def test_one_schedule_spans_all_phases_and_is_continuous(phased) -> None:
    over = [
        "optimizer.schedule_over=run",
        "optimizer.schedule=wsd",
        "optimizer.warmup=2",
        "optimizer.decay=4",
    ]
    three = "phases=[{steps = 3}, {steps = 4, sequence = 8}, {steps = 5}]"
    phases = phases_of(load(phased, [*over, three]))
    single = phases_of(load(phased, [*over, "phases=[]", "run.steps=12"]))
    found = [phase_at(phases, step).learning_rate(step) for step in range(12)]
    assert found == [single[0].learning_rate(step) for step in range(12)]
    # by hand: two steps up, stable, four down to a tenth
    wanted = [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 0.775, 0.55, 0.325]
    assert found == pytest.approx([1e-2 * each for each in wanted])
    assert rate_jumps(phases) == []
    assert rate_jump(rates(phases), phases, 7) is None and rate_jump(rates(phases), single, 7) is None
    apart = phases_of(load(phased, [*over[1:], "optimizer.decay=1", three]))
    jumps = rate_jumps(apart)
    assert (
        len(jumps) == 2
        and "phase 2 of 3 begins with a learning rate of 0.005, where the one before ends" in jumps[0]
    )
    with pytest.raises(ConfigError, match=r"phases\[1\]\.warmup is set, and optimizer\.schedule_over"):
        phases_of(load(phased, [*over, "phases=[{steps = 3}, {steps = 9, warmup = 1}]"]))
    with pytest.raises(ConfigError, match="5 steps in all, too few for 6 of warm-up and decay"):
        phases_of(load(phased, [*over, "phases=[{steps = 5}]"]))


def test_what_was_seen_of_each_component_is_counted_over_the_phases(phased, uninterrupted) -> None:
    run = phased.parent / "whole"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    counts = {line["step"]: line["components"] for line in lines if "components" in line}
    assert sorted(counts) == [9]
    config = load(phased)
    sampler = Sampler(TokenShards(str(config.data.shards)), sequence=16, batch=1, seed=0)
    drawn: Counter[str] = Counter()
    for _ in range(4):  # the first phase, microbatch by microbatch
        for microbatch in sampler.step(3):
            for language in microbatch.languages[:, 0].tolist():
                drawn[sampler.languages[language]] += 16
    drawn["id"] += 5 * 4 * 2 * 8
    assert {name: each["tokens"] for name, each in counts[9].items() if each["tokens"]} == dict(drawn)
    files = TokenShards(str(config.data.shards)).files("id")
    assert int(counts[9]["id"]["epochs"]) == drawn["id"] // files.tokens > 0
    index = TokenShards(str(config.data.shards)).counts("id")
    assert counts[9]["id"]["bytes"] == round(drawn["id"] * index["bytes"] / index["tokens"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.steps=8", "run.steps is 8; it needs to be left out, or the phases' sum, 9"),
        ("phases=[]", "run.steps is not set; it needs a number of steps, or .*phases"),
        ("phases=[{steps = 0}]", "steps is 0; it needs at least 1"),
        ("phases=[{steps = 2, mixtur = 1}]", "unknown key"),
    ],
)
def test_what_is_wrong_with_phases_is_said(phased, override, said) -> None:
    with pytest.raises(ConfigError, match=said):
        phases_of(load(phased, [override]))


def test_a_warmup_must_fit_into_its_phase(phased) -> None:
    with pytest.raises(ConfigError, match=r"phases\[0\] has 3 steps, too few for 5 of warm-up"):
        phases_of(load(phased, ["phases=[{steps = 3, warmup = 5}]"]))


# in the first phase, at the boundary, in the second, each behind a save
@only_full
@pytest.mark.parametrize("name", ["step-00000002", "step-00000004", "step-00000006"])
def test_a_phased_run_that_is_killed_goes_on_to_the_bit(phased, uninterrupted, name) -> None:
    run = phased.parent / f"killed{name}"
    command = [*TRAIN, str(phased), f"run.folder={run}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted, end = run / "checkpoints" / name, time.monotonic() + 300
    while not wanted.exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wanted.exists()
    assert pinisi("train", str(phased), f"run.folder={run}").returncode == 0
    assert losses(run) == uninterrupted and len(uninterrupted) == 9


def trained_alone(toml: str, run: str) -> bool:
    """Trains in this process, the only rank; says whether the run has all of its steps."""
    here = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    os.environ.update(here)
    config = load(toml, ["pipeline.ranks=1", "report.live=0", f"run.folder={run}"])
    try:
        check(config)
    except CheckpointError as error:  # killed behind all that a run does, it has nothing left to do
        return "already holds step 9" in str(error) and len(losses(Path(run))) == 9
    return Trainer(config).run().whole and len(losses(Path(run))) == 9


def train_killed(phased: Path, run: Path, last: int) -> list[str]:
    """Trains in a process of its own, killed by itself right before its operation of this number on a file of the run's folder;
    returns the operations up to there. last: -1 for none."""
    log = run.with_name(f"{run.name}.operations")
    return operations(partial(trained_alone, str(phased), str(run)), str(run), log, last)


def test_a_run_killed_at_any_of_its_operations_goes_on_to_the_bit(phased, tmp_path) -> None:
    """Before each operation on a file, so also within each save: between files, and between a file and its name. `make test` takes
    the last one of the save at the boundary of the phases."""
    whole = tmp_path / "whole"
    seen = train_killed(phased, whole, -1)
    saving = [n for n, each in enumerate(seen) if ".step-00000004.partial" in each]
    assert len(saving) >= 4 and any("os.rename" in seen[n] for n in saving)
    points = range(len(seen)) if FULL else saving[-1:]
    for point in points:
        run = tmp_path / f"killed-{point}"
        assert len(train_killed(phased, run, point)) == point + 1
        train_killed(phased, run, -1)
        assert losses(run) == losses(whole), seen[point]
        shutil.rmtree(run)


def test_a_checkpoint_of_another_phase_is_refused(phased, uninterrupted) -> None:
    run = phased.parent / "whole"
    done = pinisi("train", str(phased), f"run.folder={run}", "phases=[{steps = 12}]")
    assert done.returncode != 0 and "saved in phase 2" in done.stderr


def test_the_second_phase_goes_on_where_the_first_stopped_in_the_text(phased, uninterrupted) -> None:
    run = phased.parent / "whole"
    index = [json.loads((run / "checkpoints" / f"step-{n:08d}" / "index.json").read_text()) for n in (4, 9)]
    first, second = (each["sampler"] for each in index)
    assert (index[0]["phase"], index[1]["phase"]) == (0, 1)
    assert second["sequences"] - first["sequences"] == 5 * 4 * 2
