"""Puts a run into a handful of numbers: the cards on top of its page."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from pinisi.report import numbers

if TYPE_CHECKING:  # it reads timelines, and the page of a curation shall not load schedules
    from pinisi.report.files import RunFiles


class Card(NamedTuple):
    """One number, what it is, and what a reader needs beside it."""

    label: str
    value: str
    note: str


def headline(run: RunFiles) -> dict[str, Any]:
    """The run in a handful of numbers."""
    cards = [*training_cards(run), *evaluation_cards(run), *machine_cards(run)]
    return {"cards": cards} if cards else {"missing": "No step of this run has been recorded yet."}


def training_cards(run: RunFiles) -> Iterator[Card]:
    if not run.training:
        return
    first, last = run.training[0], run.training[-1]
    tokens = sum(line["tokens"] for line in run.training)
    rates = [line["tokens_per_second"] for line in run.training]
    since = f"nats per token, from {first['loss']:.3f} at step {first['step']}"
    yield Card("training loss", f"{last['loss']:.3f}", since)
    used = [line["mfu"] for line in run.training if line.get("mfu") is not None]
    share = f"; MFU {median(used):.1%}" if used else ""
    yield Card("throughput", numbers.count(median(rates)), f"tokens per second, median of steps{share}")
    seconds = numbers.duration(sum(line["seconds"] for line in run.training))
    yield Card("trained", f"{numbers.short(tokens)}", f"tokens in {last['step']} steps, {seconds}")


def evaluation_cards(run: RunFiles) -> Iterator[Card]:
    if len(run.evaluations) < 2:
        return
    first, last = run.evaluations[0]["evaluation"], run.evaluations[-1]["evaluation"]
    pairs = [
        (before, after)
        for name in last
        if name in first
        and (before := numbers.bits_per_byte(first[name]))
        and (after := numbers.bits_per_byte(last[name]))
    ]
    if pairs:
        before, after = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
        note = f"bits per byte, mean of {len(pairs)} languages, from {before:.3f}"
        yield Card("held-out text", f"{after:.3f}", note)


def machine_cards(run: RunFiles) -> Iterator[Card]:
    yield from ranks_card(run)
    peaks = [item["peak"] for item in run.memory if item["peak"]]
    if peaks:
        note = f"on the fullest rank; {numbers.memory(min(peaks))} on the emptiest"
        yield Card("peak memory", numbers.memory(max(peaks)), note)
    if run.measured and run.predicted and run.predicted.makespan:
        error = run.measured.makespan / run.predicted.makespan - 1
        note = f"{error:+.1%} against the prediction"
        yield Card("step, measured", numbers.duration(run.measured.makespan), note)


def ranks_card(run: RunFiles) -> Iterator[Card]:
    """How many ranks there were, by the timeline or else by the configuration."""
    timeline = run.measured or run.predicted
    plan = (run.config or {}).get("pipeline", {})
    if timeline:
        schedule = timeline.schedule
        note = f"{schedule.name}, {schedule.microbatches} microbatches, {barriers(schedule.layout.barriers)}"
        yield Card("ranks", str(schedule.layout.ranks), note)
    elif plan:
        note = f"{plan.get('name', '')}, {barriers(plan.get('barriers', 1))}"
        yield Card("ranks", str(plan.get("ranks", "?")), note)


def barriers(number: int) -> str:
    return f"{number} barrier" + ("" if number == 1 else "s")
