"""Ranks as processes, forked and started anew: what they are told, where they print, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pinisi import __version__
from pinisi.launch import ranks
from pinisi.launch import supervisor as launch
from pinisi.parallel.watchdog import leave_error
from pinisi.train import checkpoint
from tests.effort import only_full
from tests.engine.runs import TRAIN, losses, process_of

ENVIRONMENT = {**os.environ, "RANK": "3", "OMP_NUM_THREADS": "1"}


@pytest.fixture(params=[True, False], ids=["forked", "anew"])
def _way(request, monkeypatch):
    monkeypatch.setattr(ranks, "forks", lambda: request.param)


def ended(rank: ranks.Rank) -> int:
    end = time.monotonic() + 300
    while rank.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    code = rank.poll()
    assert code is not None
    rank.wait()
    return code


@pytest.mark.usefixtures("_way")
def test_what_it_prints_goes_to_its_log_or_the_terminal(tmp_path, capfd):
    quiet, loud = tmp_path / "quiet.log", tmp_path / "loud.log"
    quiet.write_text("of an earlier run")
    assert ended(ranks.start_rank(["--version"], ENVIRONMENT, quiet, terminal=False)) == 0
    assert quiet.read_text() == f"pinisi {__version__}\n" and capfd.readouterr().out == ""
    assert ended(ranks.start_rank(["--version"], ENVIRONMENT, loud, terminal=True)) == 0
    assert loud.read_text() == "" and capfd.readouterr().out == f"pinisi {__version__}\n"


@pytest.mark.usefixtures("_way")
def test_its_exit_code_and_its_last_words_are_kept(tmp_path):
    log = tmp_path / "log"
    assert ended(ranks.start_rank(["trian"], ENVIRONMENT, log, terminal=False)) == 2
    assert "trian" in log.read_text()


@pytest.mark.usefixtures("_way")
def test_it_has_a_session_of_its_own_and_dies_by_the_signal_that_is_sent(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # reading it waits
    rank = ranks.start_rank(["train", str(fifo)], ENVIRONMENT, tmp_path / "log", terminal=False)
    end = time.monotonic() + 300
    while os.getsid(rank.pid) != rank.pid and time.monotonic() < end:
        time.sleep(0.01)
    assert os.getsid(rank.pid) == rank.pid and rank.poll() is None
    rank.send_signal(signal.SIGKILL)
    assert ended(rank) == -signal.SIGKILL


def told(log, out):
    """In a forked process: what a rank finds, written where its command would have run."""
    import runpy

    import torch

    found = [torch.get_num_threads, lambda: sys.argv, lambda: sorted(os.environ)]
    runpy.run_module = lambda *_, **__: out.write_text(json.dumps([one() for one in found]))
    ranks._be_rank(["train", "x.toml"], {"RANK": "1", "OMP_NUM_THREADS": "3"}, log, None)


@pytest.mark.skipif(not ranks.forks(), reason="ranks are not forked here")
def test_a_forked_rank_has_the_threads_the_arguments_and_the_environment_of_its_own(tmp_path):
    out = tmp_path / "found"
    process = ranks._server().Process(target=told, args=(tmp_path / "log", out))
    process.start()
    process.join()
    assert json.loads(out.read_text()) == [3, ["pinisi", "train", "x.toml"], ["OMP_NUM_THREADS", "RANK"]]
    assert ranks.SERVER not in os.environ


@pytest.mark.skipif(not ranks.forks(), reason="ranks are not forked here")
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"MALLOC_ARENA_MAX": "1"},
        {"LD_BIND_NOW": "1"},
        {"OMP_NUM_THREADS": "3"},
        {"KMP_INIT_AT_FORK": "FALSE"},
    ],
)
def test_what_libraries_read_as_they_are_loaded_is_read(tmp_path, more):
    """A forked rank's /proc/PID/environ is the server's: what it was loaded with."""
    ranks.warm_up()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    rank = ranks.start_rank(["train", str(fifo)], ENVIRONMENT | more, tmp_path / "log", terminal=False)
    forked = isinstance(rank, ranks._Forked)
    with open(f"/proc/{rank.pid}/environ") as file:
        loaded_with = file.read().split("\0")
    rank.kill()
    rank.wait()
    late = set(more) <= ranks.SET_LATE
    assert forked == late and (late or all(f"{name}={value}" in loaded_with for name, value in more.items()))


def is_there(run, rank):
    try:
        return bool(process_of(run, rank))
    except AssertionError:
        return False


@only_full
def test_a_killed_launcher_leaves_no_rank_behind(project):
    run = project / "orphans"
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none"]
    launcher = subprocess.Popen([*command, "run.steps=4000"], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not (run / "metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert process_of(run, 0) != process_of(run, 1)
    launcher.kill()
    launcher.wait()
    left, end = [0, 1], time.monotonic() + 20
    while left and time.monotonic() < end:
        time.sleep(0.05)
        left = [rank for rank in left if is_there(run, rank)]
    assert not left


@only_full
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_lets_the_ranks_save(project, sent):
    """And the run ends as a shell has it for one that a signal ended: it is no whole one."""
    run = project / f"grouped-{sent}"
    command = [*TRAIN, str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none"]
    command += ["run.steps=4000", "checkpoint.every=100000"]
    launcher = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    end = time.monotonic() + 300
    while not (run / "metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(launcher.pid, sent)
    said, _ = launcher.communicate(timeout=300)
    assert "stopped after step" in said and "error" not in said, said
    assert launcher.returncode == 128 + sent and checkpoint.latest(run / "checkpoints") is not None


@pytest.mark.parametrize("after", [pytest.param(after, marks=only_full) for after in (0.0, 0.3, 1.0)])
def test_a_signal_before_the_first_step_is_not_lost(project, tmp_path, after):
    """It came while ranks were started, or joined one another: the run went on, or was told to have been killed."""
    run = tmp_path / "run"
    command = [
        *TRAIN,
        str(project / "config.toml"),
        f"run.folder={run}",
        "data.evaluation=none",
        "run.steps=100000",
    ]
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 300
    while not (run / "status").exists() and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(after)
    launcher.send_signal(signal.SIGTERM)
    said, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 143 and "error" not in said, said


def test_a_signal_before_any_rank_starts_is_not_lost(tmp_path, monkeypatch):
    """It came after the folder of status files stood, and before anybody had asked for signals: that killed the launcher."""
    find = launch.port_to_use
    missed = []

    def signalled(port):
        assert (tmp_path / "status").is_dir()
        os.kill(os.getpid(), signal.SIGTERM)
        return find(port)

    monkeypatch.setattr(launch, "port_to_use", signalled)
    ours = signal.signal(signal.SIGTERM, lambda *_: missed.append("by the launcher"))
    try:
        assert launch.launch(["--version"], 2, tmp_path) == 143
    finally:
        signal.signal(signal.SIGTERM, ours)
    assert not missed


@only_full
def test_a_script_that_trains_is_not_run_again_by_its_ranks(project, whole):
    run, script = project / "script", project / "script.py"
    arguments = ["train", str(project / "config.toml"), f"run.folder={run}", "data.evaluation=none"]
    script.write_text(
        f"print('once', flush=True)\nimport pinisi.cli\nassert pinisi.cli.main({arguments!r}) == 0\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1
    assert losses(run) == losses(whole)


def test_what_a_rank_found_out_before_it_ended_is_said_and_not_that_it_is_gone(tmp_path, capfd):
    """The launcher sees the run stuck, too, and by then that rank has ended."""

    class Found:
        interval = 0.0

        def look(self) -> str:
            return "rank 0 holds the run up: its process is gone"

    for own in (True, False):
        where = tmp_path / f"status-{own}"
        where.mkdir()
        if own:
            leave_error(where, 0, "stuck", "rank 1 holds the run up: its process is stopped")
        children = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
        with launch._Stop(children) as stop:
            assert launch._watch(children, stop, where, tmp_path, Found()) == 1
        said = "rank 1 holds the run up: its process is stopped" if own else Found().look()
        assert capfd.readouterr().err.startswith(f"error: {said}")
        assert all(child.poll() is not None for child in children)
