"""`pinisi bench vocabulary-size`: trains small models of one body with 8k, 16k and 152k rows on equal floating-point operations.

Demands: in each seed a model with 8,192 or 16,384 rows has fewer bits per byte of held-out text than the one with all rows of the
base tokenizer, as a mean over languages, with an interval that excludes zero (95 %, documents drawn again within each language).
Control: the large vocabulary once more from another seed must not win so in each seed. Beside it stands the best small vocabulary
on a hundredth of the operations, which shows how far the large one is. Learning rates were chosen on seed 7 for each size by itself
(`--tune`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.bench import processes
from pinisi.cookbook.small_runs import SmallBody, SmallRun, measured_run, rows_of
from pinisi.cookbook.vocabulary import texts_of, tokenizers_of_sizes
from pinisi.data.sample.corpus import fetch

SIZES = (8_192, 16_384)
SEEDS = (0, 1, 2)
TUNED_ON = 7
RATES = (3e-3, 1e-2, 3e-2)  # that --tune tries
# What --tune found: rows of the vocabulary, rounded to thousands: learning rate.
CHOSEN = {8: 1e-2, 16: 3e-3, 152: 1e-2}
SHARE = 0.01  # of the operations, of the row beside
ANOTHER = 100  # added to a seed for the control
NOT_JUDGED, CONTROL = f"{SHARE:g} of the operations", "control, another seed"
DRAWS = 2_000


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(list(arguments))
    study = prepared(options)
    if options.tune:
        tune(study)
        return 0
    rows = [row for seed in SEEDS for row in of_seed(study, seed)]
    faults = faults_of(rows)
    processes.write_json(options.json, {"flops": study.flops, "body": vars(study.body), "rows": rows})
    print("\n".join(faults) if faults else "all floors hold")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinisi bench vocabulary-size", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--corpus", help="a folder of `pinisi corpus fetch`; fetched if left out")
    parser.add_argument("--held-out", help="a folder of <language>.jsonl; the corpus's own eval if left out")
    parser.add_argument("--flops", type=float, default=1.5e12, help="of each training; default %(default)g")
    parser.add_argument(
        "--folder",
        default="runs/vocabulary-size",
        help="where trainings stay, to go on with; default %(default)s",
    )
    parser.add_argument("--tune", action="store_true", help=f"try learning rates on seed {TUNED_ON} instead")
    parser.add_argument("--json", help="write the result to this file")
    return parser


@dataclass(frozen=True)
class SizeStudy:
    """What is trained on and judged by. tokenizers: by their rows, the base's last."""

    folder: Path
    text: Path
    held_out: dict[str, str]
    tokenizers: dict[int, Path]
    flops: float
    body: SmallBody = field(default_factory=SmallBody)


def prepared(options: argparse.Namespace) -> SizeStudy:
    """Fetches text where none is given, and trains the small tokenizers on it, unless they are there."""
    folder = Path(options.folder)
    corpus = Path(options.corpus or folder / "corpus")
    if not options.corpus:
        fetch(corpus, small=True)
    text, base = corpus / "text", corpus / "tokenizer"
    tokenizers = {rows_of(out): out for out in tokenizers_of_sizes(base, texts_of(text), SIZES, folder)}
    tokenizers[rows_of(base)] = base
    held_out = options.held_out or str(text / "eval")
    return SizeStudy(folder, text, {"held-out": held_out}, tokenizers, options.flops)


def _run(study: SizeStudy, rows: int, seed: int, rate: float, share: float = 1.0) -> dict[str, Any]:
    wanted = SmallRun(study.tokenizers[rows], rows, share * study.flops, rate, seed)
    name = f"rows-{rows}-seed-{seed}-rate-{rate:g}-flops-{wanted.flops:.3g}"
    return measured_run(study.body, wanted, study.text, study.held_out, study.folder / name)


def tune(study: SizeStudy) -> None:
    """Prints the bits per byte of each learning rate on the tuning seed."""
    for rows in study.tokenizers:
        for rate in RATES:
            found = _run(study, rows, TUNED_ON, rate)
            print(f"{rows:7,} rows, learning rate {rate:g}: {mean_bits(found):.4f} bits per byte", flush=True)


def of_seed(study: SizeStudy, seed: int) -> list[dict[str, Any]]:
    """Trains every size, and the control, from one seed; a row each, with its difference from the large vocabulary."""
    rates = {rows: CHOSEN[min(CHOSEN, key=lambda k: abs(1000 * k - rows))] for rows in study.tokenizers}
    found = {rows: _run(study, rows, seed, rates[rows]) for rows in study.tokenizers}
    large = max(found)
    best = min((rows for rows in found if rows != large), key=lambda rows: mean_bits(found[rows]))
    little = _run(study, best, seed, rates[best], SHARE)
    control = _run(study, large, seed + ANOTHER, rates[large])
    table = [_row(rows, seed, result, found[large], "") for rows, result in found.items()]
    table.append(_row(best, seed, little, found[large], NOT_JUDGED))
    table.append(_row(large, seed, control, found[large], CONTROL))
    return table


def _row(
    rows: int, seed: int, result: Mapping[str, Any], large: Mapping[str, Any], note: str
) -> dict[str, Any]:
    low, high = difference_interval(large, result, seed)
    row = {
        "rows": rows,
        "seed": seed,
        "note": note,
        "bits_per_byte": mean_bits(result),
        "difference": mean_bits(result) - mean_bits(large),
        "low": low,
        "high": high,
        "tokens": result["tokens"],
        "steps": result["steps"],
        "seconds": result["seconds"],
        "learning_rate": result["asked"]["learning_rate"],
        "languages": {name: float(n.sum() / b.sum()) for name, (n, b) in sums_of(result).items()},
    }
    print(
        f"seed {seed}, {rows:7,} rows: {row['bits_per_byte']:.4f} bits per byte ({row['difference']:+.4f}, {low:+.4f} to "
        f"{high:+.4f}), {row['tokens']:,} tokens, {row['seconds'] / 60:.1f} minutes {note}",
        flush=True,
    )
    return row


def sums_of(result: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{language: (bits, bytes) of each document}."""
    found = {}
    for loss in result["evaluation"]["losses"]:
        values = np.asarray(loss["samples"]["measures"]["bits_per_byte"]["values"], dtype=np.float64)
        found[loss["language"]] = (values[:, 0], values[:, 1])
    return found


def mean_bits(result: Mapping[str, Any]) -> float:
    """Bits per byte, a mean over languages."""
    return float(np.mean([bits.sum() / size.sum() for bits, size in sums_of(result).values()]))


def difference_interval(
    large: Mapping[str, Any], small: Mapping[str, Any], seed: int, draws: int = DRAWS
) -> tuple[float, float]:
    """95 % interval of small's mean bits per byte less large's: documents are drawn again, the same for both, in each language."""
    generator = np.random.default_rng(seed)
    a, b = sums_of(large), sums_of(small)
    total = np.zeros(draws)
    for language in sorted(a):
        count = len(a[language][0])
        drawn = generator.integers(0, count, (draws, count))
        rates = [bits[drawn].sum(1) / size[drawn].sum(1) for bits, size in (a[language], b[language])]
        total += (rates[1] - rates[0]) / len(a)
    low, high = np.quantile(total, [0.025, 0.975])
    return float(low), float(high)


def faults_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each seed in which no small vocabulary wins, or in which the control does."""
    faults = []
    large = max(row["rows"] for row in rows)
    for seed in sorted({row["seed"] for row in rows}):
        mine = [row for row in rows if row["seed"] == seed]
        if not any(row["high"] < 0 for row in mine if row["rows"] != large and not row["note"]):
            faults.append(f"seed {seed}: no small vocabulary has fewer bits per byte, beyond its interval")
    if all(row["high"] < 0 for row in rows if row["note"] == CONTROL):
        faults.append("the control, the large vocabulary from another seed, wins in every seed, too")
    return faults
