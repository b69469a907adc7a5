"""Preference pairs through `run`, against the Hugging Face model on each answer alone; kills, and what is refused."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi import configure, run
from pinisi.base.errors import CheckpointError, ConfigError, DataError, PinisiError
from pinisi.data.conversations.encode import MaskRule
from pinisi.data.conversations.pair_batches import PairDrawing, StoredPairBatches
from pinisi.data.conversations.prepare import EncodeSettings, prepare_chats
from pinisi.data.conversations.records import ChatSource
from pinisi.data.conversations.store import INDEX, ChatStore
from pinisi.models import RandomWeights, read_spec, write_folder
from pinisi.train.reference_sums import ReferenceSums
from pinisi.train.tasks import task_of
from tests.effort import only_full
from tests.losses.formulas import SETTINGS, plain_loss
from tests.train.test_sft import MODEL, OPTIMIZER, RATE, STEPS, kill_at, made_model, total_losses

SEQUENCE, BETA, BATCH = 96, 0.3, 4


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return made_model(tmp_path_factory.mktemp("model"), "qwen3")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    made = [
        {
            "prompt": f"say {n}" + " please" * (n % 3),
            "chosen": "yes " * (1 + n % 3) + str(n),
            "rejected": "no " * (1 + n % 4),
            "language": "id" if n < 3 else "en",
        }
        for n in range(11)
    ]
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in made))
    return file


def prefer(start: Path, pairs: Path, folder: Path, steps: int = STEPS, **sections: dict):
    task = {"name": "prefer", "pairs": str(pairs), "settings": {"beta": BETA, **SETTINGS["lr_dpo"]}}
    made = {
        "run": {"folder": folder, "steps": steps, "seed": 5},
        "model": {"source": str(start), "dtype": "float64"},
        "data": {"sequence": SEQUENCE, "microbatch_size": 2},
        "pipeline": {"ranks": 2, "microbatches": 2},
        "optimizer": OPTIMIZER,
        "task": task,
    }
    for name, more in sections.items():
        made[name] = {**made.get(name, {}), **more}
    return configure(**made)


def stored(folder: Path) -> ChatStore:
    (index,) = (path for path in folder.glob(f"pairs/pairs-*/{INDEX}"))
    return ChatStore(index.parent)


def sums(model, store: ChatStore, number: int) -> tuple[torch.Tensor, int]:
    """The sum of log-probabilities of an answer by itself, and how many tokens it has."""
    answer = store[number]
    tokens, trained = torch.from_numpy(answer.tokens)[None], torch.from_numpy(answer.trained[1:])
    lp = model(tokens).logits[0, :-1].log_softmax(-1).gather(1, tokens[0, 1:, None]).squeeze(1)
    return lp[trained].sum(), int(trained.sum())


def one_by_one(model: Path, store: ChatStore, name: str) -> list[float]:
    """The losses of steps of BATCH pairs in one process, which reads each answer by itself."""
    policy, reference = (
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval() for _ in range(2)
    )
    optimizer = torch.optim.AdamW(policy.parameters(), RATE, (0.9, 0.95), eps=1e-8, weight_decay=0.0)
    batches, losses = StoredPairBatches(store, PairDrawing(SEQUENCE, BATCH, 5)), []
    for _ in range(STEPS):
        loss = torch.zeros((), dtype=torch.float64)
        for pair in batches.step(1)[0].loss_data["pairs"].tolist():
            ours, sizes = zip(*(sums(policy, store, 2 * pair + side) for side in (0, 1)), strict=True)
            with torch.no_grad():
                theirs = [sums(reference, store, 2 * pair + side)[0].item() for side in (0, 1)]
            loss = loss + plain_loss(name, *ours, theirs, sizes, BETA) / BATCH
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


@pytest.fixture(scope="module")
def first(model, pairs, tmp_path_factory):
    """A run of a few steps, saved at each."""
    folder = tmp_path_factory.mktemp("first") / "run"
    checkpoint = {"every": 1, "keep": 9}
    return run(prefer(model, pairs, folder, checkpoint=checkpoint, task={"held_out": str(pairs)}))


def test_pairs_train_as_one_by_one_in_one_process(model, first) -> None:
    wanted = one_by_one(model, stored(first.folder), "lr_dpo")
    assert total_losses(first) == pytest.approx(wanted, rel=1e-9)
    measures = [line["measures"] for line in first.metrics() if "measures" in line]
    assert measures[0]["margin"] == pytest.approx(0, abs=1e-9) and measures[-1]["margin"] > 0.01
    store = stored(first.folder)
    trained = [int(chat.trained.sum()) for chat in store]
    batches = StoredPairBatches(store, PairDrawing(SEQUENCE, BATCH, 5))
    for each in measures:
        pairs = batches.step(1)[0].loss_data["pairs"].tolist()
        for side, key in enumerate(("chosen_tokens", "rejected_tokens")):
            assert each[key] == pytest.approx(sum(trained[2 * n + side] for n in pairs) / BATCH)
    judged = first.evaluation
    assert judged["id"]["tokens"] == 3 and judged["en"]["tokens"] == 8
    assert judged["id"]["accuracy"] > 0.5 and judged["id"]["kl"] != 0
    losses = [line["evaluation"]["id"]["loss"] for line in first.metrics() if "evaluation" in line]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"pipeline": {"ranks": 1, "microbatches": 1, "data_parallel": 2}}, "lr_dpo"),
        pytest.param({"task": {"stored": False}}, "lr_dpo", marks=only_full),
        pytest.param({"pipeline": {"ranks": 3, "microbatches": 2, "barriers": 0}}, "lr_dpo", marks=only_full),
        pytest.param({"pipeline": {"ranks": 2, "microbatches": 1, "barriers": 2, "data_parallel": 2}}, "dpo", marks=only_full),
        pytest.param({"task": {"packing": False}}, "ln_dpo", marks=only_full),
        pytest.param({}, "simpo", marks=only_full),
    ],
)  # fmt: skip
def test_it_is_the_same_however_it_is_split(model, pairs, tmp_path, more, name) -> None:
    task = {"loss": name, "settings": {"beta": BETA, **SETTINGS[name]}, **more.get("task", {})}
    result = run(prefer(model, pairs, tmp_path / "run", **{**more, "task": task}))
    assert total_losses(result) == pytest.approx(one_by_one(model, stored(result.folder), name), rel=1e-9)
    kept = list((tmp_path / "run" / "pairs").glob("reference-*"))
    assert bool(kept) == (name != "simpo" and task.get("stored", True))


def test_a_run_goes_on_to_the_bit_and_keeps_the_reference(model, pairs, first, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(first.folder, folder)
    for path in (folder / "checkpoints").glob("step-0000000[23]"):
        shutil.rmtree(path)
    (kept,) = folder.glob("pairs/reference-*/sums.bin")
    before = kept.stat().st_mtime_ns
    checkpoint = {"every": 1, "keep": 9}
    again = run(prefer(model, pairs, folder, checkpoint=checkpoint, task={"held_out": str(pairs)}))
    assert total_losses(again) == total_losses(first)
    assert kept.stat().st_mtime_ns == before
    files = [
        result.export(tmp_path / name) / "model.safetensors" for name, result in (("a", first), ("b", again))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@only_full
def test_a_run_killed_within_a_step_goes_on_to_the_bit(model, pairs, tmp_path) -> None:
    more = {"checkpoint": {"every": 2}, "pipeline": {"microbatches": 8}}
    whole = run(prefer(model, pairs, tmp_path / "whole", 8, **more))
    killer = threading.Thread(target=kill_at, args=(tmp_path / "parts", 5))
    killer.start()
    with pytest.raises(PinisiError, match="failed"):
        run(prefer(model, pairs, tmp_path / "parts", 8, **more))
    killer.join()
    parts = run(prefer(model, pairs, tmp_path / "parts", 8, **more))
    assert total_losses(parts) == total_losses(whole) and len(total_losses(whole)) == 8


def test_another_model_or_other_pairs_are_not_gone_on_with(model, pairs, first, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(first.folder, folder)
    other = tmp_path / "model"
    shutil.copytree(model, other)
    spec = read_spec(MODEL)
    weights = RandomWeights(spec, 4)
    new = write_folder(spec, ((n, weights.get(n)) for n in weights.names()), tmp_path / "new", model)
    shutil.copy(new / "model.safetensors", other / "model.safetensors")
    with pytest.raises((CheckpointError, DataError), match="other"):
        run(prefer(other, pairs, folder, STEPS + 1))
    fewer = tmp_path / "pairs.jsonl"
    fewer.write_text("".join(pairs.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises((CheckpointError, DataError), match="other"):
        run(prefer(model, fewer, folder, STEPS + 1))


def test_sums_are_kept_by_model_pairs_and_dtype(first, tmp_path) -> None:
    store = stored(first.folder)
    kept = ReferenceSums(tmp_path, store, "model", "float32")
    sums = np.arange(len(store), dtype=np.float64)
    kept.write(sums)
    assert np.array_equal(kept.read(), sums)
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    settings = EncodeSettings(store.index["settings"]["tokenizer"], SEQUENCE, MaskRule("last"), record="pair")
    other = prepare_chats(ChatSource(str(fewer)), settings, tmp_path, None)
    for changed in (
        ReferenceSums(tmp_path, other, "model", "float32"),
        ReferenceSums(tmp_path, store, "another", "float32"),
        ReferenceSums(tmp_path, store, "model", "bfloat16"),
    ):
        assert changed.read() is None and changed.folder != kept.folder


def test_earlier_answers_of_a_pair_are_not_trained(model, tmp_path) -> None:
    said = [{"role": role, "content": "ab"} for role in ("user", "assistant", "user")]
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"prompt": said, "chosen": "yes", "rejected": "no"}) + "\n")
    task = task_of(prefer(model, file, tmp_path / "run"))
    for chat in task.store(SEQUENCE):  # type: ignore[attr-defined]
        first = int(chat.trained.argmax())
        assert chat.trained[first : first + int(chat.trained.sum())].all()


@only_full
def test_damaged_sums_are_made_again(model, pairs, first, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(first.folder / "pairs", folder / "pairs")
    (kept,) = folder.glob("pairs/reference-*/sums.bin")
    right = kept.read_bytes()
    kept.write_bytes(right[:-8] + b"\0" * 8)
    result = run(prefer(model, pairs, folder))
    assert total_losses(result) == total_losses(first) and kept.read_bytes() == right


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"loss": "drpo"}, 'task.loss is "drpo"; it needs one of dpo, ln_dpo, lr_dpo, simpo'),
        ({"settings": {"alhpa": 1.0}}, "the loss 'lr_dpo' has no setting 'alhpa'; the nearest is 'alpha'"),
        ({"settings": {"beta": 0.0}}, "beta of a preference loss must be a finite number above 0"),
        ({"too_long": "drop_turns"}, "task.too_long"),
        ({"pairs": ""}, "task.pairs"),
    ],
)
def test_what_is_wrong_with_the_task_is_said(model, pairs, tmp_path, task, said) -> None:
    config = prefer(model, pairs, tmp_path / "run", task=task)
    with pytest.raises(ConfigError) as caught:
        task_of(config).pair_loss  # type: ignore[attr-defined]  # noqa: B018
    assert said in str(caught.value)


def test_a_loss_of_next_tokens_is_not_added(model, pairs, tmp_path) -> None:
    with pytest.raises(ConfigError, match="leave \\[loss\\] out"):
        run(prefer(model, pairs, tmp_path / "run", loss={"z_loss": 0.1}))
