"""Distillation and preference pairs through `run`, against the Hugging Face model and torch's AdamW in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi import Task, configure, run
from pinisi.base.errors import ConfigError, DataError
from pinisi.data import Sampler
from pinisi.data.preferences import PairBatches, PreferencePairs
from pinisi.train.tasks import find_task, reference_to, task_of
from tests.effort import only_full
from tests.engine.runs import pinisi

STEPS, RATE = 3, 1e-3
OPTIMIZER = {"learning_rate": RATE, "schedule": "constant", "weight_decay": 0.0, "max_grad_norm": 0.0}


@pytest.fixture(scope="module")
def model(whole, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    assert pinisi("export", str(whole), "--out", str(out)).returncode == 0
    return out


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    made = [
        {"prompt": "a b " * (n % 3), "chosen": f"yes {n}", "rejected": "no " * (1 + n % 4), "language": "en"}
        for n in range(7)
    ]
    file.write_text("".join(json.dumps(pair) + "\n" for pair in made))
    return file


def loaded(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def optimized(model):
    return torch.optim.AdamW(model.parameters(), RATE, (0.9, 0.95), eps=1e-8, weight_decay=0.0)


def log_probs(model, batch, rows: slice) -> torch.Tensor:
    """log softmax [b, s, V] of rows that hold one document from their beginning."""
    return model(batch.tokens[rows]).logits.log_softmax(-1)


def answers(model, batch) -> torch.Tensor:
    """The sum of log-probabilities of each row's targets, row by row, without what stands behind them."""
    sums = []
    for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
        size = int((targets != -100).nonzero().max()) + 1
        lp = model(tokens[None, :size]).logits[0].log_softmax(-1)
        kept = targets[:size] != -100
        sums.append(lp[kept].gather(1, targets[:size][kept][:, None]).sum())
    return torch.stack(sums)


def total_losses(result) -> list[float]:
    return [line["total_loss"] for line in result.metrics() if "total_loss" in line]


@pytest.mark.parametrize("barriers", [pytest.param(0, marks=only_full), 1])
def test_preferences_train_as_in_one_process(model, pairs, tmp_path, barriers) -> None:
    config = configure(
        run={"folder": tmp_path / "run", "steps": STEPS, "seed": 5},
        model={"source": str(model), "dtype": "float64"},
        data={"sequence": 24, "microbatch_size": 2},
        pipeline={"ranks": 2, "microbatches": 2, "barriers": barriers},
        optimizer=OPTIMIZER,
        task={"name": "dpo", "pairs": str(pairs), "beta": 0.3, "held_out": str(pairs)},
    )
    result = run(config)
    assert result.whole and result.step == STEPS

    policy, reference = loaded(model), loaded(model)
    batches = PairBatches(PreferencePairs(pairs, model, 24), batch=2, seed=5)
    optimizer, losses = optimized(policy), []
    for _ in range(STEPS):
        margins = []
        for batch in batches.step(2):
            with torch.no_grad():
                before = answers(reference, batch)
            gain = answers(policy, batch) - before
            margins.append(0.3 * (gain[0::2] - gain[1::2]))
        loss = -torch.nn.functional.logsigmoid(torch.cat(margins)).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert total_losses(result) == pytest.approx(losses, rel=1e-9)
    assert losses[0] == pytest.approx(0.6931471805599453, rel=1e-12)  # nothing learned yet: log 2
    assert result.evaluation["en"]["tokens"] == 7 and result.evaluation["en"]["margin"] > 0


def test_distillation_trains_as_in_one_process(model, project, tmp_path) -> None:
    student = json.loads((model / "config.json").read_text()) | {"num_hidden_layers": 2}
    student.pop("layer_types", None)
    small = configure(
        run={"folder": tmp_path / "small", "steps": 1},
        model={"config": student, "tokenizer": str(model), "dtype": "float64"},
        data={"shards": str(project / "shards"), "sequence": 16},
        pipeline={"ranks": 2, "microbatches": 2},
        optimizer={"learning_rate": 1e-9},
    )
    start = run(small).export(tmp_path / "start")
    config = configure(
        run={"folder": tmp_path / "run", "steps": STEPS, "seed": 5},
        model={"source": str(start), "dtype": "float64"},
        data={"shards": str(project / "shards"), "sequence": 16, "microbatch_size": 2},
        pipeline={"ranks": 2, "microbatches": 2},
        optimizer=OPTIMIZER,
        task={"name": "distill", "teacher": str(model), "share": 0.4},
    )
    result = run(config)

    learner, teacher, losses = loaded(start), loaded(model), []
    sampler, optimizer = Sampler(project / "shards", sequence=16, batch=2, seed=5), optimized(learner)
    for _ in range(STEPS):
        total, count = 0.0, 0
        for batch in sampler.step(2):
            for row in range(2):
                for document in batch.documents[row].unique():
                    at = batch.documents[row] == document
                    tokens, targets = batch.tokens[row][at], batch.targets[row][at]
                    kept = targets != -100
                    lp = learner(tokens[None]).logits[0].log_softmax(-1)[kept]
                    with torch.no_grad():
                        wanted = teacher(tokens[None]).logits[0].log_softmax(-1)[kept]
                    nll = -lp.gather(1, targets[kept][:, None]).squeeze(1)
                    divergence = (wanted.exp() * (wanted - lp)).sum(1)
                    total = total + (0.6 * nll + 0.4 * divergence).sum()
                    count += int(kept.sum())
        loss = total / count
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert total_losses(result) == pytest.approx(losses, rel=1e-9)


def test_a_run_of_pairs_resumes_to_the_bit(model, pairs, tmp_path) -> None:
    def config(folder: str, steps: int):
        return configure(
            run={"folder": tmp_path / folder, "steps": steps},
            model={"source": str(model)},
            data={"sequence": 24},
            pipeline={"ranks": 2, "microbatches": 3},
            optimizer=OPTIMIZER,
            task={"name": "dpo", "pairs": str(pairs)},
        )

    whole_run = run(config("whole", 5))  # 15 of 7 pairs: over two ends of an epoch
    run(config("parts", 2))
    assert total_losses(run(config("parts", 5))) == total_losses(whole_run)


def test_the_reference_is_the_model_that_the_run_starts_from(model, whole, pairs, tmp_path) -> None:
    config = configure(
        run={"folder": tmp_path / "run", "steps": 1, "start": whole / "checkpoints" / "step-00000002"},
        model={"source": str(model), "dtype": "float64"},
        data={"sequence": 24},
        pipeline={"ranks": 2, "microbatches": 2},
        optimizer=OPTIMIZER,
        task={"name": "dpo", "pairs": str(pairs)},
    )
    assert total_losses(run(config)) == pytest.approx([0.6931471805599453], rel=1e-12)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            {"name": "dop"},
            "task.name is 'dop'; there are pretrain, distill, dpo, sft, prefer; the nearest is 'dpo'",
        ),
        ({"name": "dpo"}, "required key 'task.pairs' is missing"),
        (
            {"name": "dpo", "pairs": "p", "betta": 1},
            "unknown key 'task.betta'; the nearest valid key is 'task.beta'",
        ),
        ({"name": "dpo", "pairs": "p", "beta": 0}, "task.beta is 0.0; it needs a finite number above 0"),
        ({"name": "distill", "teacher": "t", "share": 2}, "task.share is 2.0; it needs a number from 0 to 1"),
        ({"name": "pretrain", "beta": 1}, "unknown key 'task.beta'"),
    ],
)
def test_what_is_wrong_with_a_task_is_said(tmp_path, task, said) -> None:
    config = configure(
        run={"folder": tmp_path / "run", "steps": 1},
        model={"config": {"model_type": "qwen2"}},
        data={"sequence": 8},
        pipeline={"ranks": 2, "microbatches": 2},
        optimizer={"learning_rate": 1},
        task=task,
    )
    with pytest.raises(ConfigError) as caught:
        task_of(config)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "pairs.jsonl:2 is no JSON"),
        ('{"prompt": "a", "chosen": "b"}', "pairs.jsonl:2 needs the text 'rejected', got NoneType"),
        ('{"prompt": [], "chosen": "b", "rejected": "c"}', "pairs.jsonl:2 needs the text 'prompt', got list"),
        ('{"prompt": "a", "chosen": "", "rejected": "c"}', "pairs.jsonl:2 has an empty 'chosen'"),
        ("[1]", "pairs.jsonl:2 needs the text 'prompt', got list"),
    ],
)
def test_a_line_that_is_no_pair_is_named(model, tmp_path, line, said) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        PreferencePairs(file, model, 24)
    assert said in str(caught.value)


def test_pairs_that_are_too_long_are_left_out_and_counted(model, tmp_path) -> None:
    file = tmp_path / "pairs.jsonl"
    short, long = ({"prompt": "a", "chosen": "b" * n, "rejected": "c d e f"} for n in (1, 200))
    file.write_text("".join(json.dumps(pair) + "\n" for pair in (short, long, short)))
    said: list[str] = []
    pairs = PreferencePairs(file, model, 24, said.append)
    assert len(pairs.pairs) == 2 and "1 of 3 pairs are longer than data.sequence = 24" in said[0]
    file.write_text(json.dumps(long) + "\n")
    with pytest.raises(DataError, match="holds no pair of at most 24 tokens"):
        PreferencePairs(file, model, 24)


class Own(Task):
    """A task that does nothing."""


def test_a_class_is_found_again_by_its_reference(tmp_path) -> None:
    assert find_task(reference_to(Own)) is Own
    file = tmp_path / "mine.py"
    file.write_text("from pinisi import Pretrain\nclass Mine(Pretrain):\n    pass\nclass Other:\n    pass\n")
    assert find_task(f"{file}:Mine").__name__ == "Mine"
    for reference in (
        f"{file}:Other",
        f"{file}:None_",
        f"{tmp_path}/none.py:Mine",
        "no.such.module:Mine",
        "x",
    ):
        with pytest.raises(ConfigError, match=r"can't be loaded|is no task"):
            find_task(reference)

    class Inner(Task):
        pass

    with pytest.raises(ConfigError, match="define it at the top of a file"):
        reference_to(Inner)
