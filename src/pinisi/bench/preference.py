"""Trains small models on pairs whose chosen answers are right, and mostly longer by harmless sentences; sweeps LR-DPO's α.

Demands, written down before anything was measured on seeds 0, 1, 2, on each of them:
- [F] some α > 0 shortens the greedy answers to questions that no pair asks by at least 20 % against α = 0, at an accuracy within
  the noise of α = 0: the 95 % interval of the difference, question by question, reaches 0, and is no wider than 16 points; a wider
  one decides nothing;
- [C] α = 0 is DPO bit for bit: the two runs' exports are the same bytes;
- [F] the control: trained on pairs of which a coin says which answer is the chosen one, the accuracy on held-out pairs of that kind
  has a 95 % interval that contains one half;
- [C] with the true choices that accuracy's whole interval is above one half, so that the control could have failed.
Sizes, rates and the α of the sweep were chosen on seed 7.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.base.results import write_result
from pinisi.bench.exact_tasks import ExactQuestion, write_tokenizer
from pinisi.bench.padded_pairs import (
    PADDING,
    PaddedSplit,
    prompt_of,
    split_questions,
    value_of,
    write_padded_chats,
    write_pairs,
)
from pinisi.bench.preference_picture import sweep_picture
from pinisi.bench.sft import interval

SEEDS = (0, 1, 2)
SHORTER, WIDEST = 0.20, 0.16
Z = 1.959964  # of a two-sided interval of 95 %
# chosen on seed 7
ALPHAS = (0.0, 0.05, 0.1, 0.2)
HELD_OUT, ASKED = 300, 300
VOCABULARY, SEQUENCE = 700, 256
MODEL = {
    "model_type": "qwen3",
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
CHAT_STEPS, CHAT_RATE, ROWS = 400, 3e-3, 4
PAIR_STEPS, PAIR_RATE, PAIRS, BETA = 75, 3e-4, 32, 0.1
NEW_TOKENS = 64
CONTROL, DPO = "random labels", "dpo"


def measure_seed(seed: int, work: Path) -> dict[str, Any]:
    """Trains all arms of a seed; returns what was judged. What was done before stays."""
    folder = work / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    began, split = time.perf_counter(), split_questions(seed, HELD_OUT, ASKED)
    start = fine_tuned(seed, split, folder)
    files = {
        shuffled: [
            write_pairs(questions, folder / f"{name}-{shuffled}.jsonl", seed, shuffled)
            for name, questions in (("pairs", split.pairs), ("held-out", split.held_out))
        ]
        for shuffled in (False, True)
    }
    arms: dict[str, Any] = {"start": answered(start, split.asked, folder / "start.json")}
    for alpha in ALPHAS:
        name = name_of(alpha)
        out = preferred(folder / name, start, files[False], seed, "lr_dpo", {"beta": BETA, "alpha": alpha})
        arms[name] = answered(out, split.asked, folder / f"{name}.json") | accuracy_of(folder / name)
    twin = preferred(folder / DPO, start, files[False], seed, "dpo", {"beta": BETA})
    preferred(folder / CONTROL, start, files[True], seed, "dpo", {"beta": BETA})
    return {
        "seed": seed,
        "arms": arms,
        "same": same_bytes(twin, folder / name_of(0.0) / "model"),
        "control": accuracy_of(folder / CONTROL),
        "seconds": time.perf_counter() - began,
    }


def name_of(alpha: float) -> str:
    """Names an arm of the sweep."""
    return f"alpha {alpha:g}"


def fine_tuned(seed: int, split: PaddedSplit, folder: Path) -> Path:
    """Trains on chats from a random start, on two ranks, or goes on; returns the export."""
    from pinisi import configure, run

    out = folder / "chats" / "model"
    if out.is_dir():
        return out
    every = ExactQuestion("number", "0", "en", "plain", "".join(PADDING))
    tokenizer = write_tokenizer([*split.chats, every], VOCABULARY, folder / "tokenizer")
    chats = write_padded_chats(split.chats, folder / "chats.jsonl", seed)
    config = configure(
        run={"folder": folder / "chats", "steps": CHAT_STEPS, "seed": seed},
        model={"config": {**MODEL, "vocab_size": VOCABULARY}, "tokenizer": str(tokenizer)},
        data={"sequence": SEQUENCE, "microbatch_size": 2},
        pipeline={"ranks": 2, "microbatches": ROWS // 2},
        optimizer={"learning_rate": CHAT_RATE, "warmup": 20},
        checkpoint={"every": CHAT_STEPS // 2},
        report={"log_every": 50},
        task={"name": "sft", "chats": str(chats)},
    )
    run(config)
    return export_of(folder / "chats")


def preferred(
    folder: Path, start: Path, files: Sequence[Path], seed: int, loss: str, settings: dict[str, float]
) -> Path:
    """Trains on pairs, on two ranks, or goes on; returns the export."""
    from pinisi import configure, run

    if (folder / "model").is_dir():
        return folder / "model"
    config = configure(
        run={"folder": folder, "steps": PAIR_STEPS, "seed": seed},
        model={"source": str(start)},
        data={"sequence": SEQUENCE, "microbatch_size": PAIRS // 2},
        pipeline={"ranks": 2, "microbatches": 2},
        optimizer={"learning_rate": PAIR_RATE, "warmup": 5, "weight_decay": 0.0},
        report={"log_every": 25},
        task={
            "name": "prefer",
            "pairs": str(files[0]),
            "held_out": str(files[1]),
            "loss": loss,
            "settings": settings,
            "prepared": str(folder.parent / "prepared"),
        },
    )
    run(config)
    return export_of(folder)


def export_of(run: Path) -> Path:
    """Writes a run's model into its folder."""
    from pinisi.train.export import export

    return export(run, run / "model", report=lambda line: None)


def answered(model: Path, questions: Sequence[ExactQuestion], file: Path) -> dict[str, Any]:
    """Returns of each greedy answer whether its value is right, and how many tokens it has."""
    from pinisi.evaluate.generation import GenerationSettings, OpenPrompt, TransformersGenerator
    from pinisi.evaluate.model_source import open_model

    if not file.is_file():
        generator = TransformersGenerator(open_model(str(model)), batch_size=100)
        prompts = [OpenPrompt(messages=({"role": "user", "content": prompt_of(q)},)) for q in questions]
        found = generator.generate(prompts, GenerationSettings(new_tokens=NEW_TOKENS))
        right = [
            each.ended == "token" and value_of(each.text) == q.answer
            for q, each in zip(questions, found, strict=True)
        ]
        record = {
            "right": right,
            "tokens": [each.tokens for each in found],
            "first": [e.text for e in found[:3]],
        }
        write_whole(file, json.dumps(record, ensure_ascii=False))
    return dict(json.loads(file.read_text("utf-8")))


def accuracy_of(run: Path) -> dict[str, Any]:
    """Returns in how many held-out pairs a run's model prefers the chosen answer."""
    from pinisi.train.metrics import last_of

    (judged,) = last_of(run)[1].values()
    return {"pairs": judged["tokens"], "preferred": round(judged["accuracy"] * judged["tokens"])}


def same_bytes(one: Path, other: Path) -> bool:
    """Tells whether two exports have the same weights, byte for byte."""
    files = [folder / "model.safetensors" for folder in (one, other)]
    return files[0].read_bytes() == files[1].read_bytes()


def length_of(arm: dict[str, Any]) -> float:
    """Returns the mean number of tokens of an arm's answers."""
    return sum(arm["tokens"]) / len(arm["tokens"])


def share_of(arm: dict[str, Any]) -> float:
    """Returns the share of an arm's answers that are right."""
    return sum(arm["right"]) / len(arm["right"])


def difference(arm: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float]:
    """Returns by how much an arm's accuracy is above another's, and the 95 % interval, question by question."""
    each = [int(a) - int(b) for a, b in zip(arm["right"], other["right"], strict=True)]
    mean = sum(each) / len(each)
    spread = math.sqrt(sum((one - mean) ** 2 for one in each) / (len(each) - 1) / len(each))
    return mean, mean - Z * spread, mean + Z * spread


def holds(row: dict[str, Any], alpha: float) -> bool | None:
    """Tells whether an α meets the demand on length and accuracy; None where the sample is too small to decide."""
    arm, other = row["arms"][name_of(alpha)], row["arms"][name_of(0.0)]
    if length_of(arm) > (1 - SHORTER) * length_of(other):
        return False
    _, low, high = difference(arm, other)
    return None if high - low > WIDEST else high >= 0


def faults_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what falls short of a demand."""
    found = []
    for row in rows:
        where = f"seed {row['seed']}"
        verdicts = [holds(row, alpha) for alpha in ALPHAS if alpha > 0]
        if True not in verdicts:
            undecided = "; undecided for some, the sample is too small" if None in verdicts else ""
            found.append(
                f"[F] {where}: no α shortens answers by {SHORTER:.0%} at the accuracy of α = 0{undecided}"
            )
        if not row["same"]:
            found.append(f"[C] {where}: α = 0 is not DPO bit for bit")
        low, high = interval(row["control"]["preferred"], row["control"]["pairs"])
        if not low <= 0.5 <= high:
            found.append(
                f"[F] {where}: with random labels {low:.1%} to {high:.1%} are preferred: not by chance"
            )
        true = row["arms"][name_of(0.0)]
        if not interval(true["preferred"], true["pairs"])[0] > 0.5:
            found.append(f"[C] {where}: held-out pairs are not told from chance with true labels")
    return found


def lines_of(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields what was found, as lines of text."""
    for row in rows:
        other = row["arms"][name_of(0.0)]
        for name, arm in row["arms"].items():
            mean, low, high = difference(arm, other)
            text = f"seed {row['seed']}  {name:10}  {length_of(arm):5.1f} tokens ({length_of(arm) / length_of(other) - 1:+.0%})"
            text += f"  right {share_of(arm):6.1%} ({100 * mean:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f})"
            if "pairs" in arm:
                text += f"  held-out pairs {arm['preferred'] / arm['pairs']:.1%}"
            yield text
        control = row["control"]
        low, high = interval(control["preferred"], control["pairs"])
        yield (
            f"seed {row['seed']}  random labels: {control['preferred'] / control['pairs']:.1%} of held-out pairs ({low:.1%} to "
            f"{high:.1%}); α = 0 is DPO bit for bit: {row['same']}; {row['seconds']:.0f} s"
        )


def summary(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a seed's figures without each answer's: lengths, right answers, and the difference to α = 0 with its interval."""
    other = row["arms"][name_of(0.0)]
    arms = {
        name: {
            "tokens": length_of(arm),
            "right": sum(arm["right"]),
            "of": len(arm["right"]),
            "difference": difference(arm, other),
            **{key: arm[key] for key in ("pairs", "preferred") if key in arm},
        }
        for name, arm in row["arms"].items()
    }
    return {**row, "arms": arms}


def picture_of(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the sweep as an SVG document."""
    seeds = {
        row["seed"]: [
            (length_of(arm), share_of(arm)) for alpha in ALPHAS for arm in [row["arms"][name_of(alpha)]]
        ]
        for row in rows
    }
    return sweep_picture(ALPHAS, seeds)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench preference", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--work", default="bench-preference", metavar="FOLDER", help="what was done stays here"
    )
    parser.add_argument("--json", metavar="FILE", help="write what was found to this file")
    parser.add_argument("--svg", metavar="FILE", help="draw the sweep into this file")
    options = parser.parse_args(list(arguments))
    rows = [measure_seed(seed, Path(options.work).absolute()) for seed in options.seeds]
    wrong = faults_of(rows)
    print("\n".join(lines_of(rows)))
    print("\n".join(f"FALLS SHORT: {fault}" for fault in wrong) or "all demands hold")
    if options.svg:
        write_whole(options.svg, picture_of(rows))
    if options.json:
        write_result(
            options.json,
            json.dumps(
                {"rows": [summary(row) for row in rows], "faults": wrong}, indent=1, ensure_ascii=False
            )
            + "\n",
        )
    return 1 if wrong else 0
