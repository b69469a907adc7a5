"""Predicted MFU and memory beside published ones."""

from __future__ import annotations

import json
import sys

import pytest

from pinisi.base.errors import ConfigError
from pinisi.bench.paper import compare, main, read, summarize
from pinisi.cli import main as cli
from pinisi.costs import PRESETS

HEADER = (
    "schedule,gpus,layers,heads,hidden,seq,microbatch_size,microbatches,vocab,method,"
    "mfu_percent_of_320_tflops,peak_allocated_gb"
)
# arXiv 2411.05288, tables of 1F1B (8 A100) and V-Half (16, 32), sequences of 2048
TABLE = f"""{HEADER}
1f1b,8,32,24,3072,2048,1,128,32000,baseline,46.16,14.86
1f1b,8,32,24,3072,2048,1,128,256000,baseline,25.23,25.64
1f1b,8,32,24,3072,2048,1,128,256000,redis,38.91,25.64
1f1b,8,32,24,3072,2048,1,128,256000,2-barriers,50.12,18.59
1f1b,8,32,24,3072,2048,1,128,256000,1-barrier,49.69,17.78
1f1b,8,32,24,3072,2048,1,128,256000,interlaced,50.92,20.17
v-half,16,32,32,4096,2048,1,128,128000,baseline,28.75,28.55
v-half,16,32,32,4096,2048,1,128,128000,2-barriers,53.41,13.98
v-half,32,64,48,6144,2048,1,128,256000,baseline,OOM,OOM
1f1b,8,32,24,3072,2048,1,128,256000,vocab-3,40,20
"""


def write(folder, text: str):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_published_rows(tmp_path, capsys) -> None:
    out = tmp_path / "out.json"
    assert main([str(write(tmp_path, TABLE)), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "unsupported" in printed and "ranked right" in printed
    found = json.loads(out.read_text())
    rows, summary = found["rows"], found["summary"]
    assert summary["supported"] == 9 and rows[-1]["status"] == "unsupported"
    assert summary["mean_abs_mfu_error_points"] < 3 and summary["worst_abs_mfu_error_points"] < 5
    assert summary["mean_abs_peak_error_percent"] < 4 and summary["worst_abs_peak_error_percent"] < 8
    assert summary["oom_measured"] == 1 and summary["oom_right"] == 9
    assert summary["pairs_right"] == summary["pairs"] > 5
    assert rows[0]["vocab"] == 32000 and rows[0]["mfu_percent_of_320_tflops"] == 46.16
    for row in rows[:9]:
        assert row["predicted_peak_gb"] > 0 and row["predicted_mfu_percent"] > 0


def test_measured_columns_are_not_used(tmp_path) -> None:
    without = [f"{line.rsplit(',', 2)[0]},," for line in TABLE.splitlines()[1:3]]
    cases = read(write(tmp_path, "\n".join([HEADER, *without])))
    other = read(write(tmp_path, "\n".join([HEADER, *TABLE.splitlines()[1:3]])))
    rows = compare(cases, PRESETS["A100-80G"])
    again = compare(other, PRESETS["A100-80G"])
    for a, b in zip(rows, again, strict=True):
        assert a["predicted_mfu_percent"] == b["predicted_mfu_percent"]
        assert a["predicted_peak_gb"] == b["predicted_peak_gb"]
        assert a["mfu_error_points"] is None and b["mfu_error_points"] is not None
    assert summarize(cases, rows)["mean_abs_mfu_error_points"] is None


def test_the_peak_is_the_columns(tmp_path) -> None:
    line = "1f1b,2,4,8,512,256,1,5,9973,1-barrier"
    mfus = []
    for column in ("mfu_percent_of_320_tflops", "mfu_percent_of_160_tflops", "mfu_percent"):
        text = HEADER.replace("mfu_percent_of_320_tflops", column) + f"\n{line},10,10\n"
        mfus.append(compare(read(write(tmp_path, text)), PRESETS["A100-80G"])[0]["predicted_mfu_percent"])
    assert mfus[1] == pytest.approx(2 * mfus[0]) and mfus[2] == pytest.approx(mfus[0] * 320 / 312)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column schedule"),
        (HEADER, "no run below"),
        (HEADER.replace("gpus", "devices"), "no column gpus"),
        (f"{HEADER}\n1f1b,x,32,24,3072,2048,1,128,32000,baseline,46,14", "line 2, column gpus: 'x'"),
        (
            f"{HEADER}\n1f1b,8,32,24,3072,2048,1,128,32000,baseline,46,much",
            "column peak_allocated_gb: 'much'",
        ),
        (f"{HEADER}\n1f1b,8,32,24,3072,2048,1,128,32000,baseline,-4,14", "column mfu_percent_of_320_tflops"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, capsys, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message):
        read(path)
    assert main([str(path)]) == 2
    assert message in capsys.readouterr().err


def test_the_command_line_knows_it(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pinisi"])
    path = write(tmp_path, f"{HEADER}\n1f1b,2,4,8,512,256,1,5,9973,1-barrier,10,1\n")
    assert cli(["bench", "paper", str(path), "--hardware", "H200"]) == 0
    assert "1 of 1 rows" in capsys.readouterr().out
    assert cli(["bench", "paper", str(tmp_path / "none.csv")]) == 2
