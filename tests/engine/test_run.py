"""Whole runs through the command line: real ranks over gloo, killed, resumed, loaded at other numbers of ranks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest
import torch

from pinisi.base.errors import CheckpointError
from pinisi.config import load
from pinisi.launch.check import check
from pinisi.train import checkpoint
from pinisi.vocabulary import kernels
from pinisi.vocabulary.kernels import build
from tests.effort import only_full
from tests.engine.runs import TRAIN, continued, losses, pinisi, process_of


def test_a_run_leaves_what_the_report_reads(whole):
    assert sorted(losses(whole)) == [1, 2, 3, 4, 5, 6]
    for name in ("config.toml", "timeline.json", "memory.json", "report.html"):
        assert (whole / name).stat().st_size > 100, name
    timeline = json.loads((whole / "timeline.json").read_text())
    assert len(timeline["measured"]["spans"]) == 2


def test_every_rank_holds_as_much_and_few_heads(whole):
    """Parameters, gradients and moments within 5 %; between S and T at most two heads, each [T, V_r] and [T, h] in fp32."""
    ranks = [row["parts"] for row in json.loads((whole / "memory.json").read_text())["ranks"]]
    held = [sum(row[part] for part in ("parameters", "gradients", "optimizer")) for row in ranks]
    assert max(held) <= 1.05 * min(held)
    tokens, rows, hidden = 16 * 1, 252, 32
    for row in ranks:
        assert 0 < row["vocabulary buffers"] <= 2 * 4 * tokens * (rows + hidden)


@only_full  # tests/engine/test_heads.py trains with a table [loss], tests/distributed/test_loss_terms.py says that it is exact
def test_loss_terms_are_trained_and_the_loss_stays_comparable(project, whole):
    run = project / "terms"
    terms = ("loss.label_smoothing=0.2", "loss.z_loss=0.05")
    rest = (f"run.folder={run}", "run.steps=2", "data.evaluation=none")
    done = pinisi("train", str(project / "config.toml"), *terms, *rest)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] == pytest.approx(losses(whole)[1], rel=1e-6)  # the same start, the same batch
    assert all(line["total_loss"] > line["loss"] + 0.5 for line in lines)  # lse² is near log(503)² = 39
    for (
        line
    ) in lines:  # bytes of both ranks: X, four rows of statistics and U in fp32, of tokens with a target
        sent, targets = line["bytes"], line["tokens"]
        assert sent["C0"] == sent["U"] == 2 * targets * 32 * 4 and sent["C1"] == 2 * targets * 4 * 4
    plain = [
        json.loads(line)
        for line in (whole / "metrics.jsonl").read_text().splitlines()
        if "total_loss" in line
    ]
    assert all(line["total_loss"] == pytest.approx(line["loss"], rel=1e-6) for line in plain)


@pytest.mark.parametrize("ranks, barriers", [(1, 0), pytest.param(3, 2, marks=only_full)])
def test_a_checkpoint_loads_at_other_ranks_and_barriers(project, whole, ranks, barriers):
    """Steps 3 to 6 again from step 2's checkpoint: the same losses to rounding, the sampler included."""
    run = project / f"again-{ranks}"
    continued(run, whole, step=2)
    done = pinisi(
        "train",
        str(project / "config.toml"),
        f"run.folder={run}",
        f"pipeline.ranks={ranks}",
        f"pipeline.barriers={barriers}",
    )
    assert done.returncode == 0, done.stderr
    found, wanted = losses(run), losses(whole)
    assert sorted(found) == [3, 4, 5, 6]
    for step in found:
        assert found[step] == pytest.approx(wanted[step], rel=1e-4)


def test_a_killed_rank_is_named_and_the_resumed_losses_are_bit_equal(project, whole):
    run = project / "killed"
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none"]
    command += ["run.steps=4000", "optimizer.schedule=constant", "checkpoint.every=16"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 300
    step = 0
    while (
        step < 16 or step % 16 < 6
    ) and time.monotonic() < end:  # until it is some steps behind a checkpoint
        time.sleep(0.01)
        with suppress(OSError, ValueError):  # not there yet, or a line is being written
            step = max(losses(run), default=0)
    os.kill(process_of(run, 1), signal.SIGKILL)
    killed = time.monotonic()
    _, errors = process.communicate(timeout=300)
    assert time.monotonic() - killed < 30
    assert process.returncode == 1 and "rank 1 was killed by SIGKILL" in errors, errors
    before, last = losses(run), checkpoint.latest(run / "checkpoints")
    assert last is not None
    first = checkpoint.Reader(last).step
    more = [f"run.steps={first + 32}", "optimizer.schedule=constant", "data.evaluation=none"]
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *more)
    assert done.returncode == 0, done.stderr
    after = losses(run)
    again = [step for step in before if step > first]
    assert len(again) >= 3 and sorted(after) == list(range(1, first + 33))
    assert {step: after[step] for step in before} == before  # `again` among them, made anew


def test_a_run_killed_behind_its_last_save_gets_its_end(project, whole, tmp_path):
    """It was refused, though it lacked the last evaluation."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert '"evaluation"' in lines[-1]
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))
    command = ("train", str(project / "config.toml"), f"run.folder={run}")
    done = pinisi(*command)
    assert done.returncode == 0, done.stderr
    assert (run / "metrics.jsonl").read_text().splitlines(keepends=True)[-1] == lines[-1]
    done = pinisi(*command)
    assert done.returncode == 2 and "already holds step 6" in done.stderr


def test_the_export_loads_with_transformers_and_gives_the_evaluations_loss(project, whole):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = project / "model"
    done = pinisi("export", str(whole), "--out", str(out))
    assert done.returncode == 0, done.stderr
    model = AutoModelForCausalLM.from_pretrained(out)
    AutoTokenizer.from_pretrained(out)
    reader = checkpoint.Reader(checkpoint.latest(whole / "checkpoints"))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, reader.get(name)), name


@pytest.mark.parametrize(
    "override, words",
    [
        ("run.stps=3", "steps"),
        ("pipeline.ranks=5", "4 layers"),
        ("model.config.vocab_size=20", "vocab_size"),
        ("model.config.model_type=mamba", "qwen2"),
        ("data.shards=/nowhere", "/nowhere"),
    ],
)
def test_what_is_wrong_is_said_before_a_rank_starts(project, override, words):
    done = pinisi("train", str(project / "config.toml"), override, f"run.folder={project}/never")
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("error:") == 1, done.stderr
    assert not (project / "never" / "logs").exists()


def test_a_compiler_that_fails_is_heard_of_before_a_rank_starts(project, monkeypatch):
    """Kernels that were asked for are an error, others a warning on the terminal, not in the ranks' logs."""
    run = (str(project / "config.toml"), f"run.folder={project}/uncompiled")
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setattr(kernels, "_named", "native")
    done = _uncompiled(lambda: pinisi("train", *run))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "set CXX" in done.stderr
    assert not (project / "uncompiled" / "logs").exists()
    monkeypatch.setattr(kernels, "_named", None)
    with pytest.warns(UserWarning, match="set CXX.*which are slower"):
        _uncompiled(lambda: check(load(run[0], [run[1]])))


def _uncompiled(work):
    """`work` with nothing known of earlier attempts to compile, nor kept of its own."""
    kept = (kernels._on_cpu, build.library, build.load)
    for known in kept:
        known.cache_clear()
    try:
        return work()
    finally:
        for known in kept:
            known.cache_clear()


def test_a_checkpoint_of_another_model_is_refused(project, whole):
    done = pinisi("train", str(project / "config.toml"), "run.steps=9", "model.config.intermediate_size=64")
    assert done.returncode == 2 and "another model" in done.stderr, done.stderr


def test_a_truncated_checkpoint_names_its_file(whole, tmp_path):
    found = checkpoint.latest(whole / "checkpoints")
    torn = tmp_path / "step-00000006"
    torn.mkdir()
    for path in found.iterdir():
        data = path.read_bytes()
        (torn / path.name).write_bytes(data[: len(data) // 2] if path.suffix == ".safetensors" else data)
    with pytest.raises(CheckpointError, match=r"rank-0000\d\.safetensors"):
        checkpoint.Reader(torn).get("model.embed_tokens.weight")
