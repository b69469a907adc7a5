"""Times fine-tuning on chats of which 80 % are prompts, beside a head that sees every token, and beside TRL's SFTTrainer.

Demands, written down before anything was measured, for a model whose head weighs as much as its layers (by matrix products):
- [C] loss and gradient's norm with and without prompts in the head agree to 1e-5 (fp32);
- [F] per sample a whole step (gradients and update) is at least 1.5 times as fast with prompts left out of the head as with the
  head on every token, prompts weighing 0 there: on two ranks, the median of ratios of rounds in which both have their turn;
- [C] one process, the same model and batch, row by row: loss and every parameter's gradient agree with those of TRL's SFTTrainer to
  1e-5 (fp32);
- [T] there, too: seconds a step at most, and peak memory at most, those of TRL's.
The last two are measured where trl is installed. In each seed tokens and first weights are drawn anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.base.libraries import library
from pinisi.bench import processes
from pinisi.bench.peak import peak_bytes
from pinisi.bench.pipeline import Bench, BenchSetting, head_work
from pinisi.data.batches import Microbatch
from pinisi.engine.engine import Engine
from pinisi.models import RandomWeights

SEEDS = (0, 1, 2)
PROMPT = 0.8  # share of a chat's tokens
FASTER, ALIKE = 1.5, 1e-5
RATE = 1e-4
ROWS, BESIDE_ROWS = 16, 2  # samples of a step, and of one beside TRL


def setting_of(ranks: int, rounds: int) -> BenchSetting:
    """Returns a model of which the head weighs as much as the layers; of one rank, the setting beside TRL.

    Small models aren't one: at h = 256 layers take nearly twice as long as the head for as many products. Nor are few samples: with
    8 on two ranks a ninth of a step is spent waiting for the first and the last.
    """
    setting = BenchSetting(
        ranks=ranks,
        hidden=768,
        layers=2,
        vocabulary=2**12,
        sequence=1024,
        microbatches=ROWS if ranks > 1 else BESIDE_ROWS,
        rounds=rounds,
    )
    rows = round(setting.vocabulary * setting.layers / head_work(setting))
    return replace(setting, vocabulary=64 * round(rows / 64))


def with_prompts(batch: Sequence[Microbatch], *, in_head: bool) -> list[Microbatch]:
    """Returns microbatches whose first tokens are a prompt: without targets, or with targets that weigh nothing."""
    found = []
    for each in batch:
        answer = torch.zeros(each.targets.shape, dtype=torch.bool)
        answer[:, round(PROMPT * answer.shape[1]) :] = True
        if in_head:
            found.append(replace(each, weights=answer.double()))
        else:
            found.append(replace(each, targets=torch.where(answer, each.targets, IGNORE)))
    return found


def one_step(engine: Engine, batch: Sequence[Microbatch]) -> tuple[float, float, float]:
    """Takes a step; returns its seconds, its loss and the gradient's norm."""
    dist.barrier()
    start = time.perf_counter()
    result = engine.gradients(batch)
    norm = engine.update(result, RATE)
    dist.barrier()
    return time.perf_counter() - start, result.loss, norm


def measure(setting: BenchSetting, seed: int) -> dict[str, Any]:
    """On each rank what was found; equal on all."""
    bench = Bench(setting, seed)
    engine = bench.engine("1")
    batches = {
        way: with_prompts(bench.batch, in_head=way == "every token") for way in ("answers", "every token")
    }
    # both from the first weights: the second step's loss would follow from the first one's update
    first = {}
    for way, batch in batches.items():
        result = engine.gradients(batch)
        first[way] = (result.loss, result.squared_norm**0.5)
        if len(first) < len(batches):
            engine.skip()
    engine.update(result, RATE)  # untimed, as the gradients before: they pay for memory and kernels
    seconds: dict[str, list[float]] = {way: [] for way in batches}
    for round_ in range(setting.rounds):
        for way in sorted(batches, reverse=bool(round_ % 2)):
            seconds[way].append(one_step(engine, batches[way])[0])
    ratios = [b / a for a, b in zip(seconds["answers"], seconds["every token"], strict=True)]
    pairs = list(zip(first["answers"], first["every token"], strict=True))
    return {
        "seed": seed,
        "head_layers": head_work(setting),
        "seconds": {way: median(found) for way, found in seconds.items()},
        "ratio": median(ratios),
        "ratios": ratios,
        "apart": max(abs(a - b) / abs(b) for a, b in pairs),
    }


def measure_beside_trl(setting: BenchSetting, seed: int) -> dict[str, Any] | None:
    """In one process: how far apart loss and gradients are, then by turns seconds and peak bytes of our step and of TRL's; None
    where trl isn't installed."""
    try:
        library("trl", "bench")
    except DataError:
        return None
    bench = Bench(setting, seed)
    engine = bench.engine("1")
    whole = with_prompts(bench.batch, in_head=False)
    with tempfile.TemporaryDirectory() as folder:
        theirs = TrlSide(bench, whole, Path(folder))
        losses = {"ours": engine.gradients(whole).loss, "trl": theirs.gradients()}
        error, where = worst_apart({slot.name: slot.gradient for slot in engine.slots}, theirs.found())
        engine.skip()
        theirs.forget()
        steps: dict[str, Callable[[], Any]] = {"ours": lambda: one_step(engine, whole), "trl": theirs.step}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for round_ in range(setting.rounds + 1):
            for name in sorted(steps, reverse=bool(round_ % 2)):
                start = time.perf_counter()
                steps[name]()
                if round_:
                    seconds[name].append(time.perf_counter() - start)
        peaks = {name: peak_bytes(step, torch.device("cpu")) for name, step in steps.items()}
    return {
        "seed": seed,
        "losses": losses,
        "gradients_apart": error,
        "where": where,
        "seconds": {name: median(found) for name, found in seconds.items()},
        "peak": peaks,
    }


def worst_apart(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> tuple[float, str]:
    """Returns the largest relative difference of a parameter's gradient, and which parameter's it is."""
    if ours.keys() != theirs.keys():
        return float("inf"), f"names differ: {sorted(ours.keys() ^ theirs.keys())[:3]}"
    return max(
        (float((ours[name].view_as(grad) - grad).norm() / grad.norm()), name) for name, grad in theirs.items()
    )


class TrlSide:
    """Trains with TRL's trainer on the same rows, one after the other, from the same weights."""

    def __init__(self, bench: Bench, batch: Sequence[Microbatch], folder: Path) -> None:
        from tokenizers import Tokenizer, models
        from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

        trl, datasets = library("trl", "bench"), library("datasets", "bench")
        model: Any = AutoModelForCausalLM.from_config(bench.spec.config, dtype=torch.float32)
        weights = RandomWeights(bench.spec, bench.seed, torch.float32)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights.get(name))
        words = Tokenizer(models.WordLevel({"<pad>": 0}, "<pad>"))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<pad>")
        arguments = trl.SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=1,
            learning_rate=RATE,
            weight_decay=0.1,
            max_length=None,
            gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        )
        data = datasets.Dataset.from_list([_row(each) for each in batch])
        self.trainer = trl.SFTTrainer(
            model=model, args=arguments, train_dataset=data, processing_class=tokenizer
        )
        self.trainer.create_optimizer()
        self.model = self.trainer.model.train()
        self.given = list(self.trainer.get_train_dataloader())
        self.targets = torch.tensor(sum(int((each["labels"] != IGNORE).sum()) for each in self.given))

    def gradients(self) -> float:
        """Adds the gradients of all rows; returns the loss over their targets."""
        losses = (
            self.trainer.training_step(self.model, dict(each), num_items_in_batch=self.targets)
            for each in self.given
        )
        return sum(float(loss) for loss in losses)

    def found(self) -> dict[str, torch.Tensor]:
        """Returns the gradients by parameter."""
        return {name: parameter.grad for name, parameter in self.model.named_parameters()}

    def forget(self) -> None:
        self.model.zero_grad()

    def step(self) -> None:
        """Takes a whole step: gradients, their norm clipped, and the update."""
        self.gradients()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.trainer.optimizer.step()
        self.forget()


def _row(batch: Microbatch) -> dict[str, list[int]]:
    """A row with its labels as transformers has them: a token's own, not the next one's."""
    tokens, targets = batch.tokens[0].tolist(), batch.targets[0].tolist()
    # the last target has no place of its own: it is one more token
    return {"input_ids": [*tokens, targets[-1]], "labels": [IGNORE, *targets]}


def faults_of(rows: Sequence[dict[str, Any]], beside: Sequence[dict[str, Any] | None] = ()) -> list[str]:
    """Returns what falls short of a demand that gates."""
    found = []
    for row in rows:
        if not row["apart"] <= ALIKE:
            found.append(f"[C] seed {row['seed']}: loss or norm differ by {row['apart']:.1e}")
        if not row["ratio"] >= FASTER:
            found.append(
                f"[F] seed {row['seed']}: {row['ratio']:.2f} times as fast as with the head on every token"
            )
    for each in beside:
        if each is None:
            continue
        loss = abs(each["losses"]["ours"] / each["losses"]["trl"] - 1)
        if not max(loss, each["gradients_apart"]) <= ALIKE:
            found.append(
                f"[C] seed {each['seed']}: TRL's loss differs by {loss:.1e}, its gradient of {each['where']} by "
                f"{each['gradients_apart']:.1e}"
            )
    return found


def line_of(row: dict[str, Any]) -> str:
    """Returns what was found with one seed, as a line of text."""
    each = {way: seconds / ROWS * 1e3 for way, seconds in row["seconds"].items()}
    return (
        f"seed {row['seed']}  {each['answers']:.0f} ms a sample with prompts left out of the head, {each['every token']:.0f} with "
        f"every token in it: {row['ratio']:.2f} times as fast (rounds: {min(row['ratios']):.2f} to {max(row['ratios']):.2f}); "
        f"apart by {row['apart']:.1e}"
    )


def line_beside(found: dict[str, Any] | None) -> str:
    """Returns what was found beside TRL, as a line of text."""
    if found is None:
        return "not measured beside TRL: trl is not installed (pip install trl)"
    seconds, peak = found["seconds"], found["peak"]
    return (
        f"seed {found['seed']}  [T] one process: {seconds['ours']:.2f} s a step, TRL {seconds['trl']:.2f} s; peak "
        f"{peak['ours'] / 2**20:.0f} MiB, TRL {peak['trl'] / 2**20:.0f} MiB; losses {found['losses']['ours']:.5f}, "
        f"{found['losses']['trl']:.5f}, gradients apart by {found['gradients_apart']:.1e}"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pinisi bench prompt-heavy", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--rounds", type=int, default=3, help="in which each way has its turn (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="write what was found to this file")
    parser.add_argument("--beside-trl", action="store_true", help=argparse.SUPPRESS)
    processes.add_argument(parser)
    options = parser.parse_args(list(arguments))
    setting = setting_of(1 if options.beside_trl else 2, options.rounds)
    if processes.is_rank(options):
        work = measure_beside_trl if options.beside_trl else measure
        return processes.work_as_rank(options, lambda: work(setting, options.seeds[0]))
    print(
        f"h = {setting.hidden}, {setting.layers} layers, V = {setting.vocabulary:,}: the head weighs "
        f"{head_work(setting):.2f} layers; {ROWS} samples of {setting.sequence} tokens ({BESIDE_ROWS} beside TRL), "
        f"{PROMPT:.0%} of them prompts, fp32, one thread a process"
    )
    rows, beside = [], []
    for seed in options.seeds:
        given = ["--seeds", str(seed), "--rounds", str(options.rounds)]
        rows.append(processes.measured("prompt-heavy", given, 2))
        print(line_of(rows[-1]), flush=True)
        beside.append(processes.measured("prompt-heavy", [*given, "--beside-trl"], 1))
        print(line_beside(beside[-1]), flush=True)
    wrong = faults_of(rows, beside)
    print("\n".join(f"FALLS SHORT: {fault}" for fault in wrong) or "all demands hold")
    result = {"setting": vars(setting), "rows": rows, "beside_trl": beside, "faults": wrong}
    processes.write_json(options.json, json.loads(json.dumps(result)))
    return 1 if wrong else 0
