"""Advises on the size of a vocabulary: what each size costs in operations and seconds, what it brings, and which costs least."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.cookbook.loss_law import LossLaw, LossPoint, fit_loss_law
from pinisi.cookbook.small_runs import SmallBody, SmallRun, measured_run, rows_of
from pinisi.cookbook.vocabulary import tokenizers_of_sizes
from pinisi.costs.hardware import read_hardware
from pinisi.costs.published_vocabulary import published_sizes
from pinisi.costs.shape import shape_of
from pinisi.costs.work import Setting, model_flops
from pinisi.data.fertility import FertilityMeter
from pinisi.data.vocabulary.words import Texts
from pinisi.plan.candidates import Request
from pinisi.plan.source import read_source
from pinisi.plan.vocabulary_sizes import planned_size

FORMAT = 1
SIZES = (16_384, 32_768, 65_536, 131_072, 262_144, 524_288)
FLAT = 0.02  # sizes that cost at most so much more than the cheapest one are as good
# Small trainings that the law is fitted to: bodies, sizes of vocabularies, operations of each (times `scale`).
BODIES = (SmallBody(), SmallBody(hidden=96, layers=6, ffn=288))
SMALL_SIZES = (2_048, 8_192, 32_768)
SMALL_FLOPS = (1e11, 3e11)
SMALL_RATE = 1e-2  # learning rate, between those that `pinisi bench vocabulary-size` found for small and large vocabularies

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class AdviceOptions:
    """Says what is asked.

    sizes: that are looked at. text: bytes that the model is to be trained on. target: bits per byte that it is to reach; those
    that the middle size is predicted to reach with that text, if None. small_flops: a factor on the operations of small trainings;
    0: none.
    """

    sizes: Sequence[int] = SIZES
    text: float = 1e11
    target: float | None = None
    temperature: float = 3.0
    small_flops: float = 1.0
    reference: str = "en"


def request_for(
    model: str,
    *,
    devices: int,
    hardware: str,
    replicas: int | None,
    sequence: int,
    seconds: float,
) -> tuple[str, Request]:
    """A model's name, and how its body is to be run: eight microbatches for each device. Raises ConfigError."""
    source = read_source(model)
    copies = (replicas,) if replicas else tuple(d for d in range(1, devices + 1) if devices % d == 0)
    request = Request(
        shape_of(source.spec),
        Setting(sequence=sequence),
        read_hardware(hardware),
        ranks=devices,
        microbatches=(8 * devices,),
        replicas=copies,
        seconds=seconds,
    )
    return source.name, request


def advise(
    name: str,
    request: Request,
    base: str | Path,
    corpus: str | Path,
    texts: Texts,
    held_out: Texts,
    folder: Path,
    options: AdviceOptions,
    *,
    held_out_folder: str | Path | None = None,
    report: Report = print,
) -> dict[str, Any]:
    """Returns the advice as plain values, for JSON and the page.

    request: how the body is run, any vocabulary. base: a tokenizer, whose own cost stands beside; its special tokens are kept.
    corpus, texts: what tokenizers and small models learn from, as a folder and by language; held_out: what is counted.
    held_out_folder: what small models are measured on. folder: keeps tokenizers and trainings, to go on with.
    Raises ConfigError, DataError.
    """
    made = tokenizers_of_sizes(
        base, texts, options.sizes, folder, temperature=options.temperature, report=report
    )
    rates = {rows_of(out): _rates(out, held_out) for out in made}
    before = _rates(Path(base), held_out)
    law = None
    if options.small_flops and held_out_folder is not None:
        points = small_trainings(base, corpus, texts, str(held_out_folder), folder, options, report)
        law = fit_loss_law(points)
        report(f"the law leaves {law.error:.3f} bits per byte of {len(points)} small trainings unexplained")
    rows = [_size(request, size, rates[size], options, law, report) for size in sorted(rates)]
    target = _judge(rows, request, options, law)
    shape = request.shape
    body = shape.layers * shape.layer_parameters
    cheapest = min(rows, key=lambda row: row["cost"])
    return {
        "format": FORMAT,
        "model": name,
        "devices": request.ranks,
        "hardware": request.hardware.name,
        "text_bytes": options.text,
        "target": target,
        "body_parameters": body,
        "law": None if law is None else {"numbers": law.numbers.tolist(), "error": law.error},
        "published": published_sizes(body, shape.hidden),
        "base": {"rows": rows_of(base), "tokens_per_byte": before},
        "reference": options.reference,
        "sizes": rows,
        "cheapest": cheapest["rows"],
        "flat": [row["rows"] for row in rows if row["cost"] <= (1 + FLAT) * cheapest["cost"]],
        "short": max(options.sizes) if max(rates) < max(options.sizes) else None,
    }


def _rates(tokenizer: Path, held_out: Texts) -> dict[str, float]:
    """Tokens per byte of held-out text by language."""
    meter = FertilityMeter(tokenizer)
    return {language: meter.of(language, read())["tokens_per_byte"] for language, read in held_out.items()}


def mean_rate(rates: Mapping[str, float]) -> float:
    """Tokens per byte where every language has as many bytes."""
    return sum(rates.values()) / len(rates)


def small_trainings(
    base: str | Path,
    corpus: str | Path,
    texts: Texts,
    held_out: str,
    folder: Path,
    options: AdviceOptions,
    report: Report,
) -> list[LossPoint]:
    """Trains small models of every body, size and budget, unless they are there; a point of each."""
    tokenizers = tokenizers_of_sizes(
        base, texts, SMALL_SIZES, folder, temperature=options.temperature, report=report
    )
    points = []
    for body in BODIES:
        for tokenizer in tokenizers:
            rows = rows_of(tokenizer)
            for flops in SMALL_FLOPS:
                wanted = SmallRun(tokenizer, rows, options.small_flops * flops, SMALL_RATE, seed=0)
                place = folder / f"small-{body.hidden}-{rows}-{wanted.flops:.3g}"
                found = measured_run(body, wanted, corpus, {"held-out": held_out}, place)
                losses = found["evaluation"]["losses"]
                rates = [loss["scores"]["bits_per_byte"]["value"] for loss in losses]
                bits = sum(rates) / len(rates)
                points.append(LossPoint(body.parameters(), rows * body.hidden, found["bytes_of_text"], bits))
                report(
                    f"small model, width {body.hidden}, {rows:,} rows, {wanted.flops:.2g} FLOPs: {bits:.3f} bits per byte"
                )
    return points


def _size(
    request: Request,
    rows: int,
    rates: Mapping[str, float],
    options: AdviceOptions,
    law: LossLaw | None,
    report: Report,
) -> dict[str, Any]:
    """A size's costs per byte, and bits per byte after the text that is asked for."""
    shape = dataclasses.replace(request.shape, vocabulary=rows)
    rate = mean_rate(rates)
    flops = model_flops(shape, request.setting) / request.setting.tokens
    seconds: dict[str, float | None] = {}
    for way, split in (("with_passes", True), ("without", False)):
        try:
            seconds[way] = rate / planned_size(request, rows, split=split).tokens_per_second
        except ConfigError as error:
            report(str(error))
            seconds[way] = None
    point = LossPoint(shape.layers * shape.layer_parameters, shape.vocabulary_parameters, options.text)
    report(f"{rows:,} rows: {rate:.4f} tokens and {flops * rate / 1e9:.2f} GFLOPs a byte")
    return {
        "rows": rows,
        "tokens_per_byte": dict(rates),
        "mean_tokens_per_byte": rate,
        "flops_per_byte": flops * rate,
        "seconds_per_byte": seconds,
        "bits": None if law is None else law.bits(point),
        "interval": None if law is None else list(law.interval(point)),
    }


def _judge(
    rows: list[dict[str, Any]], request: Request, options: AdviceOptions, law: LossLaw | None
) -> float | None:
    """Adds to each size what it costs to reach the target; returns the target. Without a law every size needs the same text.

    The cost is in seconds of all devices by the faster way, or in FLOPs where no way fits.
    """
    target = None
    if law is not None:
        target = options.target if options.target is not None else rows[len(rows) // 2]["bits"]
    timed = all(_fastest(row) is not None for row in rows)
    for row in rows:
        row["text"] = options.text
        if law is not None and target is not None:
            shape = dataclasses.replace(request.shape, vocabulary=row["rows"])
            body = shape.layers * shape.layer_parameters
            row["text"] = law.text_for(target, body, shape.vocabulary_parameters)
        each = _fastest(row) if timed else row["flops_per_byte"]
        row["cost"] = row["text"] * each
        row["unit"] = "seconds" if timed else "FLOPs"
    return target


def _fastest(row: Mapping[str, Any]) -> float | None:
    known = [value for value in row["seconds_per_byte"].values() if value is not None]
    return min(known, default=None)


def advice_lines(result: Mapping[str, Any]) -> list[str]:
    """The advice as text, a line a fact."""
    lines = [
        f"{result['model']}, {result['devices']} x {result['hardware']}: bytes of each language count alike, held-out text"
    ]
    for row in result["sizes"]:
        seconds = row["seconds_per_byte"]
        times = ", ".join(
            f"{1e9 * value:.2f} s a GB {'with' if way == 'with_passes' else 'without'} vocabulary passes"
            for way, value in seconds.items()
            if value is not None
        )
        bits = ""
        if row["bits"] is not None:
            low, high = row["interval"]
            bits = f"; {row['bits']:.3f} bits per byte predicted ({low:.3f} to {high:.3f})"
        lines.append(f"{row['rows']:9,} rows: {row['mean_tokens_per_byte']:.4f} tokens a byte, {times}{bits}")
    published = ", ".join(f"{name}: {size:,.0f}" for name, size in result["published"].items())
    lines.append(
        f"published estimates for a body of {result['body_parameters'] / 1e9:.2f}B (arXiv 2407.13623): {published}"
    )
    flat = ", ".join(f"{rows:,}" for rows in result["flat"])
    goal = "the same text" if result["target"] is None else f"{result['target']:.3f} bits per byte"
    lines.append(f"cheapest for {goal}: {result['cheapest']:,} rows; within {FLAT:.0%} of it: {flat}")
    if result["short"]:
        lines.append(
            f"the text has too few pairs that occur twice for {result['short']:,} tokens: give more text to judge sizes above "
            f"{result['sizes'][-1]['rows']:,}"
        )
    return lines
