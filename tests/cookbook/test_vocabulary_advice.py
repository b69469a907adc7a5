"""Advice on sizes of a vocabulary, worked out again by hand from the planner's and the tokenizers' own numbers."""

import dataclasses

import pytest

from pinisi.cookbook.loss_law import LossPoint, fit_loss_law
from pinisi.cookbook.vocabulary_advice import AdviceOptions, _judge, advice_lines, advise, request_for
from pinisi.data.tokenizer import load_tokenizer
from pinisi.plan.vocabulary_sizes import lost_beyond_flops, planned_size

from ..data.made_tokenizers import made
from .made_models import drawn_texts, reading

TEXTS = {language: drawn_texts(language, 60) for language in ("my", "en")}


def _request():
    return request_for("qwen3-0.6b", devices=2, hardware="H100", replicas=1, sequence=512, seconds=2)[1]


def test_costs_are_those_of_plan_and_tokenizer(tmp_path) -> None:
    base, request = made(tmp_path / "base", "qwen"), _request()
    held_out = reading({language: drawn_texts(language, 10, seed=3) for language in TEXTS})
    options = AdviceOptions(sizes=(400, 470), text=1e9, small_flops=0)
    said: list[str] = []
    result = advise(
        "body", request, base, "", reading(TEXTS), held_out, tmp_path / "work", options, report=said.append
    )
    assert [row["rows"] for row in result["sizes"]] == [400, 470]
    for row in result["sizes"]:
        backend = load_tokenizer(tmp_path / "work" / f"tokenizer-{row['rows']}").backend_tokenizer
        rates = []
        for language, read in held_out.items():
            tokens = sum(len(backend.encode(text, add_special_tokens=False).ids) for text in read())
            rates.append(tokens / sum(len(text.encode()) for text in read()))
            assert row["tokens_per_byte"][language] == pytest.approx(rates[-1])
        plan = planned_size(request, row["rows"], split=True)
        assert row["seconds_per_byte"]["with_passes"] == pytest.approx(
            sum(rates) / 2 / plan.tokens_per_second, rel=0.2
        )
        assert row["flops_per_byte"] == pytest.approx(sum(rates) / 2 * plan.flops_per_token)
        assert row["cost"] == pytest.approx(1e9 * min(row["seconds_per_byte"].values()))
    assert result["cheapest"] == min(result["sizes"], key=lambda row: row["cost"])["rows"]
    assert any("cheapest for the same text" in line for line in advice_lines(result))


def test_a_target_is_reached_with_the_text_that_the_law_asks_for() -> None:
    request = _request()
    points = [
        LossPoint(
            body, rows * 64, text, 0.5 + (body / 1e6) ** -0.4466 * 0.01 + 0.05 * (text / 1e9) ** -0.44660634
        )
        for body in (1e5, 4e5)
        for rows in (2_000, 8_000)
        for text in (1e6, 4e6)
    ]
    law = fit_loss_law(points)
    rows = [
        {"rows": size, "flops_per_byte": 1.0, "seconds_per_byte": {"a": each, "b": None}, "bits": None}
        for size, each in ((1_000, 2.0), (2_000, 1.0))
    ]
    target = _judge(rows, request, AdviceOptions(target=0.6), law)
    assert target == 0.6
    for row in rows:
        shape = dataclasses.replace(request.shape, vocabulary=row["rows"])
        point = LossPoint(shape.layers * shape.layer_parameters, shape.vocabulary_parameters, row["text"])
        assert law.bits(point) == pytest.approx(0.6)
        assert row["cost"] == pytest.approx(row["text"] * row["seconds_per_byte"]["a"])


def test_nothing_is_lost_where_devices_do_as_many_operations() -> None:
    request = _request()
    small = planned_size(request, 50_000, split=True)
    large = dataclasses.replace(
        small,
        flops_per_token=2 * small.flops_per_token,
        row=dataclasses.replace(small.row, tokens_per_second=small.tokens_per_second / 2),
    )
    assert lost_beyond_flops(small, large) == pytest.approx(0)
    slower = dataclasses.replace(
        large, row=dataclasses.replace(small.row, tokens_per_second=0.45 * small.tokens_per_second)
    )
    assert lost_beyond_flops(small, slower) == pytest.approx(0.1)
