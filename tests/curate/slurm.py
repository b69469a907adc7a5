"""Stand-ins for Slurm's commands that run a job array on this machine: as much of them as datatrove's executor and ours ask for."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
STATE = "PINISI_TEST_SLURM"  # names the folder of the jobs: NUMBER.pid while it is there, NUMBER.done


def install(folder: Path) -> dict[str, str]:
    """Environment variables with which the commands are found."""
    bin, state = folder / "bin", folder / "jobs"
    bin.mkdir(parents=True)
    state.mkdir()
    for name in COMMANDS:
        script = bin / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        script.chmod(0o755)
    return {"PATH": f"{bin}:{os.environ['PATH']}", STATE: str(state)}


def sbatch(state: Path, *arguments: str) -> int:
    *options, script = arguments
    number = str(len(list(state.glob("*.slurm"))) + 1)
    kept = state / f"{number}.slurm"
    kept.write_text(Path(script).read_text())  # the caller removes it
    after = [word for option in options for word in re.findall(r"(?<=:)\d+", option)]
    after += re.findall(r"#SBATCH --dependency=\w+:(\d+)", kept.read_text())
    command = [sys.executable, __file__, "run", str(kept), *after]
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, start_new_session=True, stdout=null, stderr=null)
    (state / f"{number}.pid").write_text(str(process.pid))
    print(f"Submitted batch job {number}")
    return 0


def run(state: Path, script: str, *after: str) -> int:
    while not all((state / f"{number}.done").exists() for number in after):
        if not state.exists():  # the test is over
            return 1
        time.sleep(0.05)
    text, number = Path(script).read_text(), Path(script).stem
    last, most = re.search(r"#SBATCH --array=0-(\d+)(?:%(\d+))?", text).groups()
    log = re.search(r"#SBATCH --output=(.*)", text)[1].replace("%A", number)
    running: list[subprocess.Popen] = []
    for index in range(int(last) + 1):
        while sum(process.poll() is None for process in running) >= int(most or 1):
            time.sleep(0.02)
        own = {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_JOB_ID": number, "SLURM_NODELIST": "localhost"}
        with Path(log.replace("%a", str(index))).open("wb") as out:
            running.append(
                subprocess.Popen(
                    ["bash", script], env={**os.environ, **own}, stdout=out, stderr=subprocess.STDOUT
                )
            )
    for process in running:
        process.wait()
    (state / f"{number}.done").touch()
    return 0


def srun(state: Path, *arguments: str) -> int:
    command = list(arguments)
    while command[0].startswith("-"):
        command = command[2:] if command[0] == "-n" else command[1:]
    return subprocess.run(command).returncode


def squeue(state: Path, *arguments: str) -> int:
    number = arguments[-1]
    if not (state / f"{number}.pid").exists():
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    if not (state / f"{number}.done").exists():
        print(f"{number} test data_processing R")
    return 0


def scontrol(state: Path, *arguments: str) -> int:
    print(arguments[-1])  # show hostnames LIST
    return 0


def scancel(state: Path, number: str) -> int:
    os.killpg(int((state / f"{number}.pid").read_text()), signal.SIGTERM)
    (state / f"{number}.done").touch()
    return 0


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](Path(os.environ[STATE]), *sys.argv[2:]))
