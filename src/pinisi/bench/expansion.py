"""Expands small trained models of every architecture, trains them on, and looks whether anything was hurt.

Demands, written down before anything was measured, for each architecture and seed, from 2 layers to 4:
- [C] logits are the same bits before the first step, in transformers and on two ranks;
- [C] each new layer's gradient is above 0 then, and at most 2 times the old layers' mean;
- [C] after 50 steps log-probabilities change where any one new layer is silenced;
- [C] the loss of held-out text is never more than .05 nats a token above that before the first step, in the first 20 steps;
- [C] plain copies, the control, begin more than .05 above it.
Measured besides [T]: bits per byte of held-out text of a qwen2 that is expanded and trained on, less those of one that is trained
on as it is, on equal numbers of operations.

Models first learn mostly English, then four languages alike. Steps and rates were chosen on seed 7.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.base.files import write_whole
from pinisi.bench import processes
from pinisi.bench.expansion_runs import (
    CHOSEN,
    FIRST,
    bits_per_byte,
    flops_a_step,
    log_probs_at,
    looked_at,
    run_config,
    same_logits,
    small_config,
)
from pinisi.cookbook.expand import ExpandOptions, expand_model
from pinisi.cookbook.small_runs import rows_of
from pinisi.cookbook.vocabulary import texts_of, tokenizers_of_sizes
from pinisi.data import tokenize
from pinisi.data.sample.corpus import fetch
from pinisi.models import ARCHITECTURES, new_layers, read_spec
from pinisi.train.export import export

SEEDS = (0, 1, 2)
LAYERS = 4  # from 2
STEPS = 50
MOST_GRADIENT = 2.0  # of a new layer's, in means of the old ones'
MOST_ABOVE = 0.05  # nats a token
COMPARED = "qwen2"  # the architecture that is also trained on without expansion
COMPARED_STEPS = 100
LANGUAGES = ("en", "id", "vi", "th")
VOCABULARY = 512


class GrowthStudy(NamedTuple):
    """Holds what all runs share."""

    folder: Path
    tokenizer: Path
    shards: Path


def prepared(folder: Path, corpus: Path | None) -> GrowthStudy:
    """Makes the small tokenizer and the shards, unless they are there; fetches text where none is given."""
    if corpus is None:
        corpus = folder / "corpus"
        fetch(corpus, small=True)
    texts = texts_of(corpus / "text", LANGUAGES)
    (tokenizer,) = tokenizers_of_sizes(
        corpus / "tokenizer", texts, [VOCABULARY], folder, report=lambda line: None
    )
    text = folder / "text"
    for language in LANGUAGES:
        if not (text / f"{language}.jsonl").is_file():
            lines = (json.dumps({"text": each}, ensure_ascii=False) for each in texts[language]())
            write_whole(text / f"{language}.jsonl", "\n".join(lines) + "\n")
    tokenize(text, tokenizer, folder / "shards", report=lambda line: None, held_out=0.1)
    return GrowthStudy(folder, tokenizer, folder / "shards")


def base_model(study: GrowthStudy, name: str, seed: int) -> tuple[Path, np.ndarray]:
    """Trains a model of two layers; returns its folder, and its log-probabilities of the held-out text."""
    folder = study.folder / f"{name}-{seed}"
    model = {"config": small_config(name, rows_of(study.tokenizer)), "tokenizer": str(study.tokenizer)}
    config = run_config(
        folder / "base", study.shards, model, seed=seed, steps=CHOSEN["first_steps"], first=True
    )
    looked_at(config)
    if not (folder / "model").is_dir():
        export(folder / "base", folder / "model", report=lambda line: None)
    return folder / "model", log_probs_at(config, CHOSEN["first_steps"])


def measured(study: GrowthStudy, name: str, seed: int) -> dict[str, Any]:
    """Measures one architecture and seed; what was done stays in the study's folder."""
    began = time.perf_counter()
    model, before = base_model(study, name, seed)
    folder = model.parent
    if not (folder / "expanded").is_dir():
        expand_model(model, folder / "expanded", ExpandOptions(LAYERS), report=lambda line: None)
    config = run_config(
        folder / "run",
        study.shards,
        {"source": str(folder / "expanded")},
        seed=seed,
        steps=STEPS,
        first=False,
        every=1,
    )
    looks = looked_at(config)
    new, gradients = new_layers(read_spec(folder / "expanded")), looks[0]["gradients"]
    old = [norm for layer, norm in enumerate(gradients) if layer not in new]
    losses = [look["loss"] for look in looks if look["step"] <= FIRST]
    return {
        "architecture": name,
        "seed": seed,
        "same_logits": same_logits(model, folder / "expanded", seed),
        "same_log_probs": bool(np.array_equal(before, log_probs_at(config, 0))),
        "gradients": [gradients[layer] / (sum(old) / len(old)) for layer in new],
        "changes": list(looks[-1]["changes"].values()),
        "loss": losses[0],
        "most_above": max(losses[1:]) - losses[0],
        "loss_after": looks[-1]["loss"],
        "plain_above": looks[0]["plain"] - losses[0],
        "looks": len(losses) - 1,
        "seconds": time.perf_counter() - began,
    }


def compared(study: GrowthStudy, seed: int) -> dict[str, Any]:
    """Trains the expanded model on, and the one that it was made of, for as many operations."""
    began = time.perf_counter()
    model, _ = base_model(study, COMPARED, seed)
    sources = {"expanded": model.parent / "expanded", "unexpanded": model}
    budget = COMPARED_STEPS * flops_a_step(read_spec(sources["expanded"]))
    row: dict[str, Any] = {"seed": seed, "flops": budget}
    for name, source in sources.items():
        steps = round(budget / flops_a_step(read_spec(source)))
        config = run_config(
            model.parent / f"compared-{name}",
            study.shards,
            {"source": str(source)},
            seed=seed,
            steps=steps,
            first=False,
        )
        looks = looked_at(config)
        row[name] = {"steps": steps, "bits_per_byte": bits_per_byte(looks[-1]["evaluation"])}
    row["difference"] = row["expanded"]["bits_per_byte"] - row["unexpanded"]["bits_per_byte"]
    row["seconds"] = time.perf_counter() - began
    return row


def faults_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what falls short of a demand."""
    found = []
    for row in rows:
        where = f"[C] {row['architecture']}, seed {row['seed']}:"
        if not (row["same_logits"] and row["same_log_probs"]):
            found.append(f"{where} logits differ before the first step")
        if not all(0 < share <= MOST_GRADIENT for share in row["gradients"]):
            found.append(f"{where} new layers' gradients are {row['gradients']} of the old ones'")
        if len(row["changes"]) != len(row["gradients"]) or not all(change > 0 for change in row["changes"]):
            found.append(f"{where} a new layer changes nothing after {STEPS} steps: {row['changes']}")
        if row["looks"] != FIRST or not row["most_above"] <= MOST_ABOVE:
            found.append(f"{where} the loss rises by {row['most_above']:.3f} in the first {FIRST} steps")
        if not row["plain_above"] > MOST_ABOVE:
            found.append(
                f"{where} plain copies rise by {row['plain_above']:.3f} alone: the control doesn't jump"
            )
    return found


def line_of(row: dict[str, Any]) -> str:
    """Says what one architecture and seed came to."""
    shares = " ".join(f"{share:.2f}" for share in row["gradients"])
    changes = " ".join(f"{change:.3f}" for change in row["changes"])
    same = "same bits" if row["same_logits"] and row["same_log_probs"] else "OTHER BITS"
    return (
        f"{row['architecture']:12} seed {row['seed']}  {same}  gradients {shares}  changes {changes}  loss {row['loss']:.3f} "
        f"{row['most_above']:+.3f} at most, {row['loss_after']:.3f} after {STEPS}  plain {row['plain_above']:+.3f}  "
        f"{row['seconds']:.0f} s"
    )


def compared_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Says what expansion gained on equal operations."""
    for row in rows:
        one, other = row["expanded"], row["unexpanded"]
        yield (
            f"[T] {COMPARED} seed {row['seed']}  expanded {one['bits_per_byte']:.4f} bits per byte ({one['steps']} steps), "
            f"unexpanded {other['bits_per_byte']:.4f} ({other['steps']} steps), {row['difference']:+.4f}"
        )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench expansion", description=__doc__.split("\n\n")[0])
    parser.add_argument("--corpus", help="a folder of `pinisi corpus fetch`; fetched if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--architectures", nargs="+", choices=list(ARCHITECTURES), default=list(ARCHITECTURES)
    )
    parser.add_argument("--folder", default="runs/expansion", help="where trainings stay, to go on with")
    parser.add_argument("--json", help="write what was found to this file")
    options = parser.parse_args(list(arguments))
    study = prepared(Path(options.folder), Path(options.corpus) if options.corpus else None)
    rows = []
    for seed in options.seeds:
        for name in options.architectures:
            rows.append(measured(study, name, seed))
            print(line_of(rows[-1]), flush=True)
    against = [compared(study, seed) for seed in options.seeds if COMPARED in options.architectures]
    print("\n".join(compared_lines(against)))
    wrong = faults_of(rows)
    print("\n".join(f"FALLS SHORT: {fault}" for fault in wrong) or "all demands hold")
    found = {"setting": CHOSEN, "rows": rows, "compared": against, "faults": wrong}
    processes.write_json(options.json, found)
    return 1 if wrong else 0
