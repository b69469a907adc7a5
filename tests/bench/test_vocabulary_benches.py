"""What the benches of free vocabularies and of small ones count as a fault."""

import numpy as np
import pytest

from pinisi.bench.free_vocabulary import emulated_cases, faults_of_steps, longer
from pinisi.bench.vocabulary_size import CONTROL, NOT_JUDGED, difference_interval, faults_of, mean_bits
from pinisi.schedule import build, simulate
from pinisi.schedule.costs import Costs

MESSAGES = dict.fromkeys(("p2p", "c0", "c1", "u", "c2", "embedding"), 0.001)


def _step(rows: int, split: bool, useful: float, error: float = 0.0) -> dict:
    return {
        "schedule": f"{rows} rows",
        "vocabulary": rows,
        "vocabulary_passes": split,
        "useful_flops_per_s": useful,
        "error_percent": error,
    }


def test_a_loss_or_an_error_above_three_per_cent_is_a_fault() -> None:
    good = [_step(1, True, 100), _step(2, True, 97.1, -2.9), _step(1, False, 100), _step(2, False, 50)]
    assert faults_of_steps(good) == []
    bad = [_step(1, True, 100), _step(2, True, 96.9), _step(1, False, 100, 3.1), _step(2, False, 50)]
    assert len(faults_of_steps(bad)) == 2


def test_cases_are_the_plans_own_schedules_with_longer_passes() -> None:
    costs = {"forward": [[0.01]] * 8, "backward": [[0.02]] * 8, "weight": [[0.0]] * 8, "head_s": [0.004] * 8}
    case = {
        "label": "a",
        "schedule": "1f1b",
        "chunks": None,
        "barriers": 1,
        "microbatches": 9,
        "factor": 10.0,
        "costs": {name: longer(value, 10.0) for name, value in costs.items()},
    }
    [(_, schedule, found, factor)] = list(emulated_cases([case])(MESSAGES))
    same = Costs(forward=0.1, backward=0.2, weight=0.0, head_s=0.04, **MESSAGES)
    wanted = simulate(build("1f1b", 8, 9, barriers=1, costs=same), same).makespan
    assert factor == 10.0 and simulate(schedule, found).makespan == pytest.approx(wanted)


def _result(bits: np.ndarray, size: np.ndarray) -> dict:
    values = {"values": np.stack([bits, size], 1).tolist()}
    losses = [{"language": name, "samples": {"measures": {"bits_per_byte": values}}} for name in ("th", "en")]
    return {"evaluation": {"losses": losses}}


def test_a_difference_has_an_interval_over_documents() -> None:
    generator = np.random.default_rng(0)
    size = generator.integers(100, 1000, 300).astype(float)
    noise = generator.normal(0, 0.1, 300)
    large = _result(size * (2 + noise), size)
    better, same = (
        _result(size * (1.95 + noise), size),
        _result(size * (2 + generator.permutation(noise)), size),
    )
    assert mean_bits(better) - mean_bits(large) == pytest.approx(-0.05)
    low, high = difference_interval(large, better, 0)
    assert low == pytest.approx(-0.05) and high == pytest.approx(-0.05)  # the same noise in both: paired
    low, high = difference_interval(large, same, 0)
    assert low < 0 < high


def test_each_seed_needs_a_small_vocabulary_that_wins_and_a_control_that_does_not() -> None:
    def row(seed: int, rows: int, low: float, high: float, note: str = "") -> dict:
        return {"seed": seed, "rows": rows, "low": low, "high": high, "note": note}

    good = [row(0, 8, -0.2, -0.1), row(0, 16, -0.1, 0.1), row(0, 152, 0, 0), row(0, 152, -0.5, 0.6, CONTROL)]
    assert faults_of(good) == []
    assert len(faults_of([*good, row(1, 8, -0.2, 0.01), row(1, 152, 0, 0)])) == 1
    assert len(faults_of([*good[:3], row(0, 152, -0.3, -0.2, CONTROL)])) == 1
    assert faults_of([*good, row(0, 152, -0.3, -0.2, CONTROL)]) == []  # not in each seed
    assert (
        len(faults_of([row(0, 16, -0.1, 0.1), row(0, 152, 0, 0), row(0, 8, -0.2, -0.1, NOT_JUDGED), good[3]]))
        == 1
    )
