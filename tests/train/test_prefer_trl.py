"""Preference losses against TRL's on the same model, reference and pairs: DPO, and SimPO, which TRL has right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi import run
from pinisi.data import load_tokenizer
from pinisi.models import RandomWeights, read_spec, write_folder
from tests.effort import only_full
from tests.train.test_prefer import prefer
from tests.train.test_sft import MODEL, made_model, total_losses

COUNT, RATE = 6, 1e-3
LIMIT = 1e-5  # TRL computes in fp32


def moved(folder: Path, model: Path) -> Path:
    """The same model a little off, as a reference."""
    spec = read_spec(MODEL)
    weights, own = RandomWeights(spec, 9), RandomWeights(spec, 3)
    tensors = ((name, own.get(name) + 0.05 * weights.get(name)) for name in weights.names())
    return write_folder(spec, tensors, folder, model)


@only_full
@pytest.mark.parametrize("name", ["dpo", "simpo"])
def test_the_first_step_is_trls(name, tmp_path) -> None:
    pytest.importorskip("trl")
    from datasets import Dataset

    model = made_model(tmp_path, "llama")
    reference = moved(tmp_path / "reference", model)
    turns = [
        {
            "prompt": [{"role": "user", "content": f"say {n}"}],
            "chosen": [{"role": "assistant", "content": "yes " * (1 + n % 3) + str(n)}],
            "rejected": [{"role": "assistant", "content": "no" + " no" * (n % 4)}],
        }
        for n in range(COUNT)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in turns))
    settings = {"beta": 0.3} if name == "dpo" else {"beta": 2.0, "gamma": 0.7}
    result = run(
        prefer(
            model,
            file,
            tmp_path / "run",
            1,
            model={"dtype": "float32"},
            data={"sequence": 96, "microbatch_size": COUNT // 2},
            optimizer={"learning_rate": RATE},
            task={"loss": name, "settings": settings, "reference": str(reference)},
        )
    )
    theirs, norm = trl_step(name, model, reference, Dataset.from_list(turns), tmp_path / "trl", settings)
    assert total_losses(result) == pytest.approx([theirs], rel=LIMIT)
    (norms,) = [line["gradient_norm"] for line in result.metrics() if "total_loss" in line]
    assert norms == pytest.approx(norm, rel=10 * LIMIT)


def trl_step(name, model, reference, data, folder, settings) -> tuple[float, float]:
    """TRL's loss of all pairs in one batch, and the norm of its gradient."""
    learner = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tokenizer = load_tokenizer(model)
    tokenizer.pad_token = tokenizer.eos_token
    common = {
        "output_dir": str(folder),
        "per_device_train_batch_size": COUNT,
        "beta": settings["beta"],
        "max_length": 96,
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "gradient_checkpointing": False,
    }
    if name == "dpo":
        from trl import DPOConfig, DPOTrainer

        frozen = AutoModelForCausalLM.from_pretrained(reference, dtype=torch.float32)
        trainer = DPOTrainer(
            learner, frozen, args=DPOConfig(**common), train_dataset=data, processing_class=tokenizer
        )
    else:
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        more = {"loss_type": "simpo", "simpo_gamma": settings["gamma"], "cpo_alpha": 0.0}
        trainer = CPOTrainer(
            learner, args=CPOConfig(**common, **more), train_dataset=data, processing_class=tokenizer
        )
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    loss.backward()
    norm = torch.sqrt(
        sum(p.grad.double().square().sum() for p in trainer.model.parameters() if p.grad is not None)
    )
    return loss.item(), norm.item()
