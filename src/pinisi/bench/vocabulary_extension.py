"""Extends a vocabulary for Burmese, Khmer and Lao and trains on with it, beside the same model without, at equal FLOPs.

Demands, written down before anything was measured:
- [C] every held-out document is decoded exactly, and its new tokens, written as the old ones that they stand for, are the old
  encoding;
- [F] Qwen3's tokenizer with 12,000 tokens more needs at most 45 % of its tokens on held-out my, km and lo, each;
- [F] in each seed a small model that is trained on with the extension has fewer bits per byte of my, km and lo, each, than one
  that is trained on without it for as many FLOPs: the paired interval of the difference excludes zero;
- [F] in each seed its bits per byte of English differ by less than 1 % from those without;
- [F] in each seed random first rows have more bits per byte over my, km and lo than the best of the other rules: the control.

The small model's vocabulary is Qwen3's, trimmed to the text that it is trained on. It first learns mostly English, as models do.
Then two fifths of the tokens are English, and the others share what is left. The extended one trains its new rows alone at first;
then, when all learns, it sees as many tokens of English as the other. FLOPs are those of matrix products, the head included, so it
takes fewer steps.
Held out are articles 25 to 30 of the Declaration of Human Rights, documents that a hash draws, and what --held-out adds for the
tokenizer. Sizes and rates were chosen on seed 7.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import new_folder, write_whole
from pinisi.bench.extension_model import MOST, SPARE, continued, document_bits, first_model, flops_a_step
from pinisi.cookbook.vocabulary import ExtendOptions, texts_of, write_extended
from pinisi.data.vocabulary.bpe_file import read_bpe, write_bpe
from pinisi.data.vocabulary.compare import compare
from pinisi.data.vocabulary.extend import Extension, extend, in_old_ids
from pinisi.data.vocabulary.trim import trim
from pinisi.data.vocabulary.words import Texts
from pinisi.evaluate.statistics import paired_difference
from pinisi.models import read_spec
from pinisi.models.surgery.start_rows import STARTS, Start

WANTED = ("km", "lo", "my")
LANGUAGES = ("en", *WANTED)
SEEDS = (0, 1, 2)
SHARE, ENGLISH = 0.45, 0.01  # of the tokens before; of the bits per byte of English
QWEN_TOKENS, TEMPERATURE = 12_000, 1.5  # added to Qwen3's tokenizer
TOKENS = 600  # added to the small model's
CHARACTERS = {"en": 200_000, "km": 250_000, "my": 200_000, "lo": 30_000}  # that the small model is trained on
HELD_OUT, DOCUMENTS, LONGEST = (
    0.1,
    60,
    600,
)  # share of documents, how many of them are judged, and how much of each


class Split(NamedTuple):
    """Texts by language: train, of which models learn, and held_out, by which they are judged."""

    train: dict[str, list[str]]
    held_out: dict[str, list[str]]


def split_of(corpus: Path) -> Split:
    """Draws by a hash of each document's text on which side it is; the corpus' own `eval` is held out."""
    train: dict[str, list[str]] = {}
    held: dict[str, list[str]] = {}
    limit = HELD_OUT * 2**64
    for language, reading in texts_of(corpus / "text", LANGUAGES).items():
        train[language], held[language] = [], []
        room = CHARACTERS[language]
        for text in reading():
            if digests.of_text(text) < limit:
                if len(held[language]) < DOCUMENTS:
                    held[language].append(text[:LONGEST])
            elif room > 0:
                train[language].append(text[:room])
                room -= len(text)
    for language, reading in texts_of(corpus / "text" / "eval", LANGUAGES).items():
        held[language] += list(reading())
    return Split(train, held)


def as_texts(texts: dict[str, list[str]]) -> Texts:
    return {language: (lambda each=each: iter(each)) for language, each in texts.items()}  # type: ignore[misc]


# -- the tokenizer ---------------------------------------------------------------------------------------------------------


def judge_tokenizer(corpus: Path, held_out: Path | None, work: Path) -> dict[str, Any]:
    """Tokens after / before on held-out text, by language and place, and what isn't as it should be."""
    file = work / "tokenizer.json"
    if file.is_file():
        return dict(json.loads(file.read_text("utf-8")))
    old = read_bpe(corpus / "tokenizer")
    began = time.perf_counter()
    extension = extend(
        old, texts_of(corpus / "text", WANTED), QWEN_TOKENS, rows=151_936, temperature=TEMPERATURE
    )
    seconds = time.perf_counter() - began
    with new_folder(work / "qwen3-extended") as folder:
        write_bpe(extension.tokenizer, folder)
    rows, faults = [], []
    for place in (corpus / "text" / "eval", *([held_out] if held_out else [])):
        texts = texts_of(place)
        chosen = {language: texts[language] for language in texts if language in LANGUAGES}
        for language, found in compare(old.folder, work / "qwen3-extended", chosen).items():
            rows.append({"text": place.name, "language": language, **vars_of(found), "share": found.share})
            if found.wrong:
                faults.append(f"[C] {found.wrong} documents of {place.name}/{language} are decoded otherwise")
        faults += other_tokens(old.folder, work / "qwen3-extended", extension, chosen)
    result = {"tokens": len(extension.pieces), "seconds": seconds, "rows": rows, "faults": faults}
    write_whole(file, json.dumps(result) + "\n")
    return result


def vars_of(found: Any) -> dict[str, int]:
    return {key: getattr(found, key) for key in ("documents", "bytes", "before", "after", "wrong")}


def other_tokens(old: Path, new: Path, extension: Extension, texts: Texts) -> list[str]:
    """Says which languages have documents whose new tokens aren't made of the old encoding."""
    from tokenizers import Tokenizer

    one, two = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (old, new))
    found = []
    for language in texts:
        wrong = sum(
            one.encode(text, add_special_tokens=False).ids
            != in_old_ids(extension, two.encode(text, add_special_tokens=False).ids)
            for text in texts[language]()
        )
        if wrong:
            found.append(f"[C] {wrong} documents of {language} are made of other old tokens than before")
    return found


# -- the model -------------------------------------------------------------------------------------------------------------


class Small(NamedTuple):
    """What all seeds share: the trimmed tokenizer, its extension, and text."""

    tokenizer: Path
    extension: Extension
    split: Split


def small_vocabulary(corpus: Path, work: Path) -> Small:
    """Trims the tokenizer to the text of the small models, and extends that."""
    split, tokenizer = split_of(corpus), work / "trimmed"
    if not tokenizer.is_dir():
        trimmed = trim(read_bpe(corpus / "tokenizer"), as_texts(split.train), report=lambda line: None)
        with new_folder(tokenizer) as new:
            write_bpe(trimmed.tokenizer, new)
    texts = as_texts({language: split.train[language] for language in WANTED})
    old = read_bpe(tokenizer)
    extension = extend(
        old, texts, TOKENS, rows=old.size + SPARE, temperature=TEMPERATURE, report=lambda line: None
    )
    return Small(tokenizer, extension, split)


def measure_seed(seed: int, small: Small, work: Path, rules: Sequence[Start] = STARTS) -> dict[str, Any]:
    """Trains one model, then goes on with it without the extension and with each rule of first rows; what was done stays."""
    split = small.split
    folder = work / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    file, began = folder / "first.json", time.perf_counter()
    model = first_model(folder / "first", small.tokenizer, split.train, seed)
    if not file.is_file():
        write_whole(file, json.dumps(time.perf_counter() - began) + "\n")
    spec = read_spec(model)
    budget = MOST["steps"] * flops_a_step(spec)
    bits, took = {}, {}
    bits["without"], took["without"] = arm(folder / "without", model, split, seed, budget)
    for rule in rules:
        extended = folder / f"extended-{rule}"
        if not (extended / "config.json").is_file():
            texts = as_texts({language: split.train[language] for language in WANTED})
            options = ExtendOptions(TOKENS, TEMPERATURE, rule, seed)
            write_extended(
                spec, read_bpe(small.tokenizer), small.extension, texts, extended, options, lambda line: None
            )
        bits[rule], took[rule] = arm(folder / rule, extended, split, seed, budget)
    seconds = float(file.read_text("utf-8")) + sum(each["seconds"] for each in took.values())
    return {"seed": seed, "took": took, **compared(bits), "seconds": seconds}


def arm(run: Path, model: Path, split: Split, seed: int, budget: float) -> tuple[Any, dict[str, float]]:
    """Trains a model on; returns the bits of each held-out document, and what the training took."""
    file = run.parent / f"{run.name}.json"
    if not file.is_file():
        began = time.perf_counter()
        trained, took = continued(run, model, split.train, seed, budget)
        bits = document_bits(trained, split.held_out)
        write_whole(file, json.dumps([bits, took | {"seconds": time.perf_counter() - began}]) + "\n")
    bits, took = json.loads(file.read_text("utf-8"))
    return bits, took


def compared(bits: dict[str, Any]) -> dict[str, Any]:
    """Bits per byte by arm and language, the best rule, and its difference to training without the extension."""
    table = {
        name: {language: _rate(found[language]) for language in LANGUAGES} for name, found in bits.items()
    }
    sums = {name: sum(table[name][language] for language in WANTED) for name in bits if name != "without"}
    best = min((name for name in sums if name != "random"), key=lambda name: sums[name])
    differences = {}
    for language in LANGUAGES:
        one, two = (np.array(bits[name][language], np.float64) for name in ("without", best))
        found = paired_difference(one, two, lambda sums: sums[:, 0] / sums[:, 1])
        differences[language] = {"difference": found.difference, "low": found.low, "high": found.high}
    return {"bits_per_byte": table, "best": best, "sums": sums, "differences": differences}


def _rate(pairs: Sequence[Sequence[float]]) -> float:
    return sum(bits for bits, _ in pairs) / sum(size for _, size in pairs)


def faults_of(tokenizer: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """What falls short of a demand."""
    found = list(tokenizer["faults"])
    for row in tokenizer["rows"]:
        if row["language"] in WANTED and not row["share"] <= SHARE:
            found.append(f"[F] {row['language']} of {row['text']}: {row['share']:.1%} of the tokens before")
    for row in rows:
        where, table = f"seed {row['seed']}", row["bits_per_byte"]
        for language in WANTED:
            high = row["differences"][language]["high"]
            if not high < 0:
                found.append(
                    f"[F] {where}: {language} isn't surely lower with the extension (to {high:+.3f})"
                )
        change = table[row["best"]]["en"] / table["without"]["en"] - 1
        if not abs(change) < ENGLISH:
            found.append(f"[F] {where}: English changes by {change:+.2%}")
        if not row["sums"]["random"] > row["sums"][row["best"]]:
            found.append(f"[F] {where}: random rows are no worse than {row['best']}")
    return found


def lines_of(tokenizer: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What was found, as lines of text."""
    yield f"Qwen3's tokenizer with {tokenizer['tokens']:,} tokens more, of its tokens before on held-out text:"
    for row in tokenizer["rows"]:
        yield f"  {row['text']:8} {row['language']}: {row['before']:8,} become {row['after']:8,}, {row['share']:.1%}"
    yield "bits per byte of held-out text, a small model trained on for as many FLOPs:"
    for row in rows:
        for name, of in row["bits_per_byte"].items():
            mark = "  <- best rule" if name == row["best"] else ""
            yield f"  seed {row['seed']}  {name:10} {'  '.join(f'{each} {of[each]:.3f}' for each in LANGUAGES)}{mark}"
        intervals = (
            f"{each} {of['difference']:+.3f} [{of['low']:+.3f}, {of['high']:+.3f}]"
            for each, of in row["differences"].items()
        )
        yield f"  seed {row['seed']}  best - without: {', '.join(intervals)}; {row['seconds']:.0f} s"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="pinisi bench vocabulary-extension", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="FOLDER",
        help="text and tokenizer, as of `pinisi corpus fetch FOLDER`",
    )
    parser.add_argument("--held-out", metavar="FOLDER", help="more text to judge the tokenizer by")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--rules", nargs="+", choices=STARTS, default=list(STARTS), help="of first rows")
    parser.add_argument("--work", default="bench-vocabulary-extension", help="what was done stays here")
    parser.add_argument("--json", help="write what was found to this file")
    options = parser.parse_args(list(arguments))
    corpus, work = Path(options.corpus), Path(options.work)
    for path in (
        corpus / "tokenizer" / "tokenizer.json",
        *(corpus / "text" / f"{each}.jsonl" for each in LANGUAGES),
    ):
        if not path.is_file():
            raise DataError(f"{path} is missing: make it with `pinisi corpus fetch {corpus}`")
    work.mkdir(parents=True, exist_ok=True)
    if not {"random"} < set(options.rules):
        raise DataError(
            f"--rules {' '.join(options.rules)}: give random, the control, and at least one other"
        )
    tokenizer = judge_tokenizer(corpus, Path(options.held_out) if options.held_out else None, work)
    small = small_vocabulary(corpus, work)
    rows = [measure_seed(seed, small, work, options.rules) for seed in options.seeds]
    wrong = faults_of(tokenizer, rows)
    print("\n".join(lines_of(tokenizer, rows)))
    print("\n".join(f"FALLS SHORT: {fault}" for fault in wrong) or "all demands hold")
    if options.json:
        found = {"tokenizer": tokenizer, "setting": MOST, "rows": rows, "faults": wrong}
        write_whole(options.json, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 1 if wrong else 0
