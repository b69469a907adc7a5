"""Fine-tuning on chats, against the Hugging Face model on each chat alone; kills, stages, and an answer that stops."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi import configure, run
from pinisi.base.errors import ConfigError, DataError, PinisiError
from pinisi.base.settings import dump
from pinisi.data.conversations.batches import ChatBatches, ChatDrawing
from pinisi.data.conversations.prepare import EncodeSettings, prepare_chats
from pinisi.data.conversations.records import ChatSource
from pinisi.data.conversations.store import ChatStore
from pinisi.models import RandomWeights, read_spec, write_folder
from pinisi.parallel import status
from pinisi.train.generate import generate
from pinisi.train.tasks import task_of
from tests.data.conftest import TEXTS
from tests.data.conversations.made import assistant, chat, hi, tokenizer, user, write_chats
from tests.effort import only_full
from tests.engine.runs import pinisi

MODEL = {
    "model_type": "qwen2",
    "vocab_size": 700,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
    "tie_word_embeddings": True,
    "eos_token_id": 3,
}
STEPS, RATE, SEQUENCE = 3, 1e-3, 96
OPTIMIZER = {"learning_rate": RATE, "schedule": "constant", "weight_decay": 0.0, "max_grad_norm": 0.0}


def made_model(folder: Path, kind: str) -> Path:
    spec = read_spec(MODEL)
    weights = RandomWeights(spec, 3)
    tensors = ((name, weights.get(name)) for name in weights.names())
    return write_folder(spec, tensors, folder / "model", tokenizer(folder / "tokenizer", kind))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return made_model(tmp_path_factory.mktemp("model"), "qwen3")


def some_chats() -> list[dict]:
    words = [word for texts in TEXTS.values() for text in texts for word in text.split()[:2]]
    return [
        chat(
            *(
                turn
                for part in range(1 + n % 3)
                for turn in (user(f"{words[n]} {part}"), assistant(" ".join(words[n : n + 1 + part])))
            ),
            language=("id", "en")[n % 2],
        )
        for n in range(13)
    ]


@pytest.fixture(scope="module")
def chats(tmp_path_factory) -> Path:
    return write_chats(tmp_path_factory.mktemp("chats") / "chats.jsonl", some_chats())


def store_of(model: Path, file: Path, room: Path, sequence: int = SEQUENCE) -> ChatStore:
    return prepare_chats(ChatSource(str(file)), EncodeSettings(str(model), sequence), room, None)


def sft(start: Path, file: Path, folder: Path, steps: int = STEPS, **sections: dict):
    made = {
        "run": {"folder": folder, "steps": steps, "seed": 5},
        "model": {"source": str(start), "dtype": "float64"},
        "data": {"sequence": SEQUENCE},
        "pipeline": {"ranks": 2, "microbatches": 4},
        "optimizer": OPTIMIZER,
        "task": {"name": "sft", "chats": str(file), "held_out": str(file)},
    }
    for name, more in sections.items():
        made[name] = {**made.get(name, {}), **more}
    return configure(**made)


def total_losses(result) -> list[float]:
    return [line["total_loss"] for line in result.metrics() if "total_loss" in line]


def one_by_one(model: Path, store: ChatStore, rows: int) -> list[float]:
    """The losses of steps of `rows` rows in one process, which reads each chat by itself."""
    learner = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    optimizer = torch.optim.AdamW(learner.parameters(), RATE, (0.9, 0.95), eps=1e-8, weight_decay=0.0)
    batches = ChatBatches({"chats": store}, ChatDrawing(sequence=store_sequence(store), batch=1, seed=5))
    losses = []
    for _ in range(STEPS):
        total, count = torch.zeros((), dtype=torch.float64), 0
        for batch in batches.step(rows):
            for document in batch.documents[0].unique():
                here = batch.documents[0] == document
                targets = batch.targets[0][here]
                kept = targets != -100
                lp = learner(batch.tokens[:, here]).logits[0].log_softmax(-1)[kept]
                total = total - lp.gather(1, targets[kept][:, None]).sum()
                count += int(kept.sum())
        loss = total / count
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def store_sequence(store: ChatStore) -> int:
    return int(store.index["settings"]["limit"])


@pytest.fixture(scope="module")
def wanted(model, chats, tmp_path_factory) -> list[float]:
    return one_by_one(model, store_of(model, chats, tmp_path_factory.mktemp("room")), 4)


@pytest.mark.parametrize(
    ("ranks", "microbatches", "batch", "replicas", "barriers"),
    [
        pytest.param(2, 4, 1, 1, 1, marks=only_full),
        (2, 1, 2, 2, 1),
        pytest.param(1, 2, 2, 1, 2, marks=only_full),
        pytest.param(3, 4, 1, 1, 0, marks=only_full),
        pytest.param(2, 2, 1, 2, 2, marks=only_full),
    ],
)
def test_chats_train_as_one_by_one_in_one_process(
    model, chats, wanted, tmp_path, ranks, microbatches, batch, replicas, barriers
) -> None:
    """Over the step's real targets, however its rows are split (transformers#34191)."""
    pipeline = {"ranks": ranks, "microbatches": microbatches, "data_parallel": replicas, "barriers": barriers}
    data = {"sequence": SEQUENCE, "microbatch_size": batch}
    result = run(sft(model, chats, tmp_path / "run", pipeline=pipeline, data=data))
    assert total_losses(result) == pytest.approx(wanted, rel=1e-9)
    assert set(result.evaluation) == {"id", "en"} and all(e["loss"] > 0 for e in result.evaluation.values())


def test_a_run_killed_within_a_step_goes_on_to_the_bit(model, chats, tmp_path) -> None:
    more = {"checkpoint": {"every": 2}, "pipeline": {"microbatches": 8}, "task": {"held_out": None}}
    whole = run(sft(model, chats, tmp_path / "whole", 8, **more))
    killer = threading.Thread(target=kill_at, args=(tmp_path / "parts", 5))
    killer.start()
    with pytest.raises(PinisiError, match="failed"):
        run(sft(model, chats, tmp_path / "parts", 8, **more))
    killer.join()
    parts = run(sft(model, chats, tmp_path / "parts", 8, **more))
    assert total_losses(parts) == total_losses(whole) and len(total_losses(whole)) == 8
    files = [
        result.export(tmp_path / name) / "model.safetensors" for name, result in (("a", whole), ("b", parts))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def kill_at(run: Path, step: int) -> None:
    """Kills a rank once it has begun that step, among its passes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = status.read(run / "status")
        if len(found) == 2 and all(entry.step >= step for entry in found.values()):
            os.kill(found[1].process, signal.SIGKILL)
            return
        time.sleep(0.001)


@pytest.mark.parametrize("kind", ["qwen3", pytest.param("gemma", marks=only_full)])
def test_an_answer_stops_after_200_chats(kind, tmp_path, alone) -> None:
    """An export whose generation_config.json didn't know the token that ends a turn ends there, too."""
    model = made_model(tmp_path, kind)
    file = write_chats(tmp_path / "hi.jsonl", [hi() for _ in range(200)])
    fast = {**OPTIMIZER, "learning_rate": 1e-2}
    config = sft(model, file, tmp_path / "run", 25, optimizer=fast, pipeline={"ranks": 1, "microbatches": 2})
    (tmp_path / "run.toml").write_text(dump(config))
    alone(str(tmp_path / "run.toml"), "model.dtype=float32", "checkpoint.every=0")
    assert pinisi("export", str(tmp_path / "run"), "--out", str(tmp_path / "out")).returncode == 0
    learner = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    store = store_of(model, file, tmp_path / "room")
    first = int(store[0].trained.argmax())
    prompt = torch.from_numpy(store[0].tokens[:first].copy())[None]
    found = learner.generate(prompt, max_new_tokens=40, do_sample=False)[0].tolist()
    length = first + int(store[0].trained.sum())
    assert found == store[0].tokens[:length].tolist()
    said = generate(tmp_path / "out", "hi", tokens=5)
    assert isinstance(said, str)


def test_nothing_left_after_truncation_is_named_and_counted(model, tmp_path) -> None:
    file = write_chats(tmp_path / "chats.jsonl", [hi(), hi()])
    task = {"too_long": "cut_end", "held_out": str(file)}
    with pytest.raises(DataError, match=r"0 of 2 chats.*2 left out: nothing left to train"):
        run(sft(model, file, tmp_path / "run", data={"sequence": 3}, task=task))


def test_two_stages_go_on_in_one_run(model, chats, tmp_path) -> None:
    """Sailor2's: all chats once, then selected ones at another rate and batch; killed between and resumed."""
    selected = write_chats(tmp_path / "best.jsonl", some_chats()[:5])
    sources = [{"name": "all", "path": str(chats)}, {"name": "best", "path": str(selected)}]
    phases = [
        {"steps": 2, "mixture": {"all": 1.0}, "learning_rate": 1e-3},
        {"steps": 3, "mixture": {"best": 1.0}, "learning_rate": 1e-4, "microbatches": 2},
    ]

    def staged(folder: str):
        return configure(
            run={"folder": tmp_path / folder, "seed": 5},
            model={"source": str(model)},
            data={"sequence": SEQUENCE},
            pipeline={"ranks": 2, "microbatches": 4},
            optimizer=OPTIMIZER,
            checkpoint={"every": 1, "keep": 9},
            task={"name": "sft", "sources": sources},
            phases=phases,
        )

    whole = run(staged("whole"))
    (tmp_path / "parts" / "checkpoints").mkdir(parents=True)
    name = "step-00000003"
    (tmp_path / "parts" / "checkpoints" / name).symlink_to(tmp_path / "whole" / "checkpoints" / name)
    parts = run(staged("parts"))
    assert total_losses(parts) == total_losses(whole)[3:] and len(total_losses(whole)) == 5


def test_other_chats_are_not_gone_on_with(model, chats, tmp_path) -> None:
    run(sft(model, chats, tmp_path / "run", 1))
    other = write_chats(tmp_path / "other.jsonl", some_chats()[1:])
    with pytest.raises(Exception, match="other"):
        run(sft(model, other, tmp_path / "run", 2))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({}, "task.chats is not set; it needs a path, or else [[task.sources]]"),
        ({"chats": "c", "sources": [{"path": "p"}]}, "needs a path, or else [[task.sources]]"),
        ({"chats": "c", "train": "some"}, "task.train"),
        (
            {"sources": [{"path": "a/x.jsonl"}, {"path": "b/x.jsonl"}]},
            "two of [[task.sources]] have the name 'x'",
        ),
    ],
)
def test_what_is_wrong_with_the_task_is_said(model, tmp_path, task, said) -> None:
    config = sft(model, tmp_path, tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        task_of(replace(config, task={"name": "sft", **task})).sources  # noqa: B018
    assert said in str(caught.value)
