"""What a program says in every locale and to every stream, and what happens where it can't be said."""

import subprocess
import sys

import pytest

from pinisi.cli import dispatch as cli

PREPARED = "from pinisi.base import terminal; terminal.prepare(); "


def shell(command: str, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command with {} as a Python that runs the program, in bash."""
    return subprocess.run(
        ["bash", "-c", "set -o pipefail; " + command.format('"$PYTHON" -c "$PROGRAM"')],
        capture_output=True,
        text=True,
        timeout=300,
        env={**cli.os.environ, "PYTHON": sys.executable, "PROGRAM": program, **environment},
    )


@pytest.mark.parametrize("command", ["{} | true", "{} > /dev/full", "{} >&-", "{} <&- >&- 2>&-"])
def test_work_goes_on_when_nobody_can_hear_of_it(tmp_path, command):
    done = shell(
        command,
        PREPARED + "import time, sys\n"
        "with terminal.heard_or_not():\n"
        "    for _ in range(3):\n"
        "        time.sleep(0.2); print('step', flush=True); print('?', file=sys.stderr, flush=True)\n"
        f"    open({str(tmp_path / 'whole')!r}, 'x').close()\n",
    )
    assert done.returncode == 0 and (tmp_path / "whole").exists(), done.stderr


@pytest.mark.parametrize("command, code", [("{} | true", 141), ("{} > /dev/full", 2)])
def test_an_answer_that_is_lost_is_no_success(command, code):
    program = PREPARED + (
        "import sys, time; from pinisi.cli import dispatch as cli; "
        "cli._run = lambda _: time.sleep(0.5) or print('x') or 0; sys.exit(cli.main([]))"
    )
    done = shell(command, program)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("\n") == (code == 2), done.stderr


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("locale", [ASCII, {"PYTHONIOENCODING": "ascii"}], ids=["locale", "streams"])
def test_every_locale_has_files_and_names_in_utf8(tmp_path, locale):
    program = tmp_path / "program.py"
    program.write_text(
        PREPARED.replace("; ", "\n") + "from pathlib import Path\n"
        f"Path({str(tmp_path)!r}, 'ខ្មែរ').write_text('é')\nprint('ខ្មែរ')\n",
        "utf-8",
    )
    done = shell(f"$PYTHON {program}", "", **locale)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ខ្មែរ").read_bytes() == "é".encode()


@pytest.mark.parametrize(
    "error, said",
    [
        (
            PermissionError(13, "Permission denied", "out/index.json"),
            "error: out/index.json: Permission denied",
        ),
        (OSError(28, "No space left on device"), "error: the output: No space left on device"),
        (MemoryError(), "error: out of memory"),
    ],
)
def test_an_error_of_the_system_is_one_line(monkeypatch, capsys, error, said):
    def fails(_):
        raise error

    monkeypatch.setattr(cli, "_run", fails)
    monkeypatch.setattr(cli.terminal, "to_nowhere", lambda _: None)
    assert cli.main([]) == 2
    assert capsys.readouterr().err.startswith(said)


def test_a_working_folder_that_is_gone_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "the working folder can't be read" in capsys.readouterr().err
