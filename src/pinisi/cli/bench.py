"""`pinisi bench`: runs a benchmark by name."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

BENCHES = {
    "pipeline": ("pinisi.bench.pipeline", "throughput, memory and balance against torch's own 1F1B"),
    "emulated": (
        "pinisi.bench.emulated",
        "measured against simulated steps at p = 4, 8, 16, passes emulated",
    ),
    "heads": (
        "pinisi.bench.heads",
        "several heads at once: balance with the vocabulary split, passes emulated",
    ),
    "reference": ("pinisi.bench.reference", "predicted against measured iterations of a CSV of profiles"),
    "paper": ("pinisi.bench.paper", "predicted against published MFU and peak memory of a CSV of tables"),
    "ignored": ("pinisi.bench.ignored", "what the head costs when a share of the tokens has no target"),
    "evaluation": (
        "pinisi.bench.evaluation",
        "scores against lm-evaluation-harness and sacrebleu on local files; how often paired tests err",
    ),
    "contamination": (
        "pinisi.bench.contamination",
        "planted evaluation sentences that are found in a corpus",
    ),
    "vocabulary-extension": (
        "pinisi.bench.vocabulary_extension",
        "bits per byte of my, km, lo with an extended vocabulary and without, at equal FLOPs",
    ),
    "sft": (
        "pinisi.bench.sft",
        "small models fine-tuned on tasks with exact answers: formats and languages that they never saw",
    ),
    "preference": (
        "pinisi.bench.preference",
        "small models trained on pairs whose chosen answers are longer: length and accuracy by LR-DPO's alpha",
    ),
    "prompt-heavy": (
        "pinisi.bench.prompt_heavy",
        "fine-tuning on chats that are four fifths prompt, beside a head that sees every token, and beside TRL",
    ),
    "phases": (
        "pinisi.bench.phases",
        "two languages kept while thirteen others are learned, with their text again and without; the alarm",
    ),
    "packed": (
        "pinisi.bench.packed",
        "attention inside packed documents without dense masks: exactness, time, memory; balanced packing",
    ),
    "sharded": (
        "pinisi.bench.sharded",
        "an optimizer shared out over replicas: the same weights, bytes, kills, and steps on a limited link",
    ),
    "free-vocabulary": (
        "pinisi.bench.free_vocabulary",
        "what a larger vocabulary costs beyond its own arithmetic, by plan and by emulated passes",
    ),
    "vocabulary-size": (
        "pinisi.bench.vocabulary_size",
        "small models with small and large vocabularies on equal floating-point operations",
    ),
    "vocabulary-advice": (
        "pinisi.bench.vocabulary_advice",
        "the size of vocabulary that small trainings predict against the best of five trained ones",
    ),
    "expansion": (
        "pinisi.bench.expansion",
        "small models of every architecture with layers more: same logits, gradients, loss; equal operations",
    ),
    "vocabulary": ("pinisi.bench.vocabulary", "S and T of one shard against the matrix rate"),
}


def add(commands: Any) -> None:
    """Adds the command, for its help: `measure` runs it."""
    bench = commands.add_parser("bench", help="measure: " + ", ".join(BENCHES))
    bench.add_argument(
        "what",
        choices=list(BENCHES),
        metavar="WHAT",
        help="; ".join(f"{k}: {v[1]}" for k, v in BENCHES.items()),
    )
    bench.set_defaults(run=_bench)


def _bench(options: argparse.Namespace, _: list[str]) -> int:
    return measure(options.what, [])


def measure(what: str, rest: list[str]) -> int:
    """Runs one of the benches with its own options; returns the exit code."""
    return import_module(BENCHES[what][0]).main(rest)
