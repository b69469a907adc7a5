"""Trains the small models of `pinisi bench vocabulary-extension`, and judges them by the bits of each document."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pinisi.base.files import write_whole
from pinisi.config import configure
from pinisi.data import tokenize
from pinisi.data.tokenizer import load_tokenizer, vocabulary_size
from pinisi.launch.run import run as launch
from pinisi.models import ModelSpec, parameter_shapes, read_spec, vocabulary_names
from pinisi.models.folder import NEW_ROWS
from pinisi.train.checkpoint import newest_whole
from pinisi.train.export import export
from pinisi.train.saved import CHECKPOINTS

SPARE = 64  # rows without a token, as published models have some
SEQUENCE, ROWS_A_STEP = 128, 8
MOST: dict[str, Any] = {
    "hidden": 64,
    "layers": 2,
    "first_steps": 500,
    "steps": 120,  # without the extension
    "new_rows": 0.1,  # of the extended model's steps, for new rows alone
    "english_first": 0.6,  # in the phase of new rows alone, which learn there that they are no English
    "first_rate": 8e-3,
    "rate": 1e-3,
    "rows_rate": 1e-2,
    "first_mixture": {"en": 0.85, "km": 0.05, "lo": 0.05, "my": 0.05},
    "english": 0.4,  # of the tokens without the extension; as many with it where all learns
}


def model_config(rows: int) -> dict[str, Any]:
    """Returns the configuration of a Qwen3 of the bench's size."""
    return {
        "model_type": "qwen3",
        "vocab_size": rows,
        "hidden_size": MOST["hidden"],
        "intermediate_size": 3 * MOST["hidden"],
        "num_hidden_layers": MOST["layers"],
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": MOST["hidden"] // 4,
        "max_position_embeddings": 4 * SEQUENCE,
        "tie_word_embeddings": True,
    }


def flops_a_step(spec: ModelSpec) -> float:
    """Of matrix products, forward and backward: 6 a weight and token, the head's rows once, and attention's own."""
    names = vocabulary_names(spec)
    shapes = parameter_shapes(spec).items()
    body = sum(math.prod(shape) for name, shape in shapes if len(shape) > 1 and name not in names)
    attention = 2 * spec.layers * spec.hidden * SEQUENCE // 2  # half of the places are masked
    return 6.0 * (body + spec.vocabulary * spec.hidden + attention) * SEQUENCE * ROWS_A_STEP


def first_model(folder: Path, tokenizer: Path, train: Mapping[str, Sequence[str]], seed: int) -> Path:
    """Trains a model from a random start, mostly on English; returns its folder."""
    rows = vocabulary_size(load_tokenizer(tokenizer)) + SPARE
    return _trained(
        folder,
        tokenizer,
        train,
        run={"seed": seed, "steps": MOST["first_steps"]},
        model={"config": model_config(rows), "tokenizer": str(tokenizer)},
        mixture=MOST["first_mixture"],
        rate=MOST["first_rate"],
    )


def continued(
    folder: Path, model: Path, train: Mapping[str, Sequence[str]], seed: int, budget: float
) -> tuple[Path, dict[str, float]]:
    """Trains a model on for at most `budget` FLOPs; returns its folder, and what it took."""
    a_step = flops_a_step(read_spec(model))
    steps = int(budget / a_step)
    alone = round(MOST["new_rows"] * steps) if (model / NEW_ROWS).is_file() else 0
    english = MOST["english"] * MOST["steps"] / (steps - alone)
    phases: list[dict[str, Any]] = [{"steps": steps - alone, "mixture": _mixture(english)}]
    if alone:
        first = {"steps": alone, "train": "new_rows", "mixture": _mixture(MOST["english_first"]), "warmup": 0}
        phases = [first | {"learning_rate": MOST["rows_rate"], "schedule": "constant"}, *phases]
    out = _trained(
        folder,
        model,
        train,
        run={"seed": seed},
        model={"source": str(model)},
        mixture=_mixture(english),
        rate=MOST["rate"],
        phases=phases,
    )
    return out, {"steps": steps, "flops": steps * a_step, "rows": read_spec(model).vocabulary}


def _mixture(english: float) -> dict[str, float]:
    """English has this share, the others what is left in equal ones."""
    return {"en": english, **dict.fromkeys(("km", "lo", "my"), (1 - english) / 3)}


def _trained(
    folder: Path,
    tokenizer: Path,
    train: Mapping[str, Sequence[str]],
    *,
    run: dict[str, Any],
    model: dict[str, Any],
    mixture: dict[str, float],
    rate: float,
    phases: Sequence[dict[str, Any]] = (),
) -> Path:
    """Trains as configured, going on where it was stopped; returns the exported model's folder."""
    out = folder / "model"
    if (out / "config.json").is_file():
        return out
    for language, texts in train.items():
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        write_whole(folder / "text" / f"{language}.jsonl", "".join(lines))
    tokenize(folder / "text", tokenizer, folder / "shards", report=lambda line: None)
    config = configure(
        run={"folder": str(folder / "run"), **run},
        model={"dtype": "float32", **model},
        data={
            "shards": str(folder / "shards"),
            "sequence": SEQUENCE,
            "microbatch_size": ROWS_A_STEP,
            "mixture": mixture,
        },
        pipeline={"ranks": 1, "microbatches": 1, "barriers": 0},
        optimizer={"learning_rate": rate, "warmup": 5},
        checkpoint={"every": 50, "keep": 1},
        runtime={"threads": 1},
        report={"log_every": 1000},
        phases=list(phases),
    )
    saved = newest_whole(folder / "run" / CHECKPOINTS, read=False).reader
    if saved is None or saved.step < config.steps:  # else it was stopped before the export
        with _as_one_rank():
            launch(config)
    return export(folder / "run", out, report=lambda line: None)


def document_bits(model: Path, texts: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[float, int]]]:
    """Returns (bits, bytes) of each document by language: in windows of a training row, each after the end of a text."""
    from transformers import AutoModelForCausalLM

    loaded = load_tokenizer(model)
    backend, start = loaded.backend_tokenizer, loaded.eos_token_id
    network = AutoModelForCausalLM.from_pretrained(
        str(model), dtype=torch.float32, local_files_only=True
    ).eval()
    found: dict[str, list[tuple[float, int]]] = {}
    for language, each in texts.items():
        found[language] = []
        for text in each:
            ids = backend.encode(text, add_special_tokens=False).ids
            windows = [ids[place : place + SEQUENCE] for place in range(0, len(ids), SEQUENCE)]
            found[language].append((_bits(network, windows, start), len(text.encode())))
    return found


@torch.inference_mode()
def _bits(network: Any, windows: Sequence[Sequence[int]], start: int) -> float:
    if not windows:
        return 0.0
    longest = max(map(len, windows))
    targets = torch.full((len(windows), longest), -100)
    for row, window in enumerate(windows):
        targets[row, : len(window)] = torch.tensor(window)
    inputs = torch.cat([torch.full((len(windows), 1), start), targets[:, :-1].clamp(min=0)], 1)
    logits = network(input_ids=inputs).logits.float()
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    return float(nats) / math.log(2)


@contextmanager
def _as_one_rank() -> Iterator[None]:
    """Lets a run take place in this process."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    before = {name: os.environ.get(name) for name in names}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    os.environ.update(zip(names, ("0", "1", "127.0.0.1", port), strict=True))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
