"""What the bench of advice says of trainings whose results are made up."""

from __future__ import annotations

from pinisi.bench.vocabulary_advice import judged


def row(rows: int, predicted: float, bits: float, seed: int = 0) -> dict:
    return {"seed": seed, "rows": rows, "predicted": predicted, "bits": bits}


def test_a_predicted_size_within_a_hundredth_of_the_best_is_good_enough(capsys) -> None:
    rows = [row(2048, 3.1, 3.30), row(4096, 3.0, 3.03), row(8192, 3.2, 3.01), row(2048, 1.0, 9.0, seed=1)]
    assert not judged(rows, 0)
    assert capsys.readouterr().out == "seed 0: 4,096 rows predicted, 8,192 best, 0.66% more bits per byte\n"


def test_another_falls_short() -> None:
    assert judged([row(2048, 3.1, 3.1), row(4096, 3.0, 3.2)], 0) == [
        "seed 0: 4,096 rows predicted, 2,048 best, 3.23% more bits per byte"
    ]
