"""The n-gram model against dictionaries and loops that follow the formulas one by one."""

import itertools
import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.curate.packs.ngrams import DAMPING, LETTERS, UNIT, train
from pinisi.curate.packs.stream import (
    BOUNDARY,
    ORDERS,
    distinct_runs,
    keys,
    pieces,
    run_hashes,
    stream,
    windows,
)
from pinisi.curate.packs.table import Table
from pinisi.data.text.segmentation import normal_codes
from tests.curate.packs.texts import documents

END = "|"


def stream_of(text):
    return stream(normal_codes(text))


class Slow:
    """The same model from dictionaries, nothing pruned."""

    def __init__(self, text: str) -> None:
        self.runs = Counter("".join(c if c.isalpha() else " " for c in text.lower()).split())
        self.counts: list[Counter[str]] = [Counter() for _ in range(ORDERS + 1)]
        for run, often in self.runs.items():
            padded = END + run + END
            for end in range(1, len(padded)):
                for n in range(1, min(ORDERS, end + 1) + 1):
                    self.counts[n][padded[end - n + 1 : end + 1]] += often**DAMPING
        self.totals: list[dict[str, float]] = [defaultdict(float) for _ in range(ORDERS + 1)]
        self.taken: list[dict[str, float]] = [defaultdict(float) for _ in range(ORDERS + 1)]
        for n in range(1, ORDERS + 1):
            near = Counter(round(count) for count in self.counts[n].values())
            discount = min(max(near[1] / max(near[1] + 2 * near[2], 1), 0.1), 0.95)
            for gram, count in self.counts[n].items():
                self.totals[n][gram[:-1]] += count
                self.taken[n][gram[:-1]] += min(count, discount)
            self.taken[n]["discount"] = discount

    def p(self, character: str, history: str) -> float:
        """p(character | history) with at most 4 characters of history."""
        n = len(history) + 1
        lower = self.p(character, history[1:]) if history else 1 / LETTERS
        total = self.totals[n].get(history, 0)
        if not total:
            return lower
        count = self.counts[n].get(history + character, 0)
        own = max(count - self.taken[n]["discount"], 0)
        return (own + self.taken[n][history] * lower) / total

    def log_characters(self, run: str) -> float:
        padded = END + run + END
        return sum(
            math.log(self.p(padded[end], padded[max(end - ORDERS + 1, 0) : end]))
            for end in range(1, len(padded))
        )

    def log_run(self, run: str, kept: set[str]) -> float:
        total = sum(self.runs.values()) + len(self.runs)
        rest = 1 - sum(self.runs[word] for word in kept) / total
        share = self.runs[run] / total if run in kept else 0
        return math.log(share + rest * math.exp(self.log_characters(run)))


@pytest.fixture(scope="module")
def text():
    return " ".join(documents("bb", 12))


@pytest.fixture(scope="module")
def slow(text):
    return Slow(text)


def drawn_runs(slow, count=60):
    draw = random.Random(3)
    letters = [*sorted({c for run in slow.runs for c in run}), "é", "q"]
    made = ["".join(draw.choices(letters, k=draw.randint(1, 9))) for _ in range(count)]
    return sorted(slow.runs)[:count] + made


def test_probabilities_are_those_of_the_formulas(text, slow):
    model = train(stream_of(text), budget=10**6)
    table = Table([model])
    # what is kept as a whole is told by its key
    kept = {run for run in slow.runs if run_hashes_of(run) in set(model.keys.tolist())}
    assert len(kept) > 20
    for run in drawn_runs(slow):
        expected = slow.log_run(run, kept)
        # each weight is rounded down by less than a unit
        most = (2 * ORDERS * (len(run) + 1) + 2) / UNIT
        found = table.log_likelihood(stream_of(run))[0]
        assert expected - most <= found <= expected + 1e-4, run


def run_hashes_of(run):
    return int(keys(run_hashes(stream_of(run))[1])[0])


def test_a_text_is_the_product_of_its_runs(text):
    table = Table([train(stream_of(text), 500)])
    one, other = (stream_of(" ".join(part)) for part in (text.split()[:33], text.split()[33:90]))
    both = stream_of(" ".join(text.split()[:90]))
    together = table.log_likelihood(one) + table.log_likelihood(other)
    assert table.log_likelihood(both)[0] == pytest.approx(together[0], rel=1e-6)


@pytest.mark.parametrize("budget", [0, 1, 5, 17, 40, 10**6])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_probabilities_of_all_runs_sum_to_at_most_one_however_pruned(budget, seed):
    """Over all runs of two letters up to 12 long; what is left is for longer ones, other letters, and a run that
    ends before it begins."""
    draw = random.Random(seed)
    runs = ["".join(draw.choices("ab", [3, 1], k=draw.choice([1, 1, 1, 2, 2, 3, 5]))) for _ in range(700)]
    model = train(stream_of(" ".join(runs)), budget)
    assert len(model) <= budget + 3
    every = ["".join(letters) for n in range(1, 13) for letters in itertools.product("ab", repeat=n)]
    logs, counts, _ = Table([model]).runs(stream_of(" ".join(every)))
    assert len(logs) == len(counts) == len(every)
    total = float(np.exp(logs.astype(np.float64)).sum())
    start = float(np.exp(Table([model]).log_likelihood(stream_of("é"))[0]))
    assert start < 1e-4
    assert (0.97 if budget >= 40 else 0.6) < total <= 1, total


def test_more_budget_explains_the_training_text_better(text):
    logs = [
        Table([train(stream_of(text), budget)]).log_likelihood(stream_of(text))[0]
        for budget in (0, 50, 400, 5000)
    ]
    assert logs == sorted(logs)
    assert logs[-1] > logs[0] / 2


def test_the_same_stream_gives_the_same_arrays(text):
    one, other = train(stream_of(text), 333), train(stream_of(text), 333)
    assert one.keys.tobytes() == other.keys.tobytes()
    assert one.weights.tobytes() == other.weights.tobytes()


STREAMS = st.text(st.sampled_from("abcd éก่ \n,"), max_size=80)


@settings(max_examples=150, deadline=None)
@given(STREAMS)
def test_windows_and_runs_against_slices(text):
    line = stream_of(text)
    values = line.tolist()
    assert values[0] == BOUNDARY and (values[-1] == BOUNDARY)
    assert all((a, b) != (BOUNDARY, BOUNDARY) for a, b in itertools.pairwise(values)) or len(values) <= 2
    seen: dict[int, tuple[int, ...]] = {}
    for n, (places, hashes) in enumerate(windows(line), 1):
        expected = [
            end
            for end in range(1 if n == 1 else n - 1, len(values))
            if n == 1 or BOUNDARY not in values[end - n + 2 : end]
        ]
        assert places.tolist() == expected
        for place, value in zip(places.tolist(), hashes.tolist(), strict=True):
            gram = tuple(values[place - n + 1 : place + 1])
            assert seen.setdefault(value, gram) == gram
    assert len(set(seen.values())) == len(seen)


@settings(max_examples=150, deadline=None)
@given(STREAMS)
def test_distinct_runs_against_a_counter(text):
    runs = "".join(c if c.isalpha() or c == "่" else " " for c in text).split()
    once, counts = distinct_runs(stream_of(text))
    assert once.tolist() == stream_of(" ".join(dict.fromkeys(runs))).tolist()
    assert counts.tolist() == list(Counter(runs).values())
    assert len(run_hashes(stream_of(text))[1]) == len(runs)
    assert len(set(run_hashes(stream_of(text))[1].tolist())) == len(set(runs))


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("ab \n"), max_size=60), st.integers(1, 9))
def test_pieces_are_the_text(text, size):
    found = list(pieces(text, size))
    assert "".join(found) == text
    assert all(len(piece) <= size for piece in found)
