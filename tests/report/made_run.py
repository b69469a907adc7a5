"""A run's folder made up with realistic files, for the report's tests."""

import json
import math
import random
from pathlib import Path

from pinisi.schedule import Costs, Timeline, build, simulate
from pinisi.schedule.timeline import Span

LANGUAGES = ["ban", "ceb", "fil", "id", "jv", "km", "lo", "min", "ms", "my", "su", "ta", "th", "vi", "zh"]
CONFIG = """\
[run]
folder = "runs/demo"
steps = {steps}
seed = 0
name = "Demo <fifteen> & more"

[model]
dtype = "float32"

[model.config]
model_type = "qwen2"
vocab_size = 151936
hidden_size = 128
num_hidden_layers = 8

[data]
shards = "work/shards"
sequence = 256

[data.mixture]
id = 1.0
vi = 0.5

[pipeline]
name = "1f1b"
ranks = {ranks}
microbatches = {microbatches}
barriers = {barriers}

[optimizer]
learning_rate = 0.001
betas = [0.9, 0.95]
"""


def training_line(step: int, rng: random.Random) -> dict:
    loss = 3.2 + 8.6 * math.exp(-step / 60) + rng.gauss(0, 0.05)
    losses = {name: loss + 0.4 * math.sin(at) + rng.gauss(0, 0.08) for at, name in enumerate(LANGUAGES)}
    seconds = abs(rng.gauss(0.9, 0.03))
    return {
        "step": step,
        "loss": loss,
        "tokens": 2048,
        "seconds": seconds,
        "tokens_per_second": 2048 / seconds,
        "learning_rate": 1e-3,
        "gradient_norm": abs(rng.gauss(1, 0.2)),
        "gradient_norms": {name: abs(rng.gauss(0.5, 0.1)) for name in ("stage 0", "stage 1", "ends")},
        "losses": losses,
        "measures": measures(step),
    }


def measures(step: int) -> dict:
    """Of pairs of answers."""
    margin = 4 * (1 - math.exp(-step / 40))
    return {
        "margin": margin,
        "accuracy": 0.5 + margin / 10,
        "chosen_log_ratio": margin / 3,
        "rejected_log_ratio": -2 * margin / 3,
        "chosen_tokens": 120.5,
        "rejected_tokens": 80.25,
        "kl": margin / 100,
    }


def evaluation_line(step: int) -> dict:
    loss = 3.4 + 8.4 * math.exp(-step / 60)
    entries = {
        name: {"loss": loss + 0.4 * math.sin(at), "tokens": 4001 + 13 * at, "bytes": 17003 + 997 * at}
        for at, name in enumerate(LANGUAGES)
    }
    standing = {
        name: {
            "language": name,
            "worse": 0.03 * math.sin(at) * step / 150,
            "noise": 0.004,
            "since": 0,
            "alarm": at == 1 and step == 150,
        }
        for at, name in enumerate(LANGUAGES)
    }
    return {"step": step, "evaluation": entries, **({"standing": standing} if step else {})}


def components_line(step: int) -> dict:
    each = {
        name: {"tokens": 997 * step * (at + 1), "epochs": step * 0.01, "bytes": 3001 * step * (at + 1)}
        for at, name in enumerate(LANGUAGES)
    }
    return {"step": step, "components": each}


def tasks_line(step: int) -> dict:
    share = 0.5 + 0.2 * step / 150
    scores = {"accuracy": [share, share - 0.1, share + 0.1], "accuracy_per_byte": [share, share - 0.2, share]}
    names = {f"xcopa-{name}": name for name in LANGUAGES[:4]} | {
        "a task with quite a long name of its own": "th"
    }
    tasks = {n: {"language": l, "items": 100, "chance": 0.5, "scores": scores} for n, l in names.items()}
    return {"step": step, "tasks": tasks}


def jittered(timeline: Timeline, rng: random.Random) -> Timeline:
    """As a machine would run it: everything a little later and longer, and the clock not at zero."""

    def moved(span: Span) -> Span:
        start = 0.35 + span.start * 1.03
        return Span(span.pass_, start, start + (span.end - span.start) * rng.uniform(0.97, 1.03))

    return Timeline(timeline.schedule, tuple(tuple(map(moved, rank)) for rank in timeline.spans))


def make_run(
    folder: Path, *, ranks: int = 2, microbatches: int = 7, barriers: int = 1, steps: int = 150
) -> Path:
    rng = random.Random(ranks)
    folder.mkdir(parents=True, exist_ok=True)
    plan = dict(steps=steps, ranks=ranks, microbatches=microbatches, barriers=barriers)
    (folder / "config.toml").write_text(CONFIG.format(**plan))
    lines = [evaluation_line(0), tasks_line(0), components_line(0)]
    for step in range(1, steps + 1):
        lines.append(training_line(step, rng))
        if step % 50 == 0:
            lines += [evaluation_line(step), tasks_line(step), components_line(step)]
    if steps > 90:
        why = "the loss is 9.0000, 12.3 units of noise above 4.0000, the median of 64 steps before"
        lines.append({"step": 80, "rewind": {"step": 91, "back_to": 80, "why": why}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    schedule = build("1f1b", ranks, microbatches, barriers=barriers)
    costs = Costs(
        0.02,
        0.02,
        0.02,
        0.012,
        0.008,
        0.001,
        0.001,
        p2p=0.0005,
        c0=0.001,
        c1=0.001,
        u=0.001,
        embedding=0.0005,
    )
    predicted = simulate(schedule, costs)
    timeline = {
        "step": steps - 1,
        "schedule": schedule.to_text(),
        "predicted": predicted.to_dict(),
        "measured": jittered(predicted, rng).to_dict(),
    }
    (folder / "timeline.json").write_text(json.dumps(timeline))
    (folder / "memory.json").write_text(
        json.dumps({"ranks": [memory_of(rank, ranks) for rank in range(ranks)]})
    )
    peaks = [int(1.1e9 / ranks)] * ranks
    rows = [
        {
            "name": "torch 1F1B",
            "tokens_per_second": 1570.5,
            "peak": [int(4e8), *peaks[1:-1], int(9.1e8)],
            "ratio": 1.0,
        },
        {"name": "0 barriers", "tokens_per_second": 1581.25, "peak": peaks, "ratio": 1.007},
        {"name": "1 barrier", "tokens_per_second": 2301.75, "peak": peaks, "ratio": 1.466},
    ]
    (folder / "comparison.json").write_text(json.dumps({"rows": rows}))
    return folder


def memory_of(rank: int, ranks: int) -> dict:
    parts = {
        "parameters": 161_000_000 // ranks + 1_000_003 * rank,
        "gradients": 161_000_000 // ranks,
        "optimizer": 322_000_000 // ranks,
        "vocabulary buffers": 148_000_000 // ranks,
        "activations and messages": 40_000_000 * (ranks - rank) // ranks + 30_000_000,
    }
    return {"rank": rank, "parts": parts, "peak": sum(parts.values()) + 2_000_000}
