"""chrF++ and BLEU: sacrebleu's command line, its tokenizers' traps, and intervals."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pinisi.base.errors import DataError
from pinisi.evaluate.translation import translation_scores

sacrebleu = pytest.importorskip("sacrebleu")
REFERENCES = ["แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพ", "เรือลำนี้มีใบเจ็ดใบ", "ตลาดเช้าวันนี้คนเยอะมาก", "他坐在树下看书。"]
ANSWERS = ["แม่น้ำเจ้าพระยาไหลไปกรุงเทพ", "เรือมีใบเจ็ดใบ", "ตลาดคนเยอะ", "他在树下看书。"]


def test_sacrebleus_command_line_agrees(tmp_path) -> None:
    scores, signatures = translation_scores(ANSWERS, REFERENCES)
    for name, lines in (("a", ANSWERS), ("r", REFERENCES)):
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
    for name, options in (
        ("chrf++", ("-m", "chrf", "--chrf-word-order", "2")),
        ("bleu_char", ("-m", "bleu", "--tokenize", "char")),
    ):
        command = [sys.executable, "-m", "sacrebleu", str(tmp_path / "r"), "-i", str(tmp_path / "a")]
        told = subprocess.run(
            [*command, *options, "-b", "-w", "8"], capture_output=True, text=True, check=True
        )
        assert scores[name].value == pytest.approx(float(told.stdout), abs=1e-7)
        assert scores[name].low <= scores[name].value <= scores[name].high and scores[name].items == 4
        assert "version:" in signatures[name]
    assert "tok:char" in signatures["bleu_char"] and "nw:2" in signatures["chrf++"]


def test_tokenizers_that_would_mislead_are_refused(monkeypatch, tmp_path) -> None:
    with pytest.raises(DataError, match="parts words at spaces"):
        translation_scores(ANSWERS, REFERENCES, tokenizer="13a")
    translation_scores(["Kapal itu besar"], ["Kapal itu besar sekali"], tokenizer="13a")
    monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"flores200sacrebleuspm, which is missing, and nothing is fetched"):
        translation_scores(ANSWERS, REFERENCES, tokenizer="flores200")
    with pytest.raises(DataError, match="needed one of 13a, char"):
        translation_scores(ANSWERS, REFERENCES, tokenizer="mine")
