"""Trains the small models of `pinisi bench expansion` on real ranks, and looks at each layer of them while they train."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinisi.base.files import write_whole
from pinisi.config import RunConfig, configure
from pinisi.costs.shape import shape_of
from pinisi.costs.work import Setting, model_flops
from pinisi.data import TokenShards
from pinisi.data.batches import Microbatch
from pinisi.data.sampler import Sampler
from pinisi.launch.run import run as launch
from pinisi.models import FolderWeights, ModelSpec, new_layers, read_spec
from pinisi.models.folder import NEW_LAYERS
from pinisi.models.surgery.expand import silencing
from pinisi.parallel.agree import gather_json
from pinisi.train.tasks.pretrain import Pretrain
from pinisi.train.trainer import Trainer

RANKS, MICROBATCHES, ROWS, SEQUENCE = 2, 2, 4, 128
FIRST = 20  # steps after each of which the loss is looked at
LOOKS = "looks.jsonl"  # in a run's folder
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4 * SEQUENCE,
    "tie_word_embeddings": True,
    "initializer_range": 0.05,
}
# Chosen on seed 7.
CHOSEN: dict[str, Any] = {
    "first_steps": 240,
    "first_rate": 1e-2,
    "first_mixture": {"en": 0.85, "id": 0.05, "vi": 0.05, "th": 0.05},
    "rate": 3e-4,
    "warmup": 20,
    "mixture": {"en": 0.25, "id": 0.25, "vi": 0.25, "th": 0.25},
}


def small_config(model_type: str, rows: int) -> dict[str, Any]:
    """Returns the configuration of a model of two layers, of both types of attention where the architecture has them."""
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), rows)  # in a row that no text has
    config = SMALL | {"model_type": model_type, "vocab_size": rows + 1, **ids}
    if model_type in ("qwen3", "gemma2", "gemma3_text"):
        config["head_dim"] = 16
    if model_type in ("qwen2", "qwen3", "gemma2", "gemma3_text"):
        config |= {"sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]}
    if model_type in ("qwen2", "qwen3"):
        config["use_sliding_window"] = True
    if model_type in ("mistral", "phi3"):
        config["sliding_window"] = 32
    if model_type.startswith("gemma"):
        config["query_pre_attn_scalar"] = 16
    return config


def flops_a_step(spec: ModelSpec) -> float:
    """Returns the operations of a step, forward and backward, the head included."""
    return MICROBATCHES * model_flops(shape_of(spec), Setting(SEQUENCE, ROWS))


class WatchedGrowth(Pretrain):
    """Pre-trains, and writes down what layers do: the loss after each of the first steps, and at the ends more.

    Before the first step: the norm of each layer's gradient, and the loss of plain copies. After the last: by how much
    log-probabilities change without each new layer. At both: these themselves, of held-out text that is the same for all runs.
    """

    def evaluate(self, trainer: Trainer) -> dict[str, dict[str, float]]:
        ends = trainer.step in (0, trainer.config.steps)
        if not ends and trainer.step > FIRST:
            return {}
        batch = self._text()
        log_probs = trainer.engine.log_probs(batch)
        targets = sum(each.target_count for each in batch)
        found: dict[str, Any] = {
            "step": trainer.step,
            "loss": mean_loss(log_probs, targets),
        }
        if trainer.step == 0:
            found["gradients"] = gradient_norms(trainer, batch)
            if added(trainer.spec):
                found["plain"] = mean_loss(plain_log_probs(trainer, batch), targets)
        if trainer.step == trainer.config.steps:
            found["changes"] = changes_without(trainer, batch, log_probs)
        if trainer.leader:
            with (trainer.folder / LOOKS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            if ends:
                numbers = torch.stack([lp.float() for lp in log_probs]).numpy()
                np.save(trainer.folder / f"log-probs-{trainer.step}.npy", numbers, allow_pickle=False)
        return super().evaluate(trainer) if ends else {}

    def _text(self) -> list[Microbatch]:
        assert self.config.data.evaluation is not None
        shards = TokenShards(self.config.data.evaluation)
        sampler = Sampler(shards, sequence=SEQUENCE, batch=ROWS, positions=self.config.data.positions, seed=0)
        return sampler.step(MICROBATCHES)


def mean_loss(log_probs: Sequence[torch.Tensor], targets: int) -> float:
    """Returns the loss a target, in nats."""
    return -sum(lp.double().sum().item() for lp in log_probs) / targets


def gradient_norms(trainer: Trainer, batch: Sequence[Microbatch]) -> list[float]:
    """Returns the norm of each layer's gradient, all parameters of the layer together; the step isn't taken."""
    trainer.engine.gradients(batch)
    squares = [0.0] * trainer.spec.layers
    prefix = f"{trainer.spec.architecture.layers_name}."
    for slot in trainer.engine.slots:
        if slot.name.startswith(prefix):
            layer = int(slot.name.removeprefix(prefix).partition(".")[0])
            squares[layer] += slot.gradient.double().square().sum().item()
    trainer.engine.skip()
    return [math.sqrt(sum(each)) for each in zip(*gather_json(squares), strict=True)]


def changes_without(
    trainer: Trainer, batch: Sequence[Microbatch], before: Sequence[torch.Tensor]
) -> dict[str, float]:
    """Returns, for each new layer, the largest change of a log-probability where that layer adds nothing."""
    found = {}
    for layer in added(trainer.spec):
        with replaced(trainer, [layer], lambda name, value: value):
            without = trainer.engine.log_probs(batch)
        found[str(layer)] = max((a - b).abs().max().item() for a, b in zip(before, without, strict=True))
    return found


def plain_log_probs(trainer: Trainer, batch: Sequence[Microbatch]) -> list[torch.Tensor]:
    """Returns the log-probabilities where new layers are plain copies, nothing in them silenced: the control."""
    assert trainer.spec.folder is not None
    weights = FolderWeights(trainer.spec, trainer.spec.folder)
    prefix = f"{trainer.spec.architecture.layers_name}."

    def of_source(name: str, silent: float) -> torch.Tensor:
        number, _, part = name.removeprefix(prefix).partition(".")
        return weights.get(f"{prefix}{int(number) - 1}.{part}")  # each copy stands right behind its source

    with replaced(trainer, added(trainer.spec), of_source):
        return trainer.engine.log_probs(batch)


def added(spec: ModelSpec) -> list[int]:
    """Returns the layers that an expansion added, if the model was expanded."""
    return new_layers(spec) if spec.folder is not None and (spec.folder / NEW_LAYERS).is_file() else []


@contextmanager
def replaced(
    trainer: Trainer, layers: Sequence[int], values: Callable[[str, float], float | torch.Tensor]
) -> Iterator[None]:
    """Puts other values into the parameters that silence these layers, where this rank holds them, and the old ones back.

    values: of a parameter's name and of the number that silences.
    """
    architecture, kept = trainer.spec.architecture, []
    for slot in trainer.engine.slots:
        number, _, part = slot.name.removeprefix(f"{architecture.layers_name}.").partition(".")
        value = silencing(architecture, part)
        if number.isdecimal() and int(number) in layers and value is not None:
            parameter = slot.parameter.detach()
            kept.append((parameter, parameter.clone()))
            parameter.copy_(torch.as_tensor(values(slot.name, value)))
    try:
        yield
    finally:
        for parameter, before in kept:
            parameter.copy_(before)


def run_config(
    folder: Path, shards: Path, model: dict[str, Any], *, seed: int, steps: int, first: bool, every: int = 0
) -> RunConfig:
    """Returns the configuration of a run. model: [model]. first: from a random start; every: steps between looks."""
    return configure(
        run={"folder": str(folder), "steps": steps, "seed": seed},
        model={"dtype": "float32", **model},
        data={
            "shards": str(shards),
            "evaluation": f"{shards}-held-out",
            "sequence": SEQUENCE,
            "microbatch_size": ROWS,
            "mixture": CHOSEN["first_mixture" if first else "mixture"],
            "verify": False,
        },
        pipeline={"ranks": RANKS, "microbatches": MICROBATCHES},
        optimizer={
            "learning_rate": CHOSEN["first_rate" if first else "rate"],
            "warmup": min(CHOSEN["warmup"], steps),
            "schedule": "cosine" if first else "constant",
        },
        evaluation={"every": every, "microbatches": 4},
        checkpoint={"keep": 1},
        report={"log_every": 10_000},
    )


def looked_at(config: RunConfig) -> list[dict[str, Any]]:
    """Trains, unless that is done; returns what was seen, in the order of steps. A run that was stopped begins again."""
    folder = Path(config.run.folder)
    done = folder.with_suffix(".json")
    if not done.is_file():
        if folder.exists():
            shutil.rmtree(folder)
        result = launch(config, WatchedGrowth)
        if not result.whole:
            raise SystemExit(result.code)
        looks = [json.loads(line) for line in (folder / LOOKS).read_text("utf-8").splitlines()]
        looks[-1]["evaluation"] = result.evaluation
        write_whole(done, json.dumps(looks) + "\n")
    found: list[dict[str, Any]] = json.loads(done.read_text("utf-8"))
    return found


def log_probs_at(config: RunConfig, step: int) -> np.ndarray:
    """Returns the log-probabilities that a run wrote down before or after its last step."""
    return np.load(Path(config.run.folder) / f"log-probs-{step}.npy", allow_pickle=False)


def bits_per_byte(evaluation: dict[str, dict[str, float]]) -> float:
    """Returns the mean over languages."""
    rates = [each["loss"] * each["tokens"] / each["bytes"] / math.log(2) for each in evaluation.values()]
    return sum(rates) / len(rates)


def same_logits(old: Path, new: Path, seed: int) -> bool:
    """Tells whether transformers computes the same bits with both models, of tokens drawn by the seed."""
    from transformers import AutoModelForCausalLM

    tokens = torch.randint(
        read_spec(old).vocabulary, (2, SEQUENCE), generator=torch.Generator().manual_seed(seed)
    )
    with torch.inference_mode():
        one, other = (
            AutoModelForCausalLM.from_pretrained(str(each), dtype=torch.float32, local_files_only=True)
            .eval()(input_ids=tokens)
            .logits
            for each in (old, new)
        )
    return torch.equal(one, other)
