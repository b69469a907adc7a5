"""Progress is a bar on a terminal and lets lines stand above it; a log gets plain lines alone."""

import io
import sys

import pytest

from pinisi.base import progress
from pinisi.base.progress import ProgressBar, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(text: str, width: int = 200) -> list[str]:
    """The lines that a terminal shows: a carriage return goes back to the line's beginning, and what is written goes over it."""
    lines, row, column = [[" "] * width], 0, 0
    for letter in text.replace("\x1b[A", "\x01"):
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row, column = row + 1, 0
            lines += [[" "] * width] * (row == len(lines))
        elif letter == "\x01":
            row -= 1
        else:
            lines[row][column] = letter
            column += 1
    return ["".join(line).rstrip() for line in lines]


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes stdout a terminal; not a fixture, since pytest puts its own stdout in place before a test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_a_line_stands_whole_above_the_bar(monkeypatch) -> None:
    terminal = terminal_of(monkeypatch)
    bar = ProgressBar(10, 2)
    assert bar.shown
    bar.at(3, "loss 11.9381  a text that is much longer than the line that comes next")
    say("step 3  held-out loss 11.9")
    bar.at(4, "loss 11.8")
    shown = [line for line in screen(terminal.getvalue()) if line]
    assert shown[0] == "step 3  held-out loss 11.9"
    assert len(shown) == 2 and shown[1].startswith("4/10") and shown[1].endswith("loss 11.8")
    bar.close()
    assert [line for line in screen(terminal.getvalue()) if line] == ["step 3  held-out loss 11.9"]


def test_a_log_gets_lines_alone(capsys) -> None:
    bar = ProgressBar(10)
    assert not bar.shown
    bar.at(3, "loss 11.9")
    say("step 3  held-out loss 11.9")
    bar.close()
    assert capsys.readouterr() == ("step 3  held-out loss 11.9\n", "")


def test_a_dumb_terminal_is_a_log(monkeypatch) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    ProgressBar(10).at(1, "x")
    say("line")
    assert terminal.getvalue() == "line\n"
    assert not progress.is_terminal(terminal)
