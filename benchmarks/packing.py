"""How even attention's work is over microbatches and replicas, before and after balancing:
python benchmarks/packing.py TEXT_FOLDER TOKENIZER_FOLDER [--steps 30] [--json FILE].

Work is counted from the documents of real microbatches, token by token, as balance.py states it, for a hidden size of
896 (Qwen2.5 0.5B) and 4096 (8B), and of attention alone. `microbatch`: the costliest of a step over the step's mean, which
a pipeline waits for; `replica`: the costliest replica's sum over the mean. Both are means over the steps; `limit` is what
no assignment of the same rows can beat: the costliest row with the cheapest others, or 1.
"""

import argparse
import json
import platform
import tempfile
import time
from itertools import chain
from pathlib import Path
from statistics import mean

import torch

from pinisi.data import Microbatch, Sampler, TokenShards, tokenize
from pinisi.data.balance import LINEAR_PER_HIDDEN

HIDDEN = (896, 4096)
SETTINGS = (  # sequence, rows a microbatch, microbatches, replicas
    (1024, 4, 8, 1),
    (4096, 1, 16, 1),
    (4096, 1, 16, 4),
    (4096, 2, 16, 1),
    (4096, 4, 8, 4),
    (8192, 1, 8, 4),
    (8192, 4, 8, 2),
)


def squares(microbatch: Microbatch) -> list[int]:
    """Σ l² of each row."""
    return [int((row.unique(return_counts=True)[1] ** 2).sum()) for row in microbatch.documents]


def drawn(
    shards: TokenShards, setting: tuple[int, int, int, int], steps: int, balance: bool
) -> tuple[list, float]:
    """[steps][replicas][microbatches][rows] of Σ l², and the seconds that a replica's step took."""
    sequence, batch, microbatches, replicas = setting
    samplers = [
        Sampler(
            shards,
            sequence=sequence,
            batch=batch,
            seed=1,
            temperature=2.0,
            data_rank=rank,
            data_ranks=replicas,
            balance=balance,
        )
        for rank in range(replicas)
    ]
    found, seconds = [], 0.0
    for _ in range(steps):
        clock = time.perf_counter()
        batches = [sampler.step(microbatches) for sampler in samplers]
        seconds += time.perf_counter() - clock
        found.append([[squares(m) for m in of_replica] for of_replica in batches])
    return found, seconds / steps / replicas


def uneven(step: list, linear: float) -> dict[str, float]:
    """Costliest over mean, of microbatches and of replicas; linear: what a row costs besides Σ l²."""
    costs = [[sum(row + linear for row in rows) for rows in replica] for replica in step]
    all_costs = list(chain(*costs))
    rows = sorted(chain(*chain(*step)))
    batch = len(step[0][0])
    least = sum(rows[: batch - 1]) + rows[-1] + batch * linear
    return {
        "microbatch": max(all_costs) / mean(all_costs),
        "replica": max(map(sum, costs)) / mean(map(sum, costs)),
        "limit": max(1.0, least / mean(all_costs)),
    }


def row_of(shards: TokenShards, setting: tuple[int, int, int, int], steps: int) -> dict:
    sequence = setting[0]
    names = ("sequence", "rows", "microbatches", "replicas")
    result: dict = dict(zip(names, setting, strict=True), steps=steps)
    for name, balance in (("before", False), ("after", True)):
        found, seconds = drawn(shards, setting, steps, balance)
        result[f"seconds_a_step_{name}"] = seconds
        for hidden in (*HIDDEN, None):
            linear = sequence * LINEAR_PER_HIDDEN * hidden if hidden else 0.0
            each = [uneven(step, linear) for step in found]
            what = f"hidden {hidden}" if hidden else "attention alone"
            result.setdefault(what, {})[name] = {key: mean(e[key] for e in each) for key in each[0]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tokenize(options.text, options.tokenizer, Path(folder) / "shards")
        shards = TokenShards(Path(folder) / "shards")
        rows = [row_of(shards, setting, options.steps) for setting in SETTINGS]
    print("costliest / mean             microbatch            replica")
    for row in rows:
        print(f"s {row['sequence']}, {row['rows']} x {row['microbatches']} x {row['replicas']}")
        for what in (*(f"hidden {hidden}" for hidden in HIDDEN), "attention alone"):
            before, after = row[what]["before"], row[what]["after"]
            print(
                f"  {what:16} {before['microbatch']:7.3f} -> {after['microbatch']:.3f} "
                f"(limit {after['limit']:.3f}) {before['replica']:7.3f} -> {after['replica']:.3f}"
            )
        print(f"  a step: {row['seconds_a_step_before']:.4f} -> {row['seconds_a_step_after']:.4f} s")
    if options.json:
        content = {"machine": platform.machine(), "rows": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
