"""The page that continues a model, typed from its first command to its last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from tests.docs.pages import ROOT, fences
from tests.effort import only_full

PAGE = ROOT / "docs" / "continue.md"


def typed() -> list[str]:
    """The lines of the page's blocks without a language, in order, without comments."""
    lines = [line for fence in fences(PAGE) if not fence.language for line in fence.text.splitlines()]
    return [
        line.split(" #")[0].strip() for line in lines if line.split()[0] in ("pinisi", "mkdir", "cp", "ls")
    ]


def test_the_page_names_each_of_its_files_before_it_is_used() -> None:
    made: set[str] = set()
    for line in typed():
        words = line.split()
        made |= {word for flag, word in pairwise(words) if flag in ("--out", "fetch")}
        made |= {*words[1:]} if words[0] == "mkdir" else set()
        for word in (
            "tokenizer",
            "my-model",
            "my-text",
            "base-text",
            "runs/shards",
            "before.json",
            "my-new-model",
        ):
            assert word not in words or word in made, f"{line}: nothing has made {word}"


def bits_of(result: dict) -> dict[str, float]:
    return {each["language"]: each["scores"]["bits_per_byte"]["value"] for each in result["losses"]}


@only_full
def test_the_page_runs_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    """Some ten minutes on one core. What the page promises is looked at: nothing known is lost, and that is said without replay."""
    base, run = (fence.text for fence in fences(PAGE) if fence.language == "toml")
    (tmp_path / "base.toml").write_text(base)
    (tmp_path / "run.toml").write_text(run)
    paths = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    said: dict[str, str] = {}
    for line in typed():
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        said[line] = done.stdout + done.stderr
    (replay, without, _) = [text for line, text in said.items() if line.startswith("pinisi train run.toml")]
    assert "ALARM" not in replay and "ALARM, forgetting:" in without
    before, after = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("before", "after"))
    bits = [bits_of(each) for each in (before, after)]
    assert bits[1]["su"] < bits[0]["su"]
    assert all(bits[1][name] < 1.02 * bits[0][name] for name in ("en", "zh"))
