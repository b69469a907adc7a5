"""Holds `pinisi evaluate` against lm-evaluation-harness and sacrebleu's command line, on local files.

Five tasks (XCOPA in th, id, vi, zh, Belebele in jv) and one with examples: log-likelihoods within 1e-5 of the harness's and the
same choices and scores but for listed near ties, at p = 1, 2, 4 and for 1, 3, 16 rows at once. How often paired tests err is
counted by `noise`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.bench import harness, noise
from pinisi.evaluate.choices import MEASURES
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.formats import read_items_of
from pinisi.evaluate.likelihood import score_here, score_on_ranks
from pinisi.evaluate.model_source import MeasuredModel, open_model
from pinisi.evaluate.run import EvaluationSettings, Evaluator
from pinisi.evaluate.tasks import EvaluationTask
from pinisi.evaluate.translation import translation_scores

BOUND = 1e-5  # relative, of a log-likelihood
NEAR = 1e-4  # nats a unit: choices whose scores are as near as this may fall either way
RANKS, AT_ONCE = (1, 2, 4), (1, 3, 16)
SPEED_RANKS = 2  # of the figure beside the harness, which gets as many threads
SHOTS = 2


def tasks_of(data: Path, limit: int) -> list[EvaluationTask]:
    """The tasks, named as the harness's."""
    found = [
        EvaluationTask(
            "xcopa", language, str(data / f"xcopa.test.{language}.jsonl"), f"xcopa_{language}", limit=limit
        )
        for language in ("th", "id", "vi", "zh")
    ]
    jv, examples = str(data / "belebele.jv.jsonl"), str(data / "belebele.jv_examples.jsonl")
    few = max(1, limit // 4)  # passages are long
    return [
        *found,
        EvaluationTask("belebele", "jv", jv, "belebele_jv", limit=few),
        EvaluationTask("belebele", "jv", jv, "belebele_jv_shots", examples=examples, shots=SHOTS, limit=few),
    ]


def made_model(folder: Path, tasks: Sequence[EvaluationTask], dtype: str = "float32") -> Path:
    """A small model of random weights, wide enough apart that its choices differ, with a tokenizer of the tasks' own text."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, Qwen3Config

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, show_progress=False, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator((text for task in tasks for text in _texts(task)), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    write_whole(folder / "tokenizer_config.json", json.dumps(config))
    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=4001,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        initializer_range=0.15,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(shape).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    return folder


def _texts(task: EvaluationTask) -> Iterator[str]:
    for item in read_items_of(task.format, task.file)[0]:
        for part in item[1:]:
            yield from part if isinstance(part, tuple) else [str(part)]


def compare(ours: list[dict[str, Any]], theirs: harness.HarnessScores) -> dict[str, Any]:
    """The greatest relative difference of a log-likelihood, and near ties and faults by measure."""
    if [len(record["log_probs"]) for record in ours] != [len(sums) for sums in theirs.log_probs]:
        raise DataError("the harness asked another number of items or choices than we did")
    pairs = [
        (a, b)
        for record, sums in zip(ours, theirs.log_probs, strict=True)
        for a, b in zip(record["log_probs"], sums, strict=True)
    ]
    scores = {name: float(np.mean([r["chosen"][name] == r["answer"] for r in ours])) for name in MEASURES}
    ties = [record["id"] for record in ours if record["margin"] < NEAR]
    best = [int(np.argmax(sums)) for sums in theirs.log_probs]
    other = [r["id"] for r, choice in zip(ours, best, strict=True) if r["chosen"]["accuracy"] != choice]
    off = {name: abs(scores[name] - value) * len(ours) for name, value in theirs.scores.items()}
    return {
        "items": len(ours),
        "worst": max(abs(a - b) / abs(b) for a, b in pairs),
        "near_ties": ties,
        "other_choices": other,
        "scores": {name: scores[name] for name in theirs.scores},
        "harness": theirs.scores,
        "items_scored_otherwise": {name: round(count) for name, count in off.items()},
        "harness_seconds": theirs.seconds,
    }


def sacrebleu_agrees(data: Path, folder: Path, sentences: int = 200) -> dict[str, Any]:
    """Our chrF++ and char BLEU against sacrebleu's own command line, of Thai and Vietnamese sentences with letters dropped."""
    found = {}
    aligned = json.loads((data / "ntrex.json").read_text("utf-8"))
    for language in ("th", "vi"):
        references = [text.strip() for text in aligned[language][:sentences]]
        draw = random.Random(language)
        answers = ["".join(c for c in text if draw.random() > 0.1) for text in references]
        ours, signatures = translation_scores(answers, references)
        for name, lines in (("answers", answers), ("references", references)):
            write_whole(folder / name, "".join(line + "\n" for line in lines))
        for name, options in (
            ("chrf++", ["-m", "chrf", "--chrf-word-order", "2"]),
            ("bleu_char", ["-m", "bleu", "--tokenize", "char"]),
        ):
            command = [
                sys.executable,
                "-m",
                "sacrebleu",
                str(folder / "references"),
                "-i",
                str(folder / "answers"),
            ]
            told = subprocess.run(
                [*command, *options, "-b", "-w", "8"], capture_output=True, text=True, check=True
            )
            theirs = float(told.stdout)
            found[f"{language} {name}"] = {
                "ours": ours[name].value,
                "sacrebleu": theirs,
                "signature": signatures[name],
                "equal": abs(ours[name].value - theirs) < 1e-7,
            }
    return found


def measure(data: Path, model: Path | None, limit: int, folder: Path) -> dict[str, Any]:
    """All that the bench finds."""
    version = harness.harness_version()  # what is missing is said before anything is measured
    tasks = tasks_of(data, limit)
    path = model or made_model(folder / "model", tasks)
    opened = open_model(path, dtype="float32")
    evaluator = Evaluator(opened, EvaluationSettings(tasks))
    items = evaluator.continuations()
    runs, seconds, passes = _runs(opened, items)
    first = next(iter(runs.values()))
    ours = evaluator.evaluate(lambda _: first)
    theirs = _harness_scores(path, data, folder, tasks)
    score_on_ranks(_given(path, AT_ONCE[-1]), items, SPEED_RANKS, threads=1, timed=passes)
    return {
        "lm_eval": version,
        "limit": limit,
        "model": opened.digest(),
        "tasks": {task.title: compare(ours.records[task.title], theirs[task.title]) for task in tasks},
        "runs": {
            name: _against(first, one, found, seconds[name])
            for (name, found), one in zip(runs.items(), _each_one_row(runs), strict=True)
        },
        "choices_at_all_ranks": _same_choices(evaluator, runs),
        "tokens": ours.tokens,
        "speed": {
            "ranks": SPEED_RANKS,
            "seconds": passes,  # before and after the harness'
            "tokens_per_second": ours.tokens / max(passes),
            "harness_seconds": sum(found.scoring for found in theirs.values()),
            "harness_tokens_per_second": ours.tokens / sum(found.scoring for found in theirs.values()),
            "harness_seconds_with_reading": sum(found.seconds for found in theirs.values()),
        },
        "sacrebleu": sacrebleu_agrees(data, folder),
    }


def _runs(
    model: MeasuredModel, items: Sequence[Continuation]
) -> tuple[dict[str, list[np.ndarray]], dict[str, float], list[float]]:
    """Scores at all numbers of ranks and of rows at once, and the seconds of each; last those of the passes at SPEED_RANKS."""
    runs: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    passes: list[float] = []
    for ranks, at_once in itertools.product(RANKS, AT_ONCE):
        began = time.perf_counter()
        timed = passes if (ranks, at_once) == (SPEED_RANKS, AT_ONCE[-1]) else None
        given = _given(model.path, at_once)
        found = (
            score_here(model, items, at_once=at_once)
            if ranks == 1
            else score_on_ranks(given, items, ranks, threads=1, timed=timed)
        )
        runs[name := f"p = {ranks}, {at_once} rows at once"] = found
        seconds[name] = time.perf_counter() - began
        print(f"{name}: {seconds[name]:.1f} s", flush=True)
    return runs, seconds, passes


def _given(model: Path, at_once: int) -> list[str]:
    return [str(model), "--dtype", "float32", "--batch-size", str(at_once)]


def _harness_scores(
    model: Path, data: Path, folder: Path, tasks: Sequence[EvaluationTask]
) -> dict[str, harness.HarnessScores]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(SPEED_RANKS)
    yardstick = harness.harness_model(model, "float32", 16)
    found: dict[str, harness.HarnessScores] = {}
    for config, task in zip(_configs(data, folder), tasks, strict=True):
        found |= harness.run_harness(yardstick, [config], task.limit)
    torch.set_num_threads(threads)
    return found


def _configs(data: Path, folder: Path) -> list[dict[str, Any]]:
    jv, examples = data / "belebele.jv.jsonl", data / "belebele.jv_examples.jsonl"
    return [
        *(harness.xcopa_config(l, data / f"xcopa.test.{l}.jsonl") for l in ("th", "id", "vi", "zh")),
        harness.belebele_config("belebele_jv", jv, folder),
        harness.belebele_config("belebele_jv_shots", jv, folder, examples, SHOTS),
    ]


def _each_one_row(runs: dict[str, list[np.ndarray]]) -> list[list[np.ndarray]]:
    """For each run that of the same ranks with one row at once."""
    found = list(runs.values())
    return [found[number - number % len(AT_ONCE)] for number in range(len(found))]


def _against(
    first: list[np.ndarray], one: list[np.ndarray], found: list[np.ndarray], seconds: float
) -> dict[str, Any]:
    """first: of one rank and one row at once; one: of as many ranks and one row at once."""
    pairs = [(float(a.sum()), float(b.sum())) for a, b in zip(first, found, strict=True)]
    return {
        "seconds": seconds,
        "same_bits_as_one_row": all(np.array_equal(a, b) for a, b in zip(one, found, strict=True)),
        "worst": max(abs(a - b) / abs(a) for a, b in pairs),
    }


def _same_choices(evaluator: Evaluator, runs: dict[str, list[np.ndarray]]) -> bool:
    """Whether all runs choose alike, but for near ties."""
    chosen = []
    for found in runs.values():
        records = evaluator.evaluate(lambda _, found=found: found).records  # type: ignore[misc]
        chosen.append([r["chosen"] for of in records.values() for r in of if r["margin"] >= NEAR])
    return all(each == chosen[0] for each in chosen)


def faults(result: dict[str, Any]) -> list[str]:
    """What falls short of a demand."""
    found = []
    for name, task in result["tasks"].items():
        if not task["worst"] <= BOUND:
            found.append(
                f"{name}: a log-likelihood differs by {task['worst']:.2g} of itself, allowed {BOUND:g}"
            )
        if strange := set(task["other_choices"]) - set(task["near_ties"]):
            found.append(f"{name}: other choices than the harness's in items {sorted(strange)}")
        for measure_, count in task["items_scored_otherwise"].items():
            if count > len(task["near_ties"]):
                found.append(
                    f"{name}: {measure_} differs in {count} items, {len(task['near_ties'])} are near ties"
                )
    for name, run in result["runs"].items():
        if not run["same_bits_as_one_row"]:
            found.append(f"{name}: not the same bits as with one row at once")
        if not run["worst"] <= BOUND:
            found.append(
                f"{name}: a log-likelihood differs by {run['worst']:.2g} of itself, allowed {BOUND:g}"
            )
    if not result["choices_at_all_ranks"]:
        found.append("choices differ between numbers of ranks")
    found += [
        f"sacrebleu's command line: {name} differs"
        for name, each in result["sacrebleu"].items()
        if not each["equal"]
    ]
    return found


def _speed_line(speed: dict[str, Any]) -> str:
    taken = ", ".join(f"{seconds:.1f} s" for seconds in speed["seconds"])
    return (
        f"scored at p = {speed['ranks']}: {speed['tokens_per_second']:,.0f} tokens/s ({taken}); harness on one process of as many "
        f"threads: {speed['harness_tokens_per_second']:,.0f} tokens/s ({speed['harness_seconds']:.1f} s; "
        f"{speed['harness_seconds_with_reading']:.1f} s with reading and encoding)"
    )


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{'task':18} {'items':>5} {'worst difference':>17} {'near ties':>9}  scores, ours and the harness's"
    ]
    for name, task in result["tasks"].items():
        scores = ", ".join(
            f"{measure_} {100 * value:.1f} {100 * task['harness'][measure_]:.1f}"
            for measure_, value in task["scores"].items()
        )
        lines.append(
            f"{name:18} {task['items']:5} {task['worst']:17.1e} {len(task['near_ties']):9}  {scores}"
        )
    for name, run in result["runs"].items():
        rate = result["tokens"] / run["seconds"]
        same = (
            "the bits of one row at once"
            if run["same_bits_as_one_row"]
            else "OTHER BITS THAN ONE ROW AT ONCE"
        )
        lines.append(
            f"{name}: {same}, within {run['worst']:.1e} of one rank's, {rate:,.0f} tokens/s with start"
        )
    lines.append(_speed_line(result["speed"]))
    for name, each in result["sacrebleu"].items():
        lines.append(
            f"{name}: {each['ours']:.8f}, sacrebleu's command line {each['sacrebleu']:.8f} ({each['signature']})"
        )
    return "\n".join(lines)


PARTS = ("scores", "noise")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench evaluation", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--part", choices=PARTS, help="only this; noise, which says how often paired tests err, needs no data"
    )
    parser.add_argument("--data", metavar="FOLDER", help="XCOPA, Belebele and NTREX as local files")
    parser.add_argument("--model", help="a Hugging Face folder; a small random one is made if left out")
    parser.add_argument("--limit", type=int, default=100, help="items of a task of short texts, default 100")
    parser.add_argument("--json", help="write what was found to this file")
    options = parser.parse_args(list(arguments))
    parts = [options.part] if options.part else list(PARTS)
    if "scores" in parts and options.data is None:
        parser.error("--data FOLDER is needed, but for --part noise")
    result: dict[str, Any] = {}
    wrong: list[str] = []
    if "scores" in parts:
        with tempfile.TemporaryDirectory(prefix="pinisi-bench-") as folder:
            model = Path(options.model) if options.model else None
            result = measure(Path(options.data), model, options.limit, Path(folder))
        wrong += faults(result)
        print(table(result))
    if "noise" in parts:
        result["noise"] = noise.measure_noise()
        wrong += noise.noise_faults(result["noise"])
        print(noise.noise_table(result["noise"]))
    result["faults"] = wrong
    print("\n".join(f"FALLS SHORT: {fault}" for fault in wrong) or "all demands hold")
    if options.json:
        write_whole(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 1 if wrong else 0
