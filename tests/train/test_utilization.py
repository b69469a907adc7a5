"""The share of a machine's peak (MFU) that steps use, against operations counted by hand."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict

import pytest

from pinisi.base.errors import ConfigError
from pinisi.config import load
from pinisi.costs.hardware import PRESETS
from pinisi.launch.check import check
from pinisi.report import write_report
from pinisi.train.building import spec_of
from pinisi.train.phases import phases_of
from pinisi.train.utilization import Utilization

MACHINE = """
like = "H100"
[flops]
float32 = 3e9
bfloat16 = 7e9
"""
# Of a row of s tokens, by hand, for the project's model: 4 layers of 32 hidden units, 4 heads of 8, 2 heads of keys and values,
# 48 units within, and 503 rows of the head. Forward: 2 FLOPs for each weight and token; scores and values 2 * s * s * 32 each. The
# backward pass is twice the forward one.
WEIGHTS = 4 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 48) + 503 * 32


def flops(s: int) -> int:
    return 3 * (2 * s * WEIGHTS + 4 * 2 * (2 * s * s * 32))


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("machine") / "machine.toml"
    file.write_text(MACHINE)
    return str(file)


@pytest.mark.parametrize(("dtype", "peak"), [("float32", 3e9), ("bfloat16", 7e9)])
@pytest.mark.parametrize(("ranks", "data_parallel"), [(1, 1), (3, 1), (3, 2)])
def test_the_share_is_that_of_hand_arithmetic(project, machine, dtype, peak, ranks, data_parallel) -> None:
    more = [f"report.hardware={machine}", f"model.dtype={dtype}", f"pipeline.ranks={ranks}", "run.steps=none"]
    phases = "phases=[{steps = 2}, {steps = 2, sequence = 9, microbatch_size = 5, microbatches = 7}]"
    config = load(project / "config.toml", [*more, f"pipeline.data_parallel={data_parallel}", phases])
    found = Utilization(config, spec_of(config))
    first, second = phases_of(config)
    assert (
        first.data.microbatch_size == 1
    )  # of each copy of the pipeline 3 rows a step, whose work its ranks share
    assert found.share(first, 0.5) == pytest.approx(3 * flops(16) / (0.5 * peak * ranks), rel=1e-12)
    assert found.share(second, 2.0) == pytest.approx(5 * 7 * flops(9) / (2.0 * peak * ranks), rel=1e-12)


def test_without_a_machine_nothing_is_known(project) -> None:
    config = load(project / "config.toml")
    found = Utilization(config, spec_of(config))
    assert found.share(phases_of(config)[0], 1.0) is None


def test_a_run_writes_the_share_of_each_step_and_the_page_shows_it(project, machine, alone, tmp_path) -> None:
    more = ("pipeline.ranks=1", "run.steps=3", f"run.folder={tmp_path}/run", f"report.hardware={machine}")
    alone(str(project / "config.toml"), *more, "model.dtype=float32", "data.evaluation=none")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == 3
    for line in steps:
        assert line["mfu"] == pytest.approx(3 * flops(16) / (line["seconds"] * 3e9), rel=1e-9)
    shown = statistics.median(line["mfu"] for line in steps)
    assert (
        f"tokens per second, median of steps; MFU {shown:.1%}" in write_report(tmp_path / "run").read_text()
    )


def test_a_machine_without_a_rate_for_the_dtype_is_said_before_the_start(project, tmp_path) -> None:
    machine = {name: value for name, value in asdict(PRESETS["H100"]).items() if value is not None}
    machine["flops"] = {"bfloat16": 1e12}
    (tmp_path / "half.json").write_text(json.dumps(machine))
    with pytest.raises(ConfigError, match=r"has no rate for float32: it has bfloat16"):
        check(load(project / "config.toml", [f"report.hardware={tmp_path}/half.json", "model.dtype=float32"]))
