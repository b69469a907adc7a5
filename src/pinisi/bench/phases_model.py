"""Makes the text and the small models of `pinisi bench phases`: a base of two languages, and runs that continue it on fifteen."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from pinisi.base import digests
from pinisi.base.files import new_folder, write_whole
from pinisi.config import RunConfig, configure
from pinisi.data import read_documents, tokenize
from pinisi.data.tokenizer import load_tokenizer, vocabulary_size
from pinisi.data.vocabulary.bpe_file import read_bpe, write_bpe
from pinisi.data.vocabulary.train import TrainOptions, train
from pinisi.data.vocabulary.words import Texts
from pinisi.launch.run import run as launch
from pinisi.train.checkpoint import newest_whole
from pinisi.train.metrics import evaluations_of
from pinisi.train.saved import CHECKPOINTS

KNOWN = ("en", "zh")  # that the base learns
NEW = ("ceb", "id", "ilo", "jv", "km", "lo", "ms", "my", "su", "th", "tl", "vi", "war")
LANGUAGES = (*KNOWN, *NEW)
ARMS = ("replay", "without")
# Chosen on seed 7.
SIZES: dict[str, Any] = {
    "vocabulary": 4096,
    "temperature": 1.5,  # of the vocabulary's balance
    "characters": {"en": 2_000_000, "zh": 900_000},  # that models learn from; of others:
    "others": 200_000,
    "held_out": 0.1,  # share of documents
    "documents": 40,  # that are judged, of each language, and how much of each:
    "longest": 500,
    "hidden": 96,
    "layers": 3,
    "sequence": 128,
    "rows": 16,  # of a step
    "base_steps": 400,
    "base_rate": 4e-3,
    "base_mixture": {"en": 0.6, "zh": 0.4},
    "steps": (120, 80),  # of the two phases
    "rate": 4e-4,
    "warmup": 40,
    "replay": (0.75, 0.5),  # of the tokens of each phase, shared as the base's
    "intervals": 8,
    "evaluated": 5,  # microbatches of a language
}


def prepare(corpus: Path, work: Path) -> None:
    """Splits the text, trains the vocabulary and makes the shards that all seeds share; what is there stays."""
    text = work / "text"
    if not text.is_dir():
        with new_folder(text) as new:
            for language in LANGUAGES:
                learned, judged = _split(corpus / "text" / f"{language}.jsonl", language)
                for folder, documents in (("train", learned), ("held-out", judged)):
                    lines = (json.dumps({"text": each}, ensure_ascii=False) + "\n" for each in documents)
                    write_whole(new / folder / f"{language}.jsonl", "".join(lines))
    tokenizer = work / "tokenizer"
    if not tokenizer.is_dir():
        options = TrainOptions(SIZES["vocabulary"], SIZES["temperature"])
        found = train(read_bpe(corpus / "tokenizer"), _texts(text / "train"), options, report=_silent)
        with new_folder(tokenizer) as new:
            write_bpe(found, new)
    for side in ("train", "held-out"):
        tokenize(text / side, tokenizer, work / f"shards-{side}", report=_silent)


def _silent(line: str) -> None:
    pass


def _split(file: Path, language: str) -> tuple[list[str], list[str]]:
    """Draws by a hash of its text on which side each document is."""
    room = SIZES["characters"].get(language, SIZES["others"])
    learned: list[str] = []
    judged: list[str] = []
    limit = SIZES["held_out"] * 2**64
    for document in read_documents(file):
        text = document.text
        if digests.of_text(text) < limit:
            if len(judged) < SIZES["documents"]:
                judged.append(text[: SIZES["longest"]])
        elif room > 0:
            learned.append(text[:room])
            room -= len(text)
    return learned, judged


def _texts(folder: Path) -> Texts:
    def reading(language: str) -> Callable[[], Iterator[str]]:
        return lambda: (document.text for document in read_documents(folder / f"{language}.jsonl"))

    return {language: reading(language) for language in LANGUAGES}


def _model(work: Path) -> dict[str, Any]:
    hidden = SIZES["hidden"]
    config = {
        "model_type": "qwen3",
        "vocab_size": vocabulary_size(load_tokenizer(work / "tokenizer")),
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": SIZES["layers"],
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": hidden // 4,
        "max_position_embeddings": 4 * SIZES["sequence"],
        "tie_word_embeddings": True,
    }
    return {"config": config, "tokenizer": str(work / "tokenizer"), "dtype": "float32"}


def base_run(work: Path, seed: int) -> RunConfig:
    """A run from a random start on the languages that are not to be forgotten, judged at each fifth."""
    steps = SIZES["base_steps"]
    return _run(
        work,
        run={"folder": str(work / f"seed-{seed}" / "base"), "steps": steps, "seed": seed},
        optimizer={
            "learning_rate": SIZES["base_rate"],
            "warmup": 20,
            "schedule": "cosine",
            "min_lr_ratio": 0.0,
        },
        every=steps // 5,
        mixture=SIZES["base_mixture"],
        watch={"noise": 0.0},
    )


def continued_run(work: Path, seed: int, arm: str) -> RunConfig:
    """A run that continues the base on all languages in two phases of one schedule, with the base's text again or without."""
    steps = SIZES["steps"]
    start = work / f"seed-{seed}" / "base" / CHECKPOINTS / f"step-{SIZES['base_steps']:08d}"
    phases = [
        {"name": name, "steps": count, "mixture": mixture_of(share if arm == "replay" else 0.0)}
        for name, count, share in zip(("broad", "fine"), steps, SIZES["replay"], strict=True)
    ]
    return _run(
        work,
        run={"folder": str(work / f"seed-{seed}" / arm), "seed": seed, "start": str(start)},
        optimizer={
            **{"learning_rate": SIZES["rate"], "warmup": SIZES["warmup"]},
            **{"schedule": "wsd", "decay": steps[1]},
            **{"schedule_over": "run", "min_lr_ratio": 0.1},
        },
        every=sum(steps) // SIZES["intervals"],
        mixture=None,
        watch={},
        phases=phases,
    )


def mixture_of(replay: float) -> dict[str, float]:
    """Shares of the tokens: those that the base knows have this one together, the others what is left in equal parts."""
    known = {name: replay * share for name, share in SIZES["base_mixture"].items() if replay}
    return known | dict.fromkeys(NEW, (1 - replay) / len(NEW))


def _run(
    work: Path,
    *,
    run: dict[str, Any],
    optimizer: dict[str, Any],
    every: int,
    mixture: dict[str, float] | None,
    watch: dict[str, Any],
    phases: Sequence[dict[str, Any]] = (),
) -> RunConfig:
    return configure(
        run=run,
        model=_model(work),
        data={
            "shards": str(work / "shards-train"),
            "evaluation": str(work / "shards-held-out"),
            "sequence": SIZES["sequence"],
            "microbatch_size": SIZES["rows"],
            "verify": False,
            **({"mixture": mixture} if mixture else {}),
        },
        pipeline={"ranks": 1, "microbatches": 1, "barriers": 0},
        optimizer=optimizer,
        evaluation={"every": every, "microbatches": SIZES["evaluated"]},
        watch=watch,
        checkpoint={"every": every, "keep": 1},
        runtime={"threads": 1},
        report={"log_every": 1000, "live": 0.0},
        phases=list(phases),
    )


def trained(config: RunConfig) -> None:
    """Trains in this process, as far as that isn't done; what the run says goes into a file in its folder."""
    folder = Path(config.run.folder)
    saved = newest_whole(folder / CHECKPOINTS, read=False).reader
    if saved is not None and saved.step == config.steps and config.steps in dict(evaluations_of(folder)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "said.txt").open("a") as said, redirect_stdout(said), redirect_stderr(said), _one_rank():
        launch(config)


def bits_of(config: RunConfig) -> dict[int, dict[str, float]]:
    """Returns the bits per byte of held-out text by step and language."""
    found = evaluations_of(Path(config.run.folder))
    return {step: {name: bits_per_byte(entry) for name, entry in each.items()} for step, each in found}


def bits_per_byte(entry: Mapping[str, float]) -> float:
    return entry["loss"] * entry["tokens"] / entry["bytes"] / math.log(2)


@contextmanager
def _one_rank() -> Iterator[None]:
    """Lets a run take place in this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    given = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
