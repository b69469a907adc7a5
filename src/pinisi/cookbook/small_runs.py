"""Trains small models of different vocabularies on equal numbers of operations, and measures their bits per byte."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.base.files import write_whole
from pinisi.config import configure
from pinisi.cookbook.run import run
from pinisi.costs.shape import shape_of
from pinisi.costs.work import Setting, model_flops
from pinisi.data import load_tokenizer, tokenize
from pinisi.data.shards import read_index
from pinisi.data.tokenizer import vocabulary_size
from pinisi.evaluate.likelihood import score_here
from pinisi.evaluate.model_source import open_model
from pinisi.evaluate.run import EvaluationSettings, Evaluator
from pinisi.models import read_spec

FOUND = "measured.json"  # in a run's folder, beside what the run left


@dataclass(frozen=True)
class SmallBody:
    """A small model but for its vocabulary, and how it is fed. Embedding and head are tied.

    sequence: tokens of a row; rows: of a step.
    """

    hidden: int = 64
    layers: int = 4
    heads: int = 4
    ffn: int = 192
    sequence: int = 128
    rows: int = 4

    def config(self, rows: int) -> dict[str, Any]:
        """A Hugging Face configuration with so many rows in the vocabulary."""
        return {
            "model_type": "qwen2",
            "vocab_size": rows,
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "max_position_embeddings": 4 * self.sequence,
            "tie_word_embeddings": True,
        }

    def flops_per_token(self, rows: int) -> float:
        """Forward and backward, the head included."""
        setting = Setting(sequence=self.sequence)
        return model_flops(shape_of(read_spec(self.config(rows))), setting) / setting.tokens

    def parameters(self) -> int:
        """All but the vocabulary's."""
        shape = shape_of(read_spec(self.config(256)))
        return shape.layers * shape.layer_parameters + shape.final_norm

    def steps(self, rows: int, flops: float) -> int:
        """Optimizer steps that take so many operations; raises ConfigError where that is not even one."""
        steps = round(flops / (self.flops_per_token(rows) * self.sequence * self.rows))
        if steps < 1:
            raise ConfigError(
                f"{flops:.3g} FLOPs are less than one step of a model with {rows:,} rows; give more"
            )
        return steps


@dataclass(frozen=True)
class SmallRun:
    """One training. tokenizer: its folder; rows: of the vocabulary; flops: of the whole training, forward and backward."""

    tokenizer: Path
    rows: int
    flops: float
    learning_rate: float
    seed: int


def rows_of(tokenizer: str | Path) -> int:
    """Rows that a model needs for a tokenizer."""
    return vocabulary_size(load_tokenizer(tokenizer))


def measured_run(
    body: SmallBody,
    wanted: SmallRun,
    text: str | Path,
    held_out: Mapping[str, str],
    folder: Path,
    ranks: int = 2,
) -> dict[str, Any]:
    """Trains, unless the folder has the result of the same run; returns bits per byte by language, tokens, seconds.

    text: a corpus, tokenized into the folder beside the run's. held_out: {component: folder of text} that is measured on, in this
    process. A run that was stopped goes on where it was.
    """
    asked = json.loads(
        json.dumps({**asdict(wanted), "body": asdict(body), "tokenizer": str(wanted.tokenizer)})
    )
    found = folder / FOUND
    if found.is_file():
        result: dict[str, Any] = json.loads(found.read_text("utf-8"))
        if result["asked"] == asked:
            return result
    shards = folder.parent / f"shards-{wanted.tokenizer.name}"
    tokenize(text, wanted.tokenizer, shards, report=lambda line: None)
    began = time.monotonic()
    trained = _trained(body, wanted, shards, folder, ranks)
    seconds = time.monotonic() - began
    evaluation = _evaluated(trained, held_out)
    steps = body.steps(wanted.rows, wanted.flops)
    languages = read_index(shards)["languages"].values()
    bytes_per_token = sum(each["bytes"] for each in languages) / sum(each["tokens"] for each in languages)
    result = {
        "asked": asked,
        "steps": steps,
        "tokens": steps * body.sequence * body.rows,
        "bytes_of_text": steps * body.sequence * body.rows * bytes_per_token,
        "seconds": seconds,
        "evaluation": evaluation,
    }
    write_whole(found, json.dumps(result) + "\n")
    return result


def _trained(body: SmallBody, wanted: SmallRun, shards: Path, folder: Path, ranks: int) -> Path:
    steps = body.steps(wanted.rows, wanted.flops)
    config = configure(
        run={"folder": str(folder / "run"), "steps": steps, "seed": wanted.seed},
        model={"config": body.config(wanted.rows), "tokenizer": str(wanted.tokenizer), "dtype": "float32"},
        data={"shards": str(shards), "sequence": body.sequence, "verify": False},
        pipeline={"ranks": ranks, "microbatches": body.rows},
        optimizer={
            "learning_rate": wanted.learning_rate,
            "warmup": max(1, steps // 20),
            "schedule": "cosine",
        },
        report={"log_every": max(1, steps // 5)},
    )
    return run(config).folder


def _evaluated(run_folder: Path, held_out: Mapping[str, str]) -> dict[str, Any]:
    """The result of `pinisi evaluate` on the run's newest checkpoint."""
    model = open_model(run_folder)
    evaluator = Evaluator(model, EvaluationSettings(texts=held_out))
    return evaluator.evaluate(lambda items: score_here(model, items)).result
