"""Norms of gradients by stage: of two ranks, against the gradients of one process, layer by layer."""

from __future__ import annotations

import json
import math

import pytest

from pinisi.config import load
from pinisi.train.trainer import Trainer
from tests.distributed.pool import free_port
from tests.engine.runs import pinisi

MORE = ("run.steps=2", "data.evaluation=none", "optimizer.schedule=constant", "report.live=0")


@pytest.fixture
def squares(project, monkeypatch, tmp_path) -> dict[str, float]:
    """By tensor, of the first step of one rank, straight from its buffers."""
    found: dict[str, float] = {}

    class Looking(Trainer):
        def _build(self) -> None:
            super()._build()
            update = self.engine.update

            def looked(result, rate):
                if not found:
                    found.update(
                        {s.name: float(s.gradient.double().square().sum()) for s in self.engine.slots}
                    )
                return update(result, rate)

            self.engine.update = looked

    more = ("pipeline.ranks=1", f"run.folder={tmp_path}/one")
    given = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with monkeypatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        assert Looking(load(project / "config.toml", [*MORE, *more])).run().whole
    return found


@pytest.mark.parametrize(
    ("more", "layers"),
    [
        (("pipeline.layers=[1,3]",), [1, 3]),
        (("pipeline.name=interleaved-1f1b", "pipeline.microbatches=4"), [1, 1, 1, 1]),
        (
            (
                "pipeline.ranks=1",
                "pipeline.data_parallel=2",
                "optimizer.sharded=true",
                "pipeline.microbatches=3",
            ),
            [4],
        ),
    ],
)
def test_each_stages_norm_is_that_of_its_tensors(project, tmp_path, squares, more, layers) -> None:
    run = tmp_path / "run"
    done = pinisi("train", str(project / "config.toml"), *MORE, *more, f"run.folder={run}")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    line = next(line for line in lines if "loss" in line)
    norms = line["gradient_norms"]
    assert list(norms) == [*(f"stage {n}" for n in range(len(layers))), "ends"]
    assert math.hypot(*norms.values()) == pytest.approx(line["gradient_norm"], rel=1e-9)
    if "pipeline.microbatches=4" in more or "optimizer.sharded=true" in more:
        return  # other microbatches than those of one process
    first = 0
    for stage, count in enumerate(layers):
        names = tuple(f"model.layers.{layer}." for layer in range(first, first + count))
        wanted = sum(value for name, value in squares.items() if name.startswith(names))
        assert norms[f"stage {stage}"] == pytest.approx(math.sqrt(wanted), rel=1e-4)
        first += count
    rest = sum(value for name, value in squares.items() if not name.startswith("model.layers."))
    assert norms["ends"] == pytest.approx(math.sqrt(rest), rel=1e-4)
