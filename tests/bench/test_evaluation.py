"""`pinisi bench evaluation` says of each demand when it isn't met, and nothing where all are."""

import copy

import pytest

from pinisi.bench.evaluation import BOUND, faults

TASK = {
    "worst": BOUND / 10,
    "near_ties": ["3"],
    "other_choices": ["3"],
    "items_scored_otherwise": {"accuracy": 1, "accuracy_per_byte": 0},
}
RUN = {"seconds": 1.0, "same_bits_as_one_row": True, "worst": BOUND / 10}
WHOLE = {
    "tasks": {"xcopa_th": {**TASK}, "belebele_jv": {**TASK}},
    "runs": {"p = 1, 1 rows at once": {**RUN}, "p = 4, 16 rows at once": {**RUN}},
    "choices_at_all_ranks": True,
    "sacrebleu": {"th chrf++": {"equal": True}},
}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("tasks", "xcopa_th", "worst"), 2 * BOUND, "a log-likelihood differs"),
        (("tasks", "xcopa_th", "worst"), float("nan"), "a log-likelihood differs"),
        (
            ("tasks", "belebele_jv", "other_choices"),
            ["3", "4"],
            "other choices than the harness's in items ['4']",
        ),
        (("tasks", "belebele_jv", "items_scored_otherwise"), {"accuracy": 2}, "accuracy differs in 2 items"),
        (("runs", "p = 4, 16 rows at once", "same_bits_as_one_row"), False, "not the same bits"),
        (("runs", "p = 4, 16 rows at once", "worst"), 2 * BOUND, "a log-likelihood differs"),
        (("choices_at_all_ranks",), False, "choices differ"),
        (("sacrebleu", "th chrf++", "equal"), False, "th chrf++ differs"),
    ],
)
def test_each_demand_that_is_not_met_is_a_fault(path, value, words) -> None:
    assert faults(WHOLE) == []
    changed = copy.deepcopy(WHOLE)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (found,) = faults(changed)
    assert words in found
