"""What goes wrong in a run: one clear error each, and nothing that was good is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pinisi.base.digests import of_index
from pinisi.data import tokenize
from pinisi.train import checkpoint
from tests.data.conftest import TEXTS, write_corpus
from tests.effort import only_full
from tests.engine.runs import TRAIN, continued, losses, pinisi, process_of


def lines(text: str) -> int:
    """How many errors a user sees."""
    return sum(line.startswith("error:") for line in text.splitlines())


def started(project: Path, run: Path, *overrides: str, step: int) -> subprocess.Popen:
    """A run in the background that has saved `step`."""
    process = subprocess.Popen(
        [*TRAIN, str(project / "config.toml"), f"run.folder={run}", *overrides],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 300
    while not (run / "checkpoints" / f"step-{step:08d}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return process


@only_full
def test_a_stuck_step_ends_with_every_ranks_instruction(project):
    run = project / "stuck"
    process = started(project, run, "run.steps=4000", "runtime.stuck_after=3", step=2)
    os.kill(process_of(run, 1), signal.SIGSTOP)
    stopped = time.monotonic()
    _, errors = process.communicate(timeout=300)
    assert time.monotonic() - stopped < 80
    assert process.returncode == 1 and "stuck_after" in errors, errors
    assert "rank 0: step" in errors and "rank 1: step" in errors and lines(errors) == 1, errors
    assert "instruction" in errors
    checkpoint.Reader(checkpoint.latest(run / "checkpoints")).get("model.norm.weight")


def test_a_full_disk_leaves_the_older_checkpoint(project, whole):
    """A limit on the size of files stands for the disk: the same call fails in the same place."""
    run = project / "full"
    continued(run, whole, step=2)
    before = checkpoint.latest(run / "checkpoints")
    done = subprocess.run(
        [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none"],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
    )
    assert done.returncode == 1 and lines(done.stderr) == 1, done.stderr
    assert "step 4 was not saved" in done.stderr and "free space" in done.stderr, done.stderr
    assert checkpoint.latest(run / "checkpoints") == before
    assert not list((run / "checkpoints").glob("*.partial"))
    checkpoint.Reader(before).get("model.norm.weight")


def test_a_loss_that_is_not_finite_names_the_step_and_spares_the_weights(project):
    run = project / "nan"
    more = ["optimizer.learning_rate=1e30", "optimizer.max_grad_norm=0", "checkpoint.every=1"]
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *more)
    assert done.returncode == 1 and lines(done.stderr) == 1, done.stderr
    assert "learning_rate" in done.stderr and "step " in done.stderr, done.stderr
    assert checkpoint.latest(run / "checkpoints") is not None


def test_bad_steps_are_skipped_up_to_a_limit_and_counted(project):
    run = project / "skip"
    more = [
        "optimizer.learning_rate=1e30",
        "optimizer.max_grad_norm=0",
        "run.on_bad_step=skip",
        "data.evaluation=none",
    ]
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *more, "run.bad_steps=3")
    assert done.returncode == 1 and lines(done.stderr) == 1, done.stderr
    assert "3 steps were skipped before, and run.bad_steps = 3" in done.stderr
    skipped = [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if "skipped" in line
    ]
    assert len(skipped) == 3 and all("the loss is" in line["skipped"] for line in skipped)
    last = checkpoint.newest_whole(run / "checkpoints").reader
    assert last.index["updates"] == last.step - last.index["bad_steps"]
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}", *more, "run.bad_steps=99")
    assert done.returncode == 0, done.stderr
    last = checkpoint.newest_whole(run / "checkpoints").reader
    assert last.step == 6 and last.index["updates"] == 1 and last.index["bad_steps"] == 5


def test_a_nan_in_loaded_weights_is_no_matter_of_the_learning_rate(project, model, tmp_path):
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 2] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    done = from_folder(project, tmp_path)
    assert done.returncode == 1 and "model.layers.1.mlp.up_proj.weight holds a NaN" in done.stderr, (
        done.stderr
    )
    assert str(tmp_path) in done.stderr and "learning_rate" not in done.stderr


def test_more_steps_for_a_finished_schedule_say_that_the_learning_rate_jumps(project, whole, tmp_path, capfd):
    shutil.copytree(whole / "checkpoints", tmp_path / "run" / "checkpoints")
    command = ["train", str(project / "config.toml"), f"run.folder={tmp_path}/run", "data.evaluation=none"]
    assert pinisi(*command, "run.steps=9").returncode == 0
    assert (
        "the learning rate of step 7 is 0.00325; with the settings of the run before (run.steps = 6) it would"
        in (capfd.readouterr().out)
    )


def test_a_port_in_use_is_named(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = pinisi(
            "train", str(project / "config.toml"), f"run.folder={project}/port", f"runtime.port={port}"
        )
    assert done.returncode == 2 and str(port) in done.stderr and "runtime.port" in done.stderr, done.stderr


@pytest.mark.parametrize("barriers", [pytest.param(0, marks=only_full), 1])
def test_a_token_id_out_of_range_names_the_id_and_the_step(project, barriers):
    """The tokenizer isn't named in the configuration, and the shards tell less than they have, so nothing can be seen before
    the batch is."""
    shards = shutil.copytree(project / "shards", project / f"shards-{barriers}")
    index = json.loads((shards / "index.json").read_text())
    index = index | {"vocabulary": 60}
    (shards / "index.json").write_text(json.dumps(index | {"digest": of_index(index)}))
    text = (project / "config.toml").read_text()
    config = project / f"range-{barriers}.toml"
    config.write_text("\n".join(line for line in text.splitlines() if not line.startswith("tokenizer")))
    done = pinisi(
        "train",
        str(config),
        f"run.folder={project}/range-{barriers}",
        f"data.shards={shards}",
        "model.config.vocab_size=60",
        f"pipeline.barriers={barriers}",
        "data.evaluation=none",
    )
    assert done.returncode == 1 and lines(done.stderr) == 1, done.stderr
    assert "step 1" in done.stderr and "60 rows" in done.stderr, done.stderr


@pytest.fixture(scope="module")
def model(project, whole) -> Path:
    out = project / "source"
    assert pinisi("export", str(whole), "--out", str(out)).returncode == 0
    return out


def from_folder(project: Path, folder: Path) -> subprocess.CompletedProcess:
    """A run that starts from a model folder instead of [model.config]."""
    text = (project / "config.toml").read_text()
    head, rest = text.split("[model.config]")
    config = folder / "config.toml"
    config.write_text(f'{head}source = "{folder}"\n[data]{rest.split("[data]")[1]}')
    return pinisi("train", str(config), f"run.folder={folder}/run", "run.steps=1")


@only_full  # tests/models reads folders, the two tests below that bad ones are refused
def test_a_model_folder_is_trained_on(project, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    done = from_folder(project, folder)
    assert done.returncode == 0, done.stderr


def test_a_truncated_model_file_is_named(project, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = from_folder(project, folder)
    assert done.returncode == 2 and file.name in done.stderr and lines(done.stderr) == 1, done.stderr


def test_a_missing_model_tensor_is_named(project, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    file = next(folder.glob("*.safetensors"))
    tensors = load_file(file)
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, file)
    done = from_folder(project, folder)
    assert done.returncode == 2 and "model.layers.2.mlp.up_proj.weight" in done.stderr, done.stderr


def test_torchrun_joins_its_ranks_with_the_same_losses(project, whole):
    run = project / "torchrun"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "pinisi", "train", str(project / "config.toml"), f"run.folder={run}"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert losses(run) == losses(whole)
    assert (run / "report.html").stat().st_size > 1000


@only_full
def test_under_torchrun_what_is_wrong_is_said_too(project):
    """No launcher of ours has looked at the configuration before."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    more = [f"run.folder={project}/torchrun-wrong", "model.config.max_position_embeddings=8"]
    done = subprocess.run(
        [*command, "-m", "pinisi", "train", str(project / "config.toml"), *more],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode != 0 and "the model takes at most 8" in done.stderr, done.stderr


@only_full
def test_two_replicas_train_and_resume_under_torchrun(project):
    """Two pipelines of two ranks: other batches than with one, so only that they agree, go on and save once."""
    run = project / "replicas"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    for steps in (2, 4):
        done = subprocess.run(
            [
                *(*command, "-m", "pinisi", "train", str(project / "config.toml")),
                *(f"run.folder={run}", f"run.steps={steps}", "optimizer.schedule=constant"),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
    assert sorted(losses(run)) == [1, 2, 3, 4]


def test_a_checkpoint_of_another_data_set_is_refused(project, whole, tmp_path):
    """Fewer documents, so other token shards: the sampler's place in them would mean nothing."""
    texts = {language: of[:1] for language, of in TEXTS.items()}
    write_corpus(tmp_path / "text", texts)
    tokenize(tmp_path / "text", project / "tokenizer", tmp_path / "shards", report=lambda _: None)
    done = pinisi("train", str(project / "config.toml"), "run.steps=9", f"data.shards={tmp_path}/shards")
    assert done.returncode == 2 and "another data" in done.stderr and lines(done.stderr) == 1, done.stderr


@only_full
def test_a_second_run_in_the_same_folder_is_refused(project, tmp_path):
    run = tmp_path / "run"
    command = [
        *TRAIN,
        str(project / "config.toml"),
        f"run.folder={run}",
        "data.evaluation=none",
        "run.steps=4000",
    ]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while not (run / "metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.05)
        again = pinisi(*command[3:])
        assert again.returncode == 2 and f"another run is at work in {run}" in again.stderr
        environment = {
            **os.environ,
            "RANK": "0",
            "WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "1",
        }
        other = subprocess.run(
            [*command, "pipeline.ranks=1"], env=environment, capture_output=True, text=True, timeout=300
        )
        assert other.returncode == 1 and "another run is at work" in other.stderr, other.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
