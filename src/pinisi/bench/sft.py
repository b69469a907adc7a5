"""Fine-tunes small models on tasks with exact answers, and judges formats, languages and values that it never saw.

Demands, written down before anything was measured, on each seed and on either side (numbers that no training chat asks for; pairs
of a language and a format that none has):
- [F] of the answers fewer than 10 % are in the format that was asked for before training, more than 90 % after it;
- [F] of the answers fewer than 10 % are in the language that was asked for before, more than 90 % after;
- [F] the control: trained on chats whose languages' names are drawn at random, the language is right as often as by chance: the
  95 % interval contains 1 in 12, where the same numbers are asked in every language and format;
- [C] every answer after training ends with the stop token, and the judge of languages is right on 99 % of the true answers.
How many values are exactly right stands beside it. The models are trained from a random start; sizes and rates were chosen on seed
7.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.base.results import write_result
from pinisi.bench.exact_tasks import (
    LANGUAGES,
    ExactQuestion,
    ExactSplit,
    LanguageJudge,
    split_of,
    unwrapped,
    write_chats,
    write_tokenizer,
)

SEEDS = (0, 1, 2)
BEFORE, AFTER = 0.10, 0.90
ENDED, JUDGED = 0.99, 0.99
CHANCE = 1 / len(LANGUAGES)
Z = 1.959964  # of a two-sided interval of 95 %
# chosen on seed 7
QUESTIONS = 144  # judged on either side, and of the control
CHATS, VOCABULARY, SEQUENCE, STEPS = 28_000, 2_000, 256, 1_200
CONTROL_CHATS, CONTROL_STEPS = 10_000, 300  # enough to learn formats
MODEL = {
    "model_type": "qwen3",
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
RATE, ROWS = 3e-3, 4  # learning rate; rows of a step
NEW_TOKENS = 48
WRAPPERS = re.compile(r"answer|[<>/{}\[\]\":.]")  # what formats add


def measure_seed(seed: int, work: Path) -> dict[str, Any]:
    """Trains a model and its control; returns what was judged. What was done before stays."""
    folder = work / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    began, split = time.perf_counter(), split_of(seed, QUESTIONS, CHATS)
    tokenizer = write_tokenizer(split.train, VOCABULARY, folder / "tokenizer")
    judge = LanguageJudge([*split.train, *split.numbers, *split.pairs])
    result: dict[str, Any] = {"seed": seed, "judge": judged_rightly(judge, split)}
    sides = {"numbers": split.numbers, "pairs": split.pairs}
    for arm, shuffled in (("chats", None), ("shuffled", seed)):
        steps, most = (STEPS, CHATS) if shuffled is None else (CONTROL_STEPS, CONTROL_CHATS)
        file = write_chats(split.train[:most], folder / f"{arm}.jsonl", shuffled)
        run = trained(folder / arm, file, tokenizer, seed, steps)
        if shuffled is None:
            result["before"] = scored(run, 0, sides, judge, folder / "before.json")
        judged = sides if shuffled is None else {"control": split.control}
        result[arm] = scored(run, steps, judged, judge, folder / f"{arm}.json")
    return {**result, "seconds": time.perf_counter() - began}


def trained(folder: Path, chats: Path, tokenizer: Path, seed: int, steps: int) -> Path:
    """Trains on two ranks, or goes on; returns the run's folder."""
    from pinisi import configure, run

    if (folder / "checkpoints" / f"step-{steps:08d}").is_dir():
        return folder
    config = configure(
        run={"folder": folder, "steps": steps, "seed": seed},
        model={"config": {**MODEL, "vocab_size": VOCABULARY}, "tokenizer": str(tokenizer)},
        data={"sequence": SEQUENCE, "microbatch_size": 2},
        pipeline={"ranks": 2, "microbatches": ROWS // 2},
        optimizer={"learning_rate": RATE, "warmup": 20, "weight_decay": 0.1},
        checkpoint={"every": steps // 2, "keep": 9},
        report={"log_every": 20},
        task={"name": "sft", "chats": str(chats)},
    )
    run(config)
    return folder


def scored(
    run: Path, step: int, sides: Mapping[str, Sequence[ExactQuestion]], judge: LanguageJudge, file: Path
) -> dict[str, Any]:
    """Returns by side how many answers are right in format, language and value, and how many ended."""
    if not file.is_file():
        answers = answered(run, step, [q for side in sides.values() for q in side])
        found, at = {}, 0
        for name, side in sides.items():
            found[name] = counts_of(side, answers[at : at + len(side)], judge)
            at += len(side)
        write_whole(file, json.dumps({"sides": found, "first": [text for text, _ in answers[:3]]}))
    return dict(json.loads(file.read_text("utf-8")))


def answered(run: Path, step: int, questions: Sequence[ExactQuestion]) -> list[tuple[str, bool]]:
    """Returns each greedy answer, and whether the model ended it."""
    from pinisi.evaluate.generation import GenerationSettings, OpenPrompt, TransformersGenerator
    from pinisi.evaluate.model_source import open_model
    from pinisi.train.export import export

    out = export(run, run / f"model-{step}", step=step, report=lambda line: None)
    generator = TransformersGenerator(open_model(str(out)), batch_size=48)
    prompts = [OpenPrompt(messages=({"role": "user", "content": q.prompt},)) for q in questions]
    found = generator.generate(prompts, GenerationSettings(new_tokens=NEW_TOKENS))
    return [(each.text, each.ended == "token") for each in found]


def counts_of(
    questions: Sequence[ExactQuestion], answers: Sequence[tuple[str, bool]], judge: LanguageJudge
) -> dict[str, int]:
    """Counts right formats, languages and values, and answers that ended."""
    counts = dict.fromkeys(("questions", "ended", "format", "language", "value"), 0)
    for question, (text, ended) in zip(questions, answers, strict=True):
        inner = unwrapped(text.strip(), question.form) if ended else None
        # a language is judged on whatever was said, so that a wrong format doesn't hide it
        said = WRAPPERS.sub(" ", text)
        counts["questions"] += 1
        counts["ended"] += ended
        counts["format"] += inner is not None
        counts["language"] += judge.language_of(said) == question.language
        counts["value"] += inner is not None and inner.strip() == question.answer
    return counts


def judged_rightly(judge: LanguageJudge, split: ExactSplit) -> float:
    """Returns on which share of true answers the judge of languages is right."""
    every = [*split.numbers, *split.pairs]
    return sum(judge.language_of(q.answer) == q.language for q in every) / len(every)


def interval(right: int, of: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share (Wilson 1927)."""
    share, square = right / of, Z * Z / of
    middle = (share + square / 2) / (1 + square)
    half = Z * (share * (1 - share) / of + square / (4 * of)) ** 0.5 / (1 + square)
    return middle - half, middle + half


def chance_of(row: dict[str, Any]) -> tuple[float, float, float]:
    """Returns the control's share of right languages, and its interval."""
    counts = row["shuffled"]["sides"]["control"]
    right, of = counts["language"], counts["questions"]
    return (right / of, *interval(right, of))


def faults_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what falls short of a demand."""
    found = []
    for row in rows:
        where = f"seed {row['seed']}"
        if not row["judge"] >= JUDGED:
            found.append(
                f"[C] {where}: the judge of languages is right on {row['judge']:.1%} of true answers"
            )
        for side, before in row["before"]["sides"].items():
            after = row["chats"]["sides"][side]
            for what in ("format", "language"):
                first, last = before[what] / before["questions"], after[what] / after["questions"]
                if not first < BEFORE:
                    found.append(f"[F] {where}, {side}: {what} is right in {first:.1%} before training")
                if not last > AFTER:
                    found.append(f"[F] {where}, {side}: {what} is right in {last:.1%} after training")
            if not after["ended"] >= ENDED * after["questions"]:
                found.append(f"[C] {where}, {side}: {after['ended']} of {after['questions']} answers ended")
        share, low, high = chance_of(row)
        if not low <= CHANCE <= high:
            found.append(
                f"[F] {where}: with shuffled languages {share:.1%} are right ({low:.1%} to {high:.1%}): not by chance"
            )
    return found


def lines_of(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields what was found, as lines of text."""
    for row in rows:
        for name in ("before", "chats", "shuffled"):
            for side, counts in row[name]["sides"].items():
                shares = "  ".join(
                    f"{what} {counts[what] / counts['questions']:6.1%}" for what in list(counts)[1:]
                )
                yield f"seed {row['seed']}  {name:8}  {side:7}  {shares}"
        share, low, high = chance_of(row)
        yield f"seed {row['seed']}  control: {share:.1%} ({low:.1%} to {high:.1%}), chance {CHANCE:.1%}; {row['seconds']:.0f} s"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench sft", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--work", default="bench-sft", metavar="FOLDER", help="what was done stays here")
    parser.add_argument("--json", metavar="FILE", help="write what was found to this file")
    options = parser.parse_args(list(arguments))
    rows = [measure_seed(seed, Path(options.work).absolute()) for seed in options.seeds]
    wrong = faults_of(rows)
    print("\n".join(lines_of(rows)))
    print("\n".join(f"FALLS SHORT: {fault}" for fault in wrong) or "all demands hold")
    if options.json:
        write_result(
            options.json, json.dumps({"rows": rows, "faults": wrong}, indent=1, ensure_ascii=False) + "\n"
        )
    return 1 if wrong else 0
