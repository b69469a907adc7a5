"""Gradients, loss and weights after steps: a pipeline against one process with the same Hugging Face model."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations, product

import pytest
import torch

from pinisi.schedule import names
from tests.distributed.cases import Case
from tests.distributed.cases import check_cases as check
from tests.effort import FULL, only_full

VALUES = {
    "ranks": [1, 2, 3, 4],
    "barriers": [0, 1, 2],
    "schedule": names(),
    "tied": [True, False],
    "vocabulary": [211, 127],
    "microbatches": [2, 4, 9],  # smaller than, equal to and larger than p = 4
    "architecture": ["qwen2", "llama", "gemma2", "mistral", "qwen3", "gemma3_text", "phi3", "olmo2"],
    "dtype": [torch.float64, torch.float32],
    "ignored": ["none", "some", "microbatch"],
    "packed": [True, False],
    "rows": ["even", "uneven", "one"],
    "recompute": [False, True],
    "split": [False, True],
    "padding": [None, 5],
}


def all_pairs(values: dict[str, list], seed: int = 0) -> list[Case]:
    """Few cases in which every pair of values of any two fields occurs: greedily, from drawn candidates."""
    names = list(values)
    left = {
        ((a, x), (b, y))
        for a, b in combinations(names, 2)
        for x in range(len(values[a]))
        for y in range(len(values[b]))
    }
    draw, cases = random.Random(seed), []
    while left:
        must = min(left)
        best, gain = None, -1
        for _ in range(30):
            choice = {name: draw.randrange(len(values[name])) for name in names} | dict(must)
            covered = sum(((a, choice[a]), (b, choice[b])) in left for a, b in combinations(names, 2))
            if covered > gain:
                best, gain = choice, covered
        assert best is not None
        left -= {((a, best[a]), (b, best[b])) for a, b in combinations(names, 2)}
        cases.append(Case(**{name: values[name][at] for name, at in best.items()}, seed=len(cases)))
    return cases


PAIRS = all_pairs(VALUES)


@pytest.mark.parametrize("part", range(4))
def test_one_step_equals_one_process_for_all_pairs_of_settings(pool, part):
    check(pool, PAIRS[part::4])


def test_the_pairs_are_complete():
    for a, b in combinations(VALUES, 2):
        found = {(getattr(case, a), getattr(case, b)) for case in PAIRS}
        assert len(found) == len(VALUES[a]) * len(VALUES[b]), (a, b)


@pytest.mark.parametrize("ranks", [2, *(pytest.param(ranks, marks=only_full) for ranks in (3, 4))])
def test_every_schedule_with_every_number_of_barriers(pool, ranks):
    """Tied and untied, with fewer microbatches than ranks and with more; by turns, and by turns for 3 or 4 ranks: all in make
    bench."""
    settings = [
        (schedule, barriers, tied)
        for at, schedule in enumerate(names())
        for barriers, tied in product((0, 1, 2), (True, False))
        if FULL or ((at + barriers) % 2 == tied and ranks in (2, 3 + (at + barriers // 2) % 2))
    ]
    cases = [
        Case(
            ranks=ranks,
            schedule=schedule,
            barriers=barriers,
            tied=tied,
            microbatches=ranks - 1 if tied else 2 * ranks + 1,
            seed=barriers,
        )
        for schedule, barriers, tied in settings
    ]
    check(pool, cases)


def full_product() -> list[Case]:
    """Every combination of the settings that decide what is sent where, for gpipe and 1f1b that of the others, too, that a
    model can tell apart; what is left is drawn for each."""
    draw = random.Random(1)
    sent = ["ranks", "barriers", "schedule", "tied", "microbatches"]
    seen = [*sent, "architecture", "ignored", "packed"]
    cases = []
    for fixed, schedules in (
        (seen, ["gpipe", "1f1b"]),
        (sent, [n for n in names() if n not in ("gpipe", "1f1b")]),
    ):
        values = VALUES | {"schedule": schedules}
        for choice in product(*(values[name] for name in fixed)):
            rest = {name: draw.choice(of) for name, of in VALUES.items() if name not in fixed}
            cases.append(Case(**dict(zip(fixed, choice, strict=True)), **rest, seed=len(cases)))
    return cases


@only_full  # an hour
def test_one_step_equals_one_process_for_the_full_product(pool):
    cases = full_product()
    for at in range(0, len(cases), 100):
        check(pool, cases[at : at + 100])
        print(f"{min(at + 100, len(cases))} of {len(cases)} cases", flush=True)


@pytest.mark.parametrize("barriers", [0, 1, 2] if FULL else [1])
def test_weights_agree_after_20_steps_with_clipping(pool, barriers):
    base = Case(barriers=barriers, steps=20, microbatches=3)
    check(
        pool,
        [
            replace(base, ranks=2, architecture="qwen2", tied=True),
            replace(base, ranks=3, architecture="gemma2", tied=True, dtype=torch.float32),
            replace(base, ranks=4, architecture="llama", tied=False, rows="uneven"),
        ],
    )
