"""What `pinisi bench packed` compares, measures and demands."""

from __future__ import annotations

import json
from itertools import product

import pytest
import torch

from pinisi.bench import packed, packed_balance, packed_exact
from pinisi.models import ARCHITECTURES
from pinisi.models.attention import blocks
from pinisi.schedule import build


def test_every_architecture_and_window_is_compared():
    found = packed_exact.cases(["blocks"])
    windowed = [name for name, row in ARCHITECTURES.items() if row.windows != "none"]
    assert len(ARCHITECTURES) == 8 and {case[0] for case in found} == set(ARCHITECTURES)
    assert {case[:2] for case in found if case[0] in windowed} == set(product(windowed, packed_exact.WINDOWS))
    assert {case[3] for case in found} == {torch.float32, torch.float64}


@pytest.mark.parametrize(
    ("name", "window", "dtype"), [("gemma2", 40, torch.float64), ("phi3", 150, torch.float32)]
)
def test_a_right_backend_passes_and_wrong_ones_fall_short(name, window, dtype, monkeypatch):
    row = packed_exact.compare(name, window, "blocks", dtype, 7)
    assert not packed_exact.falls_short(row)
    assert packed_exact.falls_short({**row, "moved": 1})
    assert packed_exact.falls_short({**row, "control": 0.0})
    right = blocks.DocumentBlocks.mask

    def shifted(self, before, queries, keys):
        return right(self, before, queries, keys).roll(1, -1)

    monkeypatch.setattr(blocks.DocumentBlocks, "mask", shifted)
    assert packed_exact.falls_short(packed_exact.compare(name, window, "blocks", dtype, 7))


def test_documents_fill_the_row():
    for seed in range(5):
        lengths = packed.document_lengths(4096, seed)
        assert len(lengths) == 8 and sum(lengths) == 4096 and min(lengths) >= 150


def test_seconds_and_bytes_are_of_the_same_work():
    dense, bounded = (packed.AttentionCase("window 256", backend, 1024, 7) for backend in ("dense", "blocks"))
    for a, b in zip(dense.run(), bounded.run(), strict=True):
        assert a is not None and b is not None and torch.allclose(a, b, atol=1e-5)
    assert bounded.bytes() < dense.bytes()


def test_the_same_rows_are_dealt_out_more_evenly():
    plain, balanced = (packed_balance.steps_of(7, balance) for balance in (False, True))
    for before, after in zip(plain, balanced, strict=True):
        rows = [sorted(row.tolist() for m in step for row in m.tokens) for step in (before, after)]
        assert rows[0] == rows[1]
        assert packed_balance.pairs(after) == sorted(packed_balance.pairs(before), reverse=True)


def test_a_step_ends_with_its_last_pass():
    schedule = build("1f1b", packed_balance.RANKS, packed_balance.MICROBATCHES, barriers=0)
    ranks, count = packed_balance.RANKS, packed_balance.MICROBATCHES
    even = packed_balance._step_seconds(schedule, [(1.0, 2.0)] * count)
    assert even == 3.0 * (count + ranks - 1)  # 1F1B: (m + p - 1)(F + B)
    one = [(1.0, 2.0)] * (count - 1) + [(11.0, 22.0)]
    # the last microbatch: up through all ranks, and down again, behind what the others took of the last rank
    assert packed_balance._step_seconds(schedule, one) >= ranks * 33.0 + 3 * (count - 1 - ranks)


def figures() -> tuple[list, list, list]:
    exact = [
        {"dtype": d, "logits": 1e-12, "gradients": 1e-12, "moved": 0, "control": 1.0, "bound": 1e-11}
        for d in ("float32", "float64")
    ]
    rows = [
        {"kind": "causal", "tokens": n, "seed": s, "dense_bytes": n**1.5, "blocks_bytes": n, "time": 0.2}
        for n, s in product((1024, 4096, 8192), (0, 1))
    ]
    return exact, rows, [{"saved": 0.12, "same_rows": True}, {"saved": 0.3, "same_rows": True}]


def test_verdicts_are_by_the_worst():
    assert all(met for _, met in packed.verdicts(*figures()))
    exact, rows, balance = figures()
    exact[1]["gradients"] = 1e-10
    assert [met for _, met in packed.verdicts(exact, rows, balance)] == [False, True, True, True]
    exact, rows, balance = figures()
    rows[3]["time"] = 0.34  # 4,096 tokens, seed 1
    assert [met for _, met in packed.verdicts(exact, rows, balance)] == [True, False, True, True]
    exact, rows, balance = figures()
    rows[5]["blocks_bytes"] = 8192 * 2
    assert [met for _, met in packed.verdicts(exact, rows, balance)] == [True, True, False, True]
    exact, rows, balance = figures()
    balance[0]["saved"] = 0.09
    assert [met for _, met in packed.verdicts(exact, rows, balance)] == [True, True, True, False]


def test_the_exit_code_is_1_where_one_falls_short(monkeypatch, tmp_path, capsys):
    exact, rows, balance = figures()
    balance[0] |= {
        "seed": 0,
        "seconds": 1.0,
        "balanced_seconds": 0.9,
        "costliest": 2.0,
        "balanced_costliest": 1.0,
    }
    monkeypatch.setattr(packed, "exactness", lambda seeds: exact)
    monkeypatch.setattr(packed, "attention_rows", lambda *_: rows)
    monkeypatch.setattr(packed_balance, "measure", lambda *_: balance[:1])
    file = tmp_path / "packed.json"
    assert packed.main(["--json", str(file)]) == 0
    balance[0]["saved"] = 0.0
    assert packed.main(["--json", str(file)]) == 1
    assert [row["met"] for row in json.loads(file.read_text())["verdicts"]] == [True, True, True, False]
    assert "NOT MET: [F] balancing saves 0.0 %" in capsys.readouterr().out
