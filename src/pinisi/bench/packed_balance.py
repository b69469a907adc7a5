"""Measures what `data.balance` saves of a pipeline's step where rows hold documents of very different lengths.

Each row's forward and backward of a stage are measured as the processor's seconds, alone; a step follows from its schedule. So the
figure doesn't hang on how many cores are free.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinisi.data import Microbatch, Sampler, TokenShards
from pinisi.models import RandomWeights, Stage, build_stage, make_context, read_spec
from pinisi.schedule import Kind, Pass, Schedule, build, needs
from pinisi.schedule.needs import gives

RANKS = 4  # a layer each
SEQUENCE, ROWS, MICROBATCHES, STEPS = 4096, 1, 16, 2
# Short texts and books, each about half of the tokens: short lengths are lognormal (median and width in tokens and e-folds).
MEDIAN, SPREAD, SHORTEST = 150, 1.0, 8
BOOK = 2 * SEQUENCE
DOCUMENTS = 4000
VOCABULARY = 128
# Narrow, so that attention is as large a share of a layer as in a model of h = 1,024 with rows of 131,072: s / (12 h) = 10.7.
HIDDEN, HEADS = 32, 4


def write_shards(folder: Path, seed: int) -> TokenShards:
    """Shards of random tokens in short documents, and of as many tokens in long ones."""
    random = np.random.default_rng(seed)
    drawn = np.exp(random.normal(np.log(MEDIAN), SPREAD, DOCUMENTS))
    short = np.clip(drawn, SHORTEST, BOOK).astype(np.int64)
    books = np.full(int(short.sum()) // BOOK, BOOK)
    lengths = random.permutation(np.concatenate([short, books]))
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    (folder / "00000").mkdir(parents=True)
    bounds.astype("<i8").tofile(folder / "00000/id.documents")
    random.integers(1, VOCABULARY, int(bounds[-1])).astype("<i4").tofile(folder / "00000/id.tokens")
    size = {"documents": len(lengths), "tokens": int(bounds[-1])}
    index = {
        "format": 3,
        "fingerprint": f"drawn {seed}",
        "end_of_document": 0,
        "vocabulary": VOCABULARY,
        "languages": {"id": {**size, "bytes": 4 * size["tokens"], "files": [{"name": "00000/id", **size}]}},
    }
    (folder / "index.json").write_text(json.dumps(index))
    return TokenShards(folder)


def steps_of(seed: int, balance: bool) -> list[list[Microbatch]]:
    """The same rows of each step, shared out to its microbatches with `data.balance` or as they come."""
    with tempfile.TemporaryDirectory(prefix="pinisi-packed-") as folder:
        shards = write_shards(Path(folder) / "shards", seed)
        sampler = Sampler(shards, sequence=SEQUENCE, batch=ROWS, seed=seed, balance=balance)
        return [sampler.step(MICROBATCHES) for _ in range(STEPS)]


def pairs(batch: Sequence[Microbatch]) -> list[int]:
    """Of each microbatch, sums of squares of its documents' lengths."""
    return [int((m.documents.unique(return_counts=True)[1] ** 2).sum()) for m in batch]


def measure(seeds: Sequence[int], tries: int) -> list[dict[str, Any]]:
    """Each seed's steps in the order of `data.balance` and as rows come."""
    spec = read_spec(
        {
            "model_type": "qwen2",
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": 1,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "max_position_embeddings": SEQUENCE,
            "tie_word_embeddings": False,
        }
    )
    stage = build_stage(spec, range(1), RandomWeights(spec, 0), norm=False)
    return [_measured(stage, seed, tries) for seed in seeds]


def _measured(stage: Stage, seed: int, tries: int) -> dict[str, Any]:
    batches = {balance: steps_of(seed, balance) for balance in (False, True)}
    rows = {balance: sorted(map(_key, _all(steps))) for balance, steps in batches.items()}
    # a row costs the same in both orders: it is measured once
    costs = {_key(m): _passes(stage, m, tries) for m in _all(batches[False])}
    schedule = build("1f1b", RANKS, MICROBATCHES, barriers=0)
    seconds = {
        balance: sum(_step_seconds(schedule, [costs[_key(m)] for m in step]) for step in steps)
        for balance, steps in batches.items()
    }
    return {
        "seed": seed,
        "seconds": seconds[False] / STEPS,
        "balanced_seconds": seconds[True] / STEPS,
        "saved": 1 - seconds[True] / seconds[False],
        "costliest": max(map(sum, costs.values())) * len(costs) / sum(map(sum, costs.values())),
        "same_rows": rows[False] == rows[True],
    }


def _all(steps: Sequence[Sequence[Microbatch]]) -> list[Microbatch]:
    return [microbatch for step in steps for microbatch in step]


def _key(microbatch: Microbatch) -> bytes:
    return microbatch.tokens.numpy().tobytes()


def _passes(stage: Stage, microbatch: Microbatch, tries: int) -> tuple[float, float]:
    """The processor's seconds of a stage's forward and backward; the least of the tries, for what else runs only adds."""
    found = []
    for _ in range(tries):
        hidden = torch.randn(*microbatch.tokens.shape, HIDDEN, requires_grad=True)
        began = time.process_time()
        out = stage(hidden, make_context(stage.spec, microbatch.documents, microbatch.positions))
        middle = time.process_time()
        out.backward(torch.ones_like(out))
        found.append((middle - began, time.process_time() - middle))
    return min(f for f, _ in found), min(b for _, b in found)


def _step_seconds(schedule: Schedule, costs: Sequence[tuple[float, float]]) -> float:
    """The end of the last pass, each beginning when its rank is free and what it needs is there. costs: of each microbatch."""
    layout = schedule.layout
    ended: dict[Pass, float] = {}
    rows, free = [list(order) for order in schedule.order], [0.0] * RANKS
    while any(rows):
        before = len(ended)
        for rank, row in enumerate(rows):
            while row and all(p in ended for need in needs(row[0], layout) for p in need.sources):
                run = row.pop(0)
                ready = max((ended[p] for need in needs(run, layout) for p in need.sources), default=0.0)
                forward, backward = costs[run.microbatch]
                free[rank] = max(free[rank], ready) + (forward if run.kind is Kind.F else backward)
                ended.update(dict.fromkeys(gives(run), free[rank]))
        assert len(ended) > before, "the schedule hangs"
    return max(free)


def line(row: dict[str, Any]) -> str:
    return (
        f"seed {row['seed']}: a step of uneven documents {1e3 * row['seconds']:.0f} ms, balanced "
        f"{1e3 * row['balanced_seconds']:.0f} ms, {100 * row['saved']:.1f} % less; the costliest row takes {row['costliest']:.2f} "
        "times the mean's time"
    )
