"""Counts how often paired tests find a difference between models that differ by noise only, and one that was planted.

Demands, written down before anything was measured: of 1,000 pairs that differ by noise only 3 to 7 % come out as different at 5 %,
in each setting and for each seed; a planted difference, whose size stands in the setting, is found in at least 80 %. Of families
of five languages that differ by noise, at most 7 % have any corrected find. The control, a test that takes the two models' results
for results on different samples, must fall out of 3 to 7 % by noise: samples here are as hard for one model as for the other.

Right or wrong: an item has a chance of its own of being answered rightly, drawn from a Beta distribution, which both models share;
each answers by its own throw. So results go together as those of two seeds of one training do. Continuous: bits of documents whose
lengths are log-normal, on which a model is off by what grows with the root of the length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pinisi.evaluate.samples import mean_samples, ratio_samples, score_of, statistics_of
from pinisi.evaluate.statistics import holm, paired_difference, swap_p

PAIRS, LEVEL = 1000, 0.05
NOISE, FOUND, FAMILY = (0.03, 0.07), 0.80, 0.07
LANGUAGES = 5  # of a family
SEEDS = (0, 1, 2)
INTERVALS = 300  # pairs whose intervals are told of too

Draw = Callable[[np.random.Generator, float], tuple[np.ndarray, np.ndarray]]  # both models' statistics


class NoiseSetting(NamedTuple):
    """What is drawn. planted: how much better the second model is, in the score's own unit."""

    name: str
    kind: str
    samples: int
    planted: float
    draw: Draw


def right_or_wrong(items: int, mean: float, spread: float) -> Draw:
    """Items that both models find as hard. spread: sum of the Beta distribution's parameters; the smaller, the more alike."""

    def draw(generator: np.random.Generator, planted: float) -> tuple[np.ndarray, np.ndarray]:
        chance = generator.beta(mean * spread, (1 - mean) * spread, items)
        better = _moved(chance, planted)
        sides = (generator.random(items) < each for each in (chance, better))
        first, second = (statistics_of(mean_samples(side)) for side in sides)
        return first, second

    return draw


def _moved(chance: np.ndarray, planted: float) -> np.ndarray:
    """Chances whose mean is higher by `planted`: all move by as much on the logit's scale."""
    if not planted:
        return chance
    odds = np.log(np.clip(chance, 1e-9, 1 - 1e-9) / np.clip(1 - chance, 1e-9, 1))
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if (1 / (1 + np.exp(-odds - middle))).mean() < chance.mean() + planted
            else (low, middle)
        )
    return 1 / (1 + np.exp(-odds - low))


def documents(count: int, noise: float) -> Draw:
    """Documents of about 1,000 bytes, log-normal, at one bit a byte; noise: of a model, in bits, over the root of its bytes."""

    def draw(generator: np.random.Generator, planted: float) -> tuple[np.ndarray, np.ndarray]:
        size = np.round(np.exp(generator.normal(math.log(1000), 0.9, count))) + 20
        bits = size * np.exp(generator.normal(0, 0.25, count))
        sides = [
            bits * factor + noise * np.sqrt(size) * generator.normal(size=count)
            for factor in (1.0, 1.0 - planted)
        ]
        first, second = (statistics_of(ratio_samples(side, size)) for side in sides)
        return first, second

    return draw


SETTINGS = (
    NoiseSetting("XCOPA, 500 items", "mean", 500, 0.07, right_or_wrong(500, 0.65, 1.0)),
    NoiseSetting("Belebele, 900 items", "mean", 900, 0.055, right_or_wrong(900, 0.4, 1.0)),
    NoiseSetting("exams, 100 items", "mean", 100, 0.16, right_or_wrong(100, 0.5, 1.0)),
    NoiseSetting("few and alike, 60 items", "mean", 60, 0.19, right_or_wrong(60, 0.5, 0.5)),
    NoiseSetting("bits a byte, 100 documents", "ratio", 100, 0.012, documents(100, 1.0)),
    NoiseSetting("bits a byte, 30 documents", "ratio", 30, 0.025, documents(30, 1.0)),
)  # fmt: skip


def unpaired_p(a: np.ndarray, b: np.ndarray) -> float:
    """The control: the normal test of two means, as if they were of different samples."""
    first, second = a[:, 0] / a[:, 1], b[:, 0] / b[:, 1]
    error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return math.erfc(abs(second.mean() - first.mean()) / error / math.sqrt(2)) if error else 1.0


def measure_setting(setting: NoiseSetting, seed: int, pairs: int = PAIRS) -> dict[str, Any]:
    """Shares of pairs that come out as different."""
    generator = np.random.default_rng([seed, setting.samples])
    score = score_of(setting.kind)
    noise, control, outside = [], [], []
    for pair in range(pairs):
        a, b = setting.draw(generator, 0.0)
        noise.append(swap_p(a, b, score, pair))
        control.append(unpaired_p(a, b))
        if pair < INTERVALS:
            found = paired_difference(a, b, score, pair, swaps=1)
            outside.append(not found.low <= 0 <= found.high)
    planted = [swap_p(*setting.draw(generator, setting.planted), score, pair) for pair in range(pairs)]
    families = [noise[n : n + LANGUAGES] for n in range(0, pairs, LANGUAGES)]
    return {
        "setting": setting.name,
        "seed": seed,
        "pairs": pairs,
        "planted_difference": setting.planted,
        "noise": _share(noise),
        "interval_without_0": float(np.mean(outside)),
        "planted": _share(planted),
        "any_of_a_family": float(np.mean([min(holm(family)) <= LEVEL for family in families])),
        "control": _share(control),
    }


def _share(p_values: Sequence[float]) -> float:
    return float(np.mean(np.asarray(p_values) <= LEVEL))


def measure_noise(seeds: Sequence[int] = SEEDS, pairs: int = PAIRS) -> list[dict[str, Any]]:
    """All settings for all seeds."""
    return [measure_setting(setting, seed, pairs) for setting in SETTINGS for seed in seeds]


def noise_faults(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What falls short of a demand."""
    found = []
    for row in rows:
        where = f"{row['setting']}, seed {row['seed']}"
        if not NOISE[0] <= row["noise"] <= NOISE[1]:
            found.append(f"{where}: {row['noise']:.1%} of pairs differ by noise, needed 3 to 7 %")
        if not row["planted"] >= FOUND:
            found.append(f"{where}: {row['planted']:.1%} of planted differences are found, needed 80 %")
        if NOISE[0] <= row["control"] <= NOISE[1]:
            found.append(
                f"{where}: the control, an unpaired test, gives {row['control']:.1%} and should have failed"
            )
    for name in dict.fromkeys(row["setting"] for row in rows):
        families = [row["any_of_a_family"] for row in rows if row["setting"] == name]
        if not np.mean(families) <= FAMILY:
            found.append(f"{name}: {np.mean(families):.1%} of families have a find by noise, allowed 7 %")
    return found


def noise_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for a terminal."""
    lines = [f"{'':28} seed  by noise  interval  family  unpaired  planted"]
    for row in rows:
        shares = (
            row["noise"],
            row["interval_without_0"],
            row["any_of_a_family"],
            row["control"],
            row["planted"],
        )
        told = "  ".join(f"{share:8.1%}" for share in shares)
        lines.append(f"{row['setting']:28} {row['seed']:4}  {told} of {row['planted_difference']:g}")
    return "\n".join(lines)
