"""The runs that are shipped: what their numbers come to, how they are planned, and a small one of each that trains."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pinisi.base.errors import ConfigError
from pinisi.cli import main
from pinisi.config import load
from pinisi.cookbook.expand import PRESETS, ExpandOptions, expand_model
from pinisi.costs.presets import preset
from pinisi.data import tokenize
from pinisi.models import parameter_shapes, read_spec
from pinisi.plan.run_presets import run_preset, run_preset_names, run_preset_text
from pinisi.plan.source import read_source
from pinisi.train.phases import phases_of
from tests.cookbook.made_models import tiny_model
from tests.data.conftest import TEXTS, write_corpus
from tests.effort import only_full
from tests.engine.runs import losses, pinisi

NAMES = ("sailor2-1b", "sailor2-8b", "sailor2-20b")
SMALL = {  # what stands in the file: what a small run has
    "sequence = 4096": "sequence = 24",
    "microbatches = 1024": "microbatches = 2",
    "microbatches = 4096": "microbatches = 4",
    "steps = 107_288": "steps = 1",
    "steps = 3_576": "steps = 1",
    "warmup = 500": "warmup = 1",
    "ranks = 8": "ranks = 2",
    'dtype = "bfloat16"': 'dtype = "float32"',
}


def test_names_are_those_of_the_expansions() -> None:
    assert tuple(run_preset_names()) == NAMES == tuple(PRESETS)
    with pytest.raises(ConfigError, match="nearest is 'sailor2-1b'"):
        run_preset_text("sailor-1b")


@pytest.mark.parametrize("name", NAMES)
def test_numbers_come_to_what_the_report_says(name, tmp_path) -> None:
    (tmp_path / "run.toml").write_text(run_preset_text(name))
    config = load(tmp_path / "run.toml")
    broad, fine = phases_of(config)
    for phase, tokens, sequences, rate, warmup in (
        (broad, 450e9, 1024, 1e-4, 500),
        (fine, 60e9, 4096, 1e-5, 0),
    ):
        assert phase.microbatches * phase.data.microbatch_size == sequences
        assert phase.steps * sequences * phase.data.sequence == pytest.approx(tokens, rel=2e-4)
        assert (phase.optimizer.learning_rate, phase.optimizer.warmup) == (rate, warmup)
        assert {phase.learning_rate(phase.start + step) for step in (warmup, phase.steps - 1)} == {rate}
        o = phase.optimizer
        assert (o.betas, o.eps, o.weight_decay, phase.data.sequence) == ((0.9, 0.95), 1e-5, 0.01, 4096)
    assert config.model.dtype == "bfloat16" and Path(config.model.source) == tmp_path / f"runs/{name}-start"
    weights = broad.data.mixture, fine.data.mixture
    assert sum(weights[0].values()) == pytest.approx(450)
    replay = {key: value for key, value in weights[1].items() if key.startswith("broad")}
    assert sum(replay.values()) == pytest.approx(10, abs=0.01)
    assert all(replay[key] == pytest.approx(10 * weights[0][key] / 450, abs=1e-3) for key in replay)
    assert sum(weights[1].values()) == pytest.approx(58.26, abs=0.01)
    assert set(weights[0]) | set(weights[1]) == {each.name for each in config.data.components}
    assert len({each.language for each in config.data.components}) == 15
    assert preset(name)["rope_theta"] == 1e6


def test_they_differ_in_the_model_alone() -> None:
    def without(name: str) -> list[str]:
        text = re.sub(r"[ \t]*#.*", "", run_preset_text(name))
        return text.replace(name, "NAME").splitlines()

    assert without(NAMES[0]) == without(NAMES[1]) == without(NAMES[2])


def test_each_number_has_its_source() -> None:
    for name in NAMES:
        lines = run_preset_text(name).splitlines()
        head = lines[: lines.index("[[phases]]")]
        given = [
            line for line in head if re.match(r"\w+ = [\d\[\"t]", line) and not line.startswith("folder")
        ]
        assert len(given) > 12 and all(re.search(r"\[[4c?]\]", line) for line in given), given


def test_the_command_prints_what_train_takes(tmp_path, capsys) -> None:
    assert main(["preset"]) == 0 and capsys.readouterr().out.split() == list(NAMES)
    assert main(["preset", "sailor2-8b"]) == 0
    said = capsys.readouterr().out
    written = tmp_path / "run.toml"
    assert main(["preset", "sailor2-8b", "--out", str(written)]) == 0 and written.read_text() == said
    assert main(["preset", "sailor2-1b", "--out", str(written)]) == 2 and written.read_text() == said
    assert load(tmp_path / "run.toml").run.folder == str(tmp_path / "runs/sailor2-8b")
    assert main(["preset", "sailor2"]) == 2 and "sailor2-1b" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_plan_knows_the_run_before_its_model_is_there(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = read_source(name)
    assert source.run == run_preset(name) and source.run.run.folder == str(tmp_path / f"runs/{name}")
    assert parameter_shapes(source.spec) == parameter_shapes(read_spec(preset(name)))


def test_a_written_plan_keeps_the_steps_sequences(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--ranks", "8", "--replicas", "4", "--schedules", "1f1b", "--barriers", "1", "--seconds", "1"]
    assert main(["plan", "sailor2-1b", *options, "--write", "run.toml"]) == 0
    config = load("run.toml")
    assert (config.pipeline.ranks, config.pipeline.data_parallel) == (2, 4)
    assert [phase.microbatches for phase in phases_of(config)] == [256, 1024]
    assert config.phases[1] == replace(run_preset("sailor2-1b").phases[1], microbatches=1024)
    assert config.data == run_preset("sailor2-1b").data


def test_a_step_that_cannot_be_shared_out_is_said(tmp_path) -> None:
    from pinisi.plan.source import _same_step

    run = run_preset("sailor2-1b")
    pipeline = replace(run.pipeline, data_parallel=3)
    with pytest.raises(ConfigError, match=r"phases\[1\], 4096 sequences, can't be shared out by 3"):
        _same_step(run, 1, pipeline, run.data)
    wider = replace(run.data, microbatch_size=2)
    assert _same_step(run, 1, replace(pipeline, data_parallel=2), wider).microbatches == 1024
    assert _same_step(run, 0, pipeline, run.data).microbatches is None


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """Shards of all fifteen languages under the three names that the presets read."""
    folder = tmp_path_factory.mktemp("preset-text")
    tiny_model(folder / "model", "qwen2", "qwen", tied=True, num_hidden_layers=1, layer_types=None)
    languages = [f"{each.language}" for each in run_preset("sailor2-1b").data.components]
    texts = {language: 4 * TEXTS.get(language, TEXTS["id"]) for language in languages}
    write_corpus(folder / "text", texts)
    for name in ("broad", "top", "instructions"):
        tokenize(folder / "text", folder / "model", folder / f"runs/shards-{name}", report=lambda line: None)
    return folder


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(name, marks=only_full) for name in NAMES[1:])])
def test_a_small_one_trains_through_both_phases(name, text, tmp_path) -> None:
    chosen = PRESETS[name]
    small = tiny_model(
        tmp_path / "small", "qwen2", "qwen", tied=name == "sailor2-1b", num_hidden_layers=chosen.base_layers,
        use_sliding_window=False, layer_types=None,
    )  # fmt: skip
    start = tmp_path / f"runs/{name}-start"
    expand_model(
        small, start, ExpandOptions(chosen.options.layers, chosen.options.ends), report=lambda line: None
    )
    for shards in (text / "runs").iterdir():
        (tmp_path / "runs" / shards.name).symlink_to(shards)
    changed = run_preset_text(name)
    for before, after in SMALL.items():
        assert changed.count(before) == 1, before
        changed = changed.replace(before, after)
    (tmp_path / "run.toml").write_text(changed)
    done = pinisi("train", str(tmp_path / "run.toml"))
    assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path / f"runs/{name}")) == 2
