"""Work of passes and rows, as a run counts them, against the planner's counting."""

from __future__ import annotations

import pytest

from pinisi.config import load
from pinisi.costs import Setting, model_flops, shape_of
from pinisi.models import read_spec
from pinisi.schedule import layout_of
from pinisi.train.planned import planned, split_rows, work_costs
from pinisi.vocabulary import Shards
from tests.engine.runs import CONFIG
from tests.models.tiny import tiny_config


@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("name", ["1f1b", "v-half"])
def test_all_work_is_the_models(name: str, barriers: int) -> None:
    """Passes of all ranks are the model's FLOPs in units of a layer's forward."""
    spec, sequence = read_spec(tiny_config("qwen2", num_hidden_layers=7, vocab_size=1013)), 48
    layout = layout_of(name, 3, barriers=barriers)
    sizes = [3, 2, 2] if name == "1f1b" else [2, 1, 1, 1, 1, 1, 0]
    starts = [sum(sizes[:s]) for s in range(layout.last_stage + 1)]
    layers = [range(start, start + size) for start, size in zip(starts, sizes, strict=False)]
    costs = work_costs(spec, layout, layers, Shards.even(1013, 3), sequence)
    shape = shape_of(spec)
    none = model_flops(shape, Setting(sequence)) - model_flops(
        shape_of(read_spec(tiny_config("qwen2", num_hidden_layers=6, vocab_size=1013))), Setting(sequence)
    )
    small = (
        3 * 2 * costs.at("embedding_forward", 0) if barriers else 0.0
    )  # E and G, that no FLOP is counted for
    whole = 3 * model_flops(shape, Setting(sequence)) / none
    assert sum(costs.work(layout)) == pytest.approx(whole + small, rel=1e-9)


def test_balanced_rows_even_out_the_layers() -> None:
    spec, sequence = read_spec(tiny_config("qwen2", num_hidden_layers=7, vocab_size=10_007)), 48
    layout = layout_of("1f1b", 3, barriers=1)
    layers = [range(0, 3), range(3, 5), range(5, 7)]
    rows = split_rows(spec, "balanced", layers, sequence)
    work = work_costs(spec, layout, layers, rows, sequence).work(layout)
    assert max(work) - min(work) < 2e-3 * max(work) and rows.size(0) < rows.size(1)


def test_layers_of_two_stages_a_rank(tmp_path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    config = load(path, ["pipeline.name=v-half", "pipeline.layers=[1, 1, 2, 0]"])
    schedule, layers, _ = planned(config, read_spec(config.model.config))
    assert schedule.layout.last_stage == 3 and [len(r) for r in layers] == [1, 1, 2, 0]
