import json

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.bench import peers
from pinisi.bench import vocabulary as bench
from pinisi.bench.vocabulary import MODELS, PAPER, main

SIZES = ["--tokens", "7", "--hidden", "5", "--rows", "11", "13", "--rounds", "1"]


def test_prints_tables_and_writes_json(tmp_path, capsys):
    file = tmp_path / "out" / "vocabulary.json"
    assert main([*SIZES, "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    rows = found["rows"]
    assert [(row["dtype"], row["V_r"], row["barriers"]) for row in rows] == [
        (dtype, rows_, barriers)
        for dtype in ("float32", "bfloat16")
        for rows_ in (11, 13)
        for barriers in (1, 2)
    ]
    for row in rows:
        assert row["flops"] / row["matrix_flops"] == pytest.approx(row["rate"])
    printed = capsys.readouterr().out
    for row in found["forms"]:
        assert row["form"] in printed and row["ms"] <= row["sum_ms"]
        limit = 1e-5 if row["dtype"] == "float32" else 0.03
        assert max(row["dx_error"], row["dw_error"], row["loss_error"]) < limit, row
        assert row["peak_bytes"] > 0
    ours = {row["form"] for row in found["forms"] if row["ms"] == row["sum_ms"]}
    assert ours == {f"pinisi, {b}{r}" for b in ("1 barrier", "2 barriers") for r in ("", ", recompute")}
    assert "torch" in {row["form"] for row in found["forms"]}
    for dtype, rows_ in {(row["dtype"], row["V_r"]) for row in found["forms"]}:
        forms = [row for row in found["forms"] if (row["dtype"], row["V_r"]) == (dtype, rows_)]
        bare = [
            row["rate"] * row["sum_ms"] for row in forms
        ]  # of one time of the bare products, the sum counted
        assert bare == pytest.approx([bare[0]] * len(bare))


def test_whole_gives_the_others_the_rows_of_all_shards(tmp_path):
    file = tmp_path / "whole.json"
    assert main([*SIZES, "--whole", "3", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    for row in found["forms"]:
        assert row["V_r"] in ((11, 13) if row["form"].startswith("pinisi") else (33, 39))
        assert row["us_per_row"] == pytest.approx(row["sum_ms"] * 1e3 / row["V_r"])


def test_alone_leaves_the_others_out(tmp_path, capsys):
    file = tmp_path / "alone.json"
    assert main([*SIZES, "--alone", "--busy", "--json", str(file)]) == 0
    assert json.loads(file.read_text())["forms"] == []
    assert len(capsys.readouterr().out.splitlines()) == 1 + 8


def test_chosen_forms_and_what_is_said_of_one_that_is_not_there(capsys):
    assert main([*SIZES, "--forms", "torch;pinisi, 1 barrier"]) == 0
    assert "recompute" not in capsys.readouterr().out
    with pytest.raises(
        ConfigError, match=r"'Lager' is no form that runs here on cpu: choose of pinisi, 1 bar"
    ):
        main([*SIZES, "--forms", "Lager"])
    assert capsys.readouterr().out == ""  # before anything is measured


def test_a_run_that_is_stopped_leaves_the_rows_that_it_has(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "compare", stopped)
    file = tmp_path / "out.json"
    with pytest.raises(KeyboardInterrupt):
        main([*SIZES, "--json", str(file)])
    found = json.loads(file.read_text())
    assert len(found["rows"]) == 8 and found["forms"] == []


def test_shapes_are_the_papers_and_todays():
    assert len(PAPER) == 24 and {(s.tokens, s.hidden, s.rows) for s in PAPER} >= {
        (2048, 3072, 32_768),
        (4096, 5120, 1024),
        (2048, 4096, 16_384),
    }
    assert {s.hidden for s in MODELS} >= {1024, 4096, 5120, 2560, 5376, 8192}
    assert all(s.tokens == 4096 and 16_000 < s.rows < 33_000 for s in MODELS)


def test_errors_are_told():
    """A gradient that is off by a hundredth is reported as such."""
    case = peers.random_case(9, 4, 13, torch.float64, torch.device("cpu"), sure=True)
    wanted = peers.exact(case)
    assert wanted.lp is not None and float(wanted.lp.exp().max()) > 0.8
    off = peers.Outcome(wanted.lp * 1.1, wanted.loss, wanted.dx * 1.01, wanted.dw * 0.99)
    assert peers.errors(off, wanted) == pytest.approx(
        {"loss": 0, "dx": 0.01, "dw": 0.01, "lp": 0.1}, abs=1e-9
    )


def test_sizes_below_one_are_refused():
    with pytest.raises(ConfigError, match="1 or more"):
        main(["--tokens", "0"])
