"""Measures what `data.balance` saves of a pipeline's step where rows hold documents of very different lengths."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from pinisi.data import Microbatch, Sampler, TokenShards
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Placement, Ranks
from pinisi.models import RandomWeights, read_spec
from pinisi.parallel.agree import gather_json
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import build

RANKS = 2
SEQUENCE, ROWS, MICROBATCHES, STEPS = 4096, 2, 8, 1
# Short texts and books, each about half of the tokens: short lengths are lognormal (median and width in tokens and e-folds).
MEDIAN, SPREAD, SHORTEST = 150, 1.0, 8
BOOK = 2 * SEQUENCE
DOCUMENTS = 4000
VOCABULARY = 128
# Narrow, so that attention is as large a share of a layer as in a model of h = 1,024 with rows of 131,072: s / (12 h) = 10.7.
HIDDEN, LAYERS, HEADS = 32, 2, 4


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
        "languages": {"id": {**size, "files": [{"name": "00000/id", **size}]}},
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


def measure(seeds: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """On each rank the rows; equal on all."""
    init_process_group(None, torch.device("cpu"))
    communicator = Communicator.connect([list(range(RANKS))], torch.device("cpu"))
    assert communicator is not None
    spec = read_spec(
        {
            "model_type": "qwen2",
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "max_position_embeddings": SEQUENCE,
            "tie_word_embeddings": False,
        }
    )
    engine = Engine(
        spec,
        RandomWeights(spec, 0),
        Ranks(communicator),
        Placement(build("1f1b", RANKS, MICROBATCHES, barriers=1)),
        numerics=Numerics(torch.float32),
    )
    return [_measured(engine, seed, rounds) for seed in seeds]


def _measured(engine: Engine, seed: int, rounds: int) -> dict[str, Any]:
    batches = {balance: steps_of(seed, balance) for balance in (False, True)}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    losses: dict[bool, float] = {}
    for round_ in range(rounds + 1):
        for balance, steps in batches.items():
            dist.barrier()
            began = time.perf_counter()
            losses[balance] = sum(engine.gradients(step).loss for step in steps)
            dist.barrier()
            if round_:  # the first step pays for memory
                seconds[balance].append(time.perf_counter() - began)
            engine.optimizer.zero()
    # the least: what else runs on the machine only adds
    best = {balance: max(gather_json(min(found))) for balance, found in seconds.items()}
    work = {balance: [pairs(step) for step in steps] for balance, steps in batches.items()}
    spread = {balance: max(max(w) * len(w) / sum(w) for w in found) for balance, found in work.items()}
    return {
        "seed": seed,
        "seconds": best[False],
        "balanced_seconds": best[True],
        "saved": 1 - best[True] / best[False],
        "costliest": spread[False],
        "balanced_costliest": spread[True],
        "same_loss": abs(losses[True] / losses[False] - 1) < 1e-5,
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"seed {row['seed']}: a step of uneven documents {1e3 * row['seconds'] / STEPS:.0f} ms, balanced "
        f"{1e3 * row['balanced_seconds'] / STEPS:.0f} ms, {100 * row['saved']:.1f} % less; the costliest microbatch has "
        f"{row['costliest']:.2f} and {row['balanced_costliest']:.2f} times the mean's pairs"
    )
