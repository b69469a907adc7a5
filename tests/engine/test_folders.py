"""Folders, environments and sizes that can't work are one line, and lost lines of metrics are said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from pinisi.base.errors import PinisiError
from pinisi.base.lock import only_one
from pinisi.launch import ranks
from pinisi.launch.ranks import SERVER_GONE
from pinisi.launch.supervisor import explain, failure
from pinisi.parallel.rendezvous import init_process_group
from pinisi.train.building import device_here
from pinisi.train.metrics import lost_lines
from tests.effort import only_full
from tests.engine.runs import TRAIN, losses, pinisi


@pytest.mark.parametrize(
    "place", ["run", "run/status", "run/logs", "run/status/rank-00001.status", "run/logs/rank-00001.log"]
)
def test_a_folder_that_can_not_be_written_is_one_line(project, tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.mkdir()  # where a file belongs
        (path / "something").write_text("")
    else:
        path.write_text("a file where the folder belongs")
    done = pinisi("train", str(project / "config.toml"), f"run.folder={tmp_path}/run")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: cannot write") and place in done.stderr
    assert "another run.folder" in done.stderr


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "report.html", "companions/notes.txt"])
def test_a_file_that_no_run_wrote_is_left_alone(project, tmp_path, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    done = pinisi("train", str(project / "config.toml"), f"run.folder={tmp_path}/run")
    assert done.returncode == 2 and "left alone" in done.stderr
    assert f"/run/{name.partition('/')[0]} was put there by no run" in done.stderr
    assert path.read_text() == "mine" and len(list((tmp_path / "run").rglob("*"))) <= 2


def test_a_file_that_is_called_lock_is_not_emptied(tmp_path):
    (tmp_path / "lock").write_text("mine")
    with only_one(tmp_path, tmp_path / "lock", "run.folder"):
        assert (tmp_path / "lock").read_text() == "mine"


def test_metrics_that_can_not_be_written_are_one_line(project, tmp_path):
    (tmp_path / "run" / "metrics.jsonl").mkdir(parents=True)
    done = pinisi("train", str(project / "config.toml"), f"run.folder={tmp_path}/run")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "metrics.jsonl: Is a directory" in done.stderr and "another run.folder" in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": "x"}, "RANK='x'"),
        ({"RANK": "-1"}, "RANK='-1'"),
        ({"RANK": "2"}, "RANK=2 and WORLD_SIZE=2"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE=''"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT='x'"),
        ({"MASTER_PORT": "65536"}, "MASTER_PORT='65536'"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE='999"),
        ({"MASTER_ADDR": ""}, "lacks MASTER_ADDR"),
    ],
)
def test_an_environment_that_names_no_rank_is_told(monkeypatch, change, words):
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29999"}
    for name, value in {**given, **change}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PinisiError, match=words):
        init_process_group("gloo", torch.device("cpu"))


def test_a_gpu_is_asked_for_by_the_rank_on_its_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setenv("RANK", "5")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(PinisiError, match="set LOCAL_RANK"):
        device_here()
    monkeypatch.setenv("LOCAL_RANK", "x")
    with pytest.raises(PinisiError, match="LOCAL_RANK='x'"):
        device_here()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_here() == torch.device("cuda", 1)


@only_full
def test_a_world_that_is_no_number_is_one_line(project, tmp_path):
    environment = {**os.environ, "RANK": "0", "WORLD_SIZE": "x", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [*TRAIN, str(project / "config.toml"), f"run.folder={tmp_path}/run"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and "WORLD_SIZE='x'" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_step_that_is_too_long_for_memory_is_refused_before_it_is_made(project, tmp_path):
    code = (
        "import sys; from pinisi.cli import main\n"
        "code = main(sys.argv[1:])\n"
        # not ru_maxrss, which a process takes over from the one that started it
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "assert int(peak.split()[1]) < 2**19, peak\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "train", str(project / "config.toml")),
            *(f"run.folder={tmp_path}/run", "pipeline.microbatches=100000000"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "microbatches" in done.stderr and "at most 131072 on 2 ranks" in done.stderr


def test_lost_lines_of_metrics_are_counted():
    whole = [json.dumps({"step": n, "loss": 1.0}) for n in (1, 2, 3)]
    evaluation, skipped = json.dumps({"step": 2, "evaluation": {}}), json.dumps({"step": 4, "skipped": "nan"})
    assert lost_lines([*whole, evaluation, skipped], 4) == ""
    assert lost_lines([*whole, skipped], 3) == ""
    assert lost_lines([whole[0], evaluation, whole[2][:9], '{"a"'], 4) == (
        "2 torn lines left out, no line of 3 of the 4 steps before"
    )
    assert lost_lines([], 2) == "no line of 2 of the 2 steps before"


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"step": 1e999}', '{"step": NaN}', '{"step": ' + "9" * 5000 + "}", "5", "\0"]
)
def test_a_line_that_is_none_of_ours_is_a_torn_one(line):
    assert lost_lines([line], 0) == "1 torn line left out"


@pytest.mark.parametrize(
    "error, kind, words",
    [
        (OSError(errno.EMFILE, "Too many open files"), "user", "ulimit -n"),
        (
            torch.distributed.DistNetworkError("Failed to recv. Connection was likely closed."),
            "communication",
            "lost",
        ),
    ],
)
def test_what_the_system_refuses_is_explained(error, kind, words):
    found, message = explain(error)
    assert found == kind and words in message


def test_the_end_of_the_server_is_told_as_such(tmp_path):
    said = failure({0: SERVER_GONE, 1: SERVER_GONE}, tmp_path, tmp_path, "")
    assert (
        said.startswith("error: the process that the ranks were forked from")
        and "Run the same command" in said
    )


@pytest.mark.parametrize("text", ["x", "0", "", "-1", "2,x", "1.5"])
def test_an_impossible_number_of_threads_is_told_before_a_rank_starts(project, tmp_path, monkeypatch, text):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    done = pinisi("train", str(project / "config.toml"), f"run.folder={tmp_path}/run")
    assert done.returncode == 2 and f"OMP_NUM_THREADS={text!r}" in done.stderr, done.stderr


def test_ranks_are_started_anew_where_none_can_be_forked(tmp_path, monkeypatch):
    def no_socket():
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(ranks, "forks", lambda: True)
    monkeypatch.setattr(ranks, "_server", no_socket)
    ranks.warm_up()
    rank = ranks.start_rank(["--version"], {**os.environ, "RANK": "0"}, tmp_path / "log", terminal=False)
    assert rank.wait() == 0 and "pinisi" in (tmp_path / "log").read_text()


def test_lost_lines_are_said_when_a_run_is_resumed(project, whole, tmp_path, capfd):
    run = tmp_path / "run"
    shutil.copytree(whole, run, ignore=lambda _, names: {"step-00000006", "lock"} & set(names))
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"step": 2,' not in line]
    (run / "metrics.jsonl").write_text("".join(kept)[:-30])
    done = pinisi("train", str(project / "config.toml"), f"run.folder={run}")
    assert done.returncode == 0, done.stderr
    said = capfd.readouterr().out
    assert "metrics.jsonl: 1 torn line left out, no line of 1 of the 4 steps before" in said, said
    assert losses(run) == {step: loss for step, loss in losses(whole).items() if step != 2}
