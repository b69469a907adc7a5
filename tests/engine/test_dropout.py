"""Seeds of what is dropped, and a run with dropout that is stopped and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pinisi.engine.dropout import Dropout
from pinisi.models import RandomWeights, build_stage, read_spec, with_extra_heads
from pinisi.models.stage import _seeded
from tests.engine.runs import losses
from tests.models.tiny import tiny_config


def test_every_microbatch_of_every_update_has_a_seed_of_its_own():
    ours, other = Dropout(1, None), Dropout(2, None)
    seeds = [*ours.seeds(0, 3), *ours.seeds(0, 3), *ours.seeds(1, 3), *other.seeds(0, 3)]
    assert len(set(seeds)) == 12  # the second three: further gradients before the same update
    assert Dropout(1, None).seeds(0, 6) == seeds[:6]
    assert ours.seeds(2, 2) == Dropout(1, None).seeds(2, 2)


def test_replicas_take_the_seeds_in_turn():
    first, second = Dropout(5, None), Dropout(5, None)
    for replica, each in enumerate((first, second)):
        each.replica, each.replicas = replica, 2
    dealt = [seed for pair in zip(first.seeds(3, 2), second.seeds(3, 2), strict=True) for seed in pair]
    assert dealt == Dropout(5, None).seeds(3, 4)


def test_layers_draw_their_own_numbers_and_leave_the_generator_alone():
    def drawn(seed: int, index: int) -> float:
        with _seeded(seed, index, torch.device("cpu")):
            return torch.rand(()).item()

    before = torch.get_rng_state()
    numbers = [drawn(seed, index) for seed in (3, 4) for index in range(3)]
    assert len(set(numbers)) == 6 and drawn(4, 2) == numbers[-1]
    assert torch.equal(torch.get_rng_state(), before)


def test_extra_heads_drop_otherwise_than_the_last_layer():
    spec = with_extra_heads(read_spec(tiny_config("llama")), 2)
    stage = build_stage(spec, range(3, 4), RandomWeights(spec, 0), extra_heads=True)
    assert [layer.index for layer in (*stage.layers, *stage.heads)] == [3, 4, 5]


def test_a_resumed_run_drops_what_it_would_have_dropped(project, tmp_path, alone):
    """Losses of steps 3 and 4, bit for bit, after a stop behind step 2; other than without dropout."""
    config = str(project / "config.toml")
    rest = ("pipeline.ranks=1", "data.evaluation=none", "optimizer.schedule=constant")

    def run(name: str, steps: int, p: float) -> dict[int, float]:
        folder = Path(tmp_path / name)
        alone(
            config, f"run.folder={folder}", f"run.steps={steps}", f"model.config.attention_dropout={p}", *rest
        )
        return losses(folder)

    whole, plain = run("whole", 4, 0.2), run("plain", 4, 0.0)
    stopped = run("stopped", 2, 0.2)
    assert run("stopped", 4, 0.2) == whole
    assert stopped == {step: whole[step] for step in (1, 2)}
    assert all(abs(whole[step] - plain[step]) > 1e-6 for step in whole)


def test_an_evaluation_drops_nothing(project, tmp_path, alone):
    """The untrained model's losses by language are those of the model without dropout."""
    found = []
    for p in (0.3, 0.0):
        folder = Path(tmp_path / str(p))
        more = ("pipeline.ranks=1", "run.steps=1", f"model.config.attention_dropout={p}", "run.seed=3")
        alone(str(project / "config.toml"), f"run.folder={folder}", *more)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        found.append([line for line in lines if line["step"] == 0])
    assert "evaluation" in str(found[0]) and len(found[0]) == 1
    assert found[0][0]["evaluation"] == found[1][0]["evaluation"]
