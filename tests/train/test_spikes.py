"""Spikes of the loss: which count as such, steps that are left out, and runs that go back, killed and resumed."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from pinisi.base.errors import PinisiError
from pinisi.config import WatchSection
from pinisi.train.checkpoint import Reader
from pinisi.train.spikes import LossSpikes
from tests.effort import only_full
from tests.engine.runs import TRAIN, losses, pinisi

# So little noise that steps of a steady run leap, some of them.
MORE = (
    *(
        "pipeline.ranks=1",
        "pipeline.microbatches=1",
        "run.steps=40",
        "checkpoint.every=8",
        "checkpoint.keep=99",
    ),
    *("optimizer.learning_rate=1e-3", "optimizer.schedule=constant", "data.evaluation=none", "report.live=0"),
)
WATCH = ("watch.spike_noise=2.0", "watch.spike_window=16", "watch.most_spikes=50")


def spikes(**settings) -> LossSpikes:
    return LossSpikes(WatchSection(**{"spike": "skip", "spike_noise": 8.0, **settings}))


def test_a_leap_counts_by_the_noise_of_the_steps_before() -> None:
    watch = spikes()
    for number in range(40):
        assert watch.judge(3 - 0.001 * number + 0.05 * math.sin(7 * number), 1.0) is None
    assert watch.judge(3.2, 1.0) is None
    why = watch.judge(4.0, 1.0)
    assert why is not None and "the loss is 4.0000" in why and "units of noise above" in why
    assert 4.0 not in watch.losses
    assert "nan" in (watch.judge(math.nan, 1.0) or "") and "inf" in (watch.judge(3.0, math.inf) or "")
    watch.forget()
    assert watch.judge(4.0, 1.0) is None  # too few before


def test_none_are_looked_for_unless_asked_and_too_many_end_the_run() -> None:
    assert spikes(spike="none").judge(math.nan, 1.0) is None
    watch = spikes(most_spikes=2)
    watch.counted(5, "why")
    watch.counted(6, "why")
    with pytest.raises(
        PinisiError, match=r"step 7: why; there were 2 spikes before, and watch\.most_spikes = 2"
    ):
        watch.counted(7, "why")


def test_what_is_remembered_goes_through_a_checkpoint() -> None:
    one, other = spikes(), spikes()
    for number in range(100):
        one.judge(3 + math.sin(number), 1.0)
    other.restore(json.loads(json.dumps(one.state())))
    assert list(other.losses) == list(one.losses) and len(one.losses) == 64


def train(project, run, *more: str) -> None:
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *MORE, *WATCH, *more)
    assert done.returncode == 0, done.stderr


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(project, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("spikes") / "plain"
    train(project, run, "watch.spike=none", "checkpoint.every=1")
    return run


@pytest.fixture(scope="module")
def rewound(project, plain) -> Path:
    run = plain.parent / "rewound"
    train(project, run, "watch.spike=rewind")
    return run


def test_a_step_that_is_left_out_makes_no_update(project, plain) -> None:
    run = plain.parent / "skipped"
    train(project, run, "watch.spike=skip", "checkpoint.every=1")
    left_out = [line["step"] for line in lines(run) if "skipped" in line]
    assert left_out and left_out[0] > 16
    first = left_out[0]
    assert losses(run) == {k: v for k, v in losses(run).items() if k not in left_out}
    assert {k: v for k, v in losses(run).items() if k < first} == {
        k: v for k, v in losses(plain).items() if k < first
    }
    before, after = (Reader(run / "checkpoints" / f"step-{n:08d}") for n in (first - 1, first))
    for name in before.names():
        for kind in ("weight", "exp_avg"):
            assert torch.equal(before.get(name, kind=kind), after.get(name, kind=kind))
    other = Reader(plain / "checkpoints" / f"step-{first:08d}")
    assert after.index["sampler"] == other.index["sampler"]


def test_a_run_goes_back_to_its_checkpoint_and_on_with_the_text_behind(plain, rewound) -> None:
    events = [line for line in lines(rewound) if "rewind" in line]
    assert events
    first = events[0]["rewind"]
    step, back = first["step"], first["back_to"]
    assert back == (step - 1) // 8 * 8 and "units of noise" in first["why"]
    # the weights are those of the checkpoint, the place in the text is that behind the spike; by the run without
    at = Reader(rewound / "checkpoints" / f"step-{back:08d}")
    was, behind = (Reader(plain / "checkpoints" / f"step-{n:08d}") for n in (back, step))
    for name in at.names():
        for kind in ("weight", "exp_avg", "exp_avg_sq"):
            assert torch.equal(at.get(name, kind=kind), was.get(name, kind=kind))
    later = [each["rewind"]["back_to"] for each in events[1:]]
    if back not in later:  # else it went there twice, and the later place in the text counts
        assert at.index["sampler"] == behind.index["sampler"]
    found = losses(rewound)
    assert sorted(found) == list(range(1, 41))  # each step once, and the last one is the run's last
    assert {k: v for k, v in found.items() if k <= back} == {
        k: v for k, v in losses(plain).items() if k <= back
    }
    assert found[back + 1] != losses(plain)[back + 1]


@only_full
def test_a_rewound_run_that_is_killed_goes_on_to_the_bit(project, rewound, tmp_path) -> None:
    """Killed behind its first return; and from a copy whose checkpoints are those of before it."""
    back = next(line for line in lines(rewound) if "rewind" in line)["rewind"]["back_to"]
    run = tmp_path / "killed"
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", *MORE, *WATCH, "watch.spike=rewind"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted, end = run / "metrics.jsonl", time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end:
        if wanted.is_file() and '"rewind"' in wanted.read_text():
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert '"rewind"' in wanted.read_text()
    train(project, run, "watch.spike=rewind")
    assert losses(run) == losses(rewound)
    assert [x for x in lines(run) if "rewind" in x] == [x for x in lines(rewound) if "rewind" in x]

    earlier = tmp_path / "earlier"
    shutil.copytree(rewound, earlier)
    for path in (earlier / "checkpoints").glob("step-*"):
        if int(path.name.removeprefix("step-")) >= back:
            shutil.rmtree(path)
    train(project, earlier, "watch.spike=rewind")
    assert losses(earlier) == losses(rewound)
