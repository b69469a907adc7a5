"""`pinisi bench vocabulary-advice`: compares the vocabulary that small trainings predict to be best with five trained ones.

The law of `pinisi vocabulary advise` is fitted to its own small trainings, and predicts the bits per byte of a body with five
sizes of vocabulary on more operations than any of them had. Then the five are trained. Target, written down before: the size
that is predicted to be best has at most 1 % more bits per byte than the one that is.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pinisi.bench import processes
from pinisi.bench.vocabulary_size import mean_bits
from pinisi.cookbook.loss_law import LossLaw, LossPoint, fit_loss_law
from pinisi.cookbook.small_runs import SmallBody, SmallRun, measured_run, rows_of
from pinisi.cookbook.vocabulary import texts_of, tokenizers_of_sizes
from pinisi.cookbook.vocabulary_advice import SMALL_RATE, AdviceOptions, small_trainings
from pinisi.data.sample.corpus import fetch

SIZES = (2_048, 4_096, 8_192, 16_384, 32_768)
BODY = SmallBody(hidden=96, layers=6, ffn=288)
FLOPS = 6e11  # of each of the five; the law's have at most half of it
TOLERANCE = 0.01  # of bits per byte
SEEDS = (0, 1, 2)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="pinisi bench vocabulary-advice", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--corpus", help="a folder of `pinisi corpus fetch`; fetched if left out")
    parser.add_argument(
        "--folder", default="runs/vocabulary-advice", help="where trainings stay; default %(default)s"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="of the five trainings")
    parser.add_argument("--json", help="write the result to this file")
    options = parser.parse_args(list(arguments))
    folder = Path(options.folder)
    corpus = Path(options.corpus or folder / "corpus")
    if not options.corpus:
        fetch(corpus, small=True)
    law = _law(corpus, folder)
    rows = [row for seed in options.seeds for row in trained(corpus, folder, law, seed)]
    wrong = [line for seed in options.seeds for line in judged(rows, seed)]
    processes.write_json(
        options.json, {"flops": FLOPS, "body": vars(BODY), "error": law.error, "rows": rows, "short": wrong}
    )
    return 1 if wrong else 0


def _law(corpus: Path, folder: Path) -> LossLaw:
    text, held_out = corpus / "text", str(corpus / "text" / "eval")
    points = small_trainings(
        corpus / "tokenizer",
        text,
        texts_of(text),
        held_out,
        folder,
        AdviceOptions(),
        lambda line: print(line, flush=True),
    )
    return fit_loss_law(points)


def trained(corpus: Path, folder: Path, law: LossLaw, seed: int) -> list[dict[str, Any]]:
    """Trains the body with every size of vocabulary; a row each, with what the law predicted."""
    text, found = corpus / "text", []
    for tokenizer in tokenizers_of_sizes(corpus / "tokenizer", texts_of(text), SIZES, folder):
        rows = rows_of(tokenizer)
        wanted = SmallRun(tokenizer, rows, FLOPS, SMALL_RATE, seed)
        result = measured_run(
            BODY, wanted, text, {"held-out": str(text / "eval")}, folder / f"large-{rows}-{seed}"
        )
        point = LossPoint(BODY.parameters(), rows * BODY.hidden, result["bytes_of_text"])
        low, high = law.interval(point)
        row = {
            "seed": seed,
            "rows": rows,
            "predicted": law.bits(point),
            "low": low,
            "high": high,
            "bits": mean_bits(result),
        }
        print(
            f"seed {seed}, {rows:6,} rows: {row['predicted']:.3f} bits per byte predicted ({low:.3f} to {high:.3f}), "
            f"{row['bits']:.3f} trained",
            flush=True,
        )
        found.append(row)
    return found


def judged(rows: Sequence[Mapping[str, Any]], seed: int) -> list[str]:
    """Prints which size was predicted and which is best; returns what falls short of the target."""
    mine = [row for row in rows if row["seed"] == seed]
    guess, best = min(mine, key=lambda row: row["predicted"]), min(mine, key=lambda row: row["bits"])
    loss = guess["bits"] / best["bits"] - 1
    line = (
        f"seed {seed}: {guess['rows']:,} rows predicted, {best['rows']:,} best, {loss:.2%} more bits per byte"
    )
    print(line, flush=True)
    return [line] if loss > TOLERANCE else []
