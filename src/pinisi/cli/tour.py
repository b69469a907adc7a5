"""Shows everything once, on real text in fifteen languages, in some ten minutes on two cores: `pinisi demo`.

Text and tokenizer, curation, token shards, training on two ranks with the vocabulary split over both (stopped and resumed once),
evaluation per language, export, a line of generated text, and the same step run five ways side by side.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

from pinisi.base.files import write_whole
from pinisi.bench import pipeline
from pinisi.config import RunConfig, load
from pinisi.curate.run import curate
from pinisi.data import TokenShards, tokenize
from pinisi.data.sample.corpus import fetch
from pinisi.launch.run import run
from pinisi.report import write_report
from pinisi.report.files import read_run
from pinisi.train.export import export

CONFIG = """\
# Written by `pinisi demo`: a small body under a whole vocabulary, which is what vocabulary passes are for.
[run]
folder = "{run}"
steps = {steps}
name = "demo"

[model]
tokenizer = "{tokenizer}"

[model.config]
model_type = "qwen2"
vocab_size = 151936
hidden_size = 128
intermediate_size = 384
num_hidden_layers = 8
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 1024
tie_word_embeddings = true

[data]
shards = "{shards}"
evaluation = "{evaluation}"
sequence = 256
microbatch_size = 1
temperature = 0.5

[pipeline]
ranks = 2
microbatches = 4
barriers = 1

[optimizer]
learning_rate = 2e-3
warmup = {warmup}
schedule = "wsd"

[evaluation]
microbatches = 4

[report]
log_every = 10
"""
CURATION = """\
# Written by `pinisi demo`; examples/curate.toml says more.
[run]
folder = "{run}"
workers = 2

[[sources]]
path = "{text}/*.jsonl"
"""
ROWS = 151936  # Qwen2's vocabulary, with the rows that its tokenizer leaves unused
STEPS = 100


def demo(folder: Path, steps: int | None = None) -> int:
    """Works in `folder`; what an earlier call has fetched and tokenized is used again. Returns the exit code."""
    began, folder = time.monotonic(), folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _say("1/7 text in fifteen languages and a tokenizer")
    fetch(folder / "corpus", small=True)
    tokenizer = folder / "corpus" / "tokenizer"
    _say("2/7 curated: mended, judged by rules and language, deduplicated")
    curation = folder / "curate.toml"
    curation.write_text(CURATION.format(run=folder / "curated", text=folder / "corpus" / "text"))
    curate(curation)
    _say("3/7 token shards")
    tokenize(folder / "curated" / "documents", tokenizer, folder / "shards", rows=ROWS)
    tokenize(folder / "corpus" / "text" / "eval", tokenizer, folder / "shards-eval", rows=ROWS)
    run_folder = _new_run(folder)
    file = folder / "demo.toml"
    file.write_text(
        CONFIG.format(
            run=run_folder,
            steps=steps or STEPS,
            warmup=(steps or STEPS) // 10,
            tokenizer=tokenizer,
            shards=folder / "shards",
            evaluation=folder / "shards-eval",
        )
    )
    config = load(file)
    languages = len(TokenShards(folder / "shards").languages)
    _say(
        f"4/7 training on {config.pipeline.ranks} ranks, {languages} languages, V = {ROWS}; stopped half-way on purpose"
    )
    _train(config, stop=True)
    _say("the same command again resumes")
    _train(config, stop=False)
    _show_languages(run_folder)
    _say("5/7 Hugging Face folder out, and transformers in")
    _generate(export(run_folder, folder / "model"))
    _say("6/7 one step, five ways (a smaller body, the same vocabulary)")
    _compare(run_folder)
    _say("7/7 report")
    print(f"{write_report(run_folder)}\ndone in {(time.monotonic() - began) / 60:.1f} minutes")
    return 0


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _new_run(folder: Path) -> Path:
    number = 1
    while (folder / f"run-{number}").exists():
        number += 1
    return folder / f"run-{number}"


def _train(config: RunConfig, *, stop: bool) -> None:
    """Trains; with `stop`, is asked to end (as by Ctrl-C) once it is half-way."""
    done = threading.Event()
    if stop:
        threading.Thread(target=_interrupt_half_way, args=(config, done), daemon=True).start()
    try:
        run(config)
    finally:
        done.set()


def _interrupt_half_way(config: RunConfig, done: threading.Event) -> None:
    metrics = Path(config.run.folder) / "metrics.jsonl"
    while not done.wait(0.2):
        if metrics.exists() and f'"step": {config.steps // 2},' in metrics.read_text():
            os.kill(os.getpid(), signal.SIGINT)
            return


def _show_languages(run: Path) -> None:
    evaluations = read_run(run).evaluations
    before, after = evaluations[0]["evaluation"], evaluations[-1]["evaluation"]
    print("held-out loss, nats per token: untrained -> trained")
    cells = [f"{name:>4} {before[name]['loss']:6.2f} -> {after[name]['loss']:5.2f}" for name in sorted(after)]
    for at in range(0, len(cells), 3):
        print("   " + "    ".join(cells[at : at + 3]))


def _generate(model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    network = AutoModelForCausalLM.from_pretrained(model, trust_remote_code=False)
    prompt = "Semua orang dilahirkan"
    ids = tokenizer(prompt, return_tensors="pt")
    torch.manual_seed(0)
    out = network.generate(  # type: ignore[misc]  # its mixin isn't typed as one
        **ids, max_new_tokens=16, do_sample=True, top_k=20, pad_token_id=tokenizer.pad_token_id
    )
    print(f"{model} loads with transformers; from {prompt!r} it goes on: {tokenizer.decode(out[0])!r}")


def _compare(run: Path) -> None:
    setting = pipeline.BenchSetting(
        hidden=128, layers=8, vocabulary=ROWS, sequence=128, microbatches=8, rounds=3
    )
    result = pipeline.run(setting, list(pipeline.WAYS))
    print(pipeline.table(result))
    base = result["rows"][0]["seconds"]
    rows = [
        {
            "name": row["name"],
            "tokens_per_second": row["tokens_per_second"],
            "peak": row["peak_bytes"],
            "ratio": base / row["seconds"],
        }
        for row in result["rows"]
    ]
    write_whole(run / "comparison.json", json.dumps(rows))
