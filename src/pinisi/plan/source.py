"""Reads what CONFIG of `pinisi plan` is, and makes the configuration of a run that a row of a plan stands for."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Any

from pinisi import config as configuration
from pinisi.base import settings
from pinisi.base.errors import ConfigError, ModelError
from pinisi.config import RunConfig
from pinisi.costs.presets import preset, preset_names
from pinisi.costs.work import Setting
from pinisi.models import ModelSpec, read_spec, with_extra_heads
from pinisi.models.folder import json_object
from pinisi.plan.candidates import Candidate, Request
from pinisi.plan.run_presets import run_preset, run_preset_names


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """What CONFIG turned out to be; run is None unless it is a Pinisi TOML."""

    name: str
    spec: ModelSpec
    run: RunConfig | None
    model: dict[str, Any]  # of [model] in a configuration that is written


def read_source(text: str, extra_heads: int | None = None) -> ModelSource:
    """A Pinisi TOML, a Hugging Face config.json or folder, or a preset's name; raises ConfigError for anything else.

    extra_heads: how many the model is to have; the TOML's, or none, if left out."""
    source = _read(text)
    heads = extra_heads if extra_heads is not None else source.run.loss.extra_heads if source.run else 0
    run = source.run
    if run is not None:
        run = dataclasses.replace(run, loss=dataclasses.replace(run.loss, extra_heads=heads))
    return dataclasses.replace(source, spec=with_extra_heads(source.spec, heads), run=run)


def _read(text: str) -> ModelSource:
    path = Path(text)
    if path.suffix == ".toml":
        run = configuration.load(path)
        model = dataclasses.asdict(run.model)
        named = run.model.source or run.model.config or {}
        spec = read_spec(named, attention=run.model.attention, strict=True)
        return ModelSource(path.stem, spec, run, model)
    if path.is_dir():
        return ModelSource(path.name, read_spec(path), None, {"source": str(path)})
    if path.suffix == ".json":
        try:
            given = json_object(path.read_text(encoding="utf-8"), path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} can't be read as a Hugging Face config: {error}") from None
        return ModelSource(path.parent.name or path.stem, read_spec(given), None, {"config": given})
    values = preset(text)
    if values is None:
        return _of_hub(text)
    if text.lower() in run_preset_names():
        run = run_preset(text.lower())
        return ModelSource(text.lower(), read_spec(values, attention=run.model.attention), run, {})
    return ModelSource(text.lower(), read_spec(values), None, {"config": values})


def _of_hub(text: str) -> ModelSource:
    """A model on the hub, of which config.json alone is read. Raises ConfigError with the presets, which need no network."""
    near = difflib.get_close_matches(text.rpartition("/")[2].lower(), preset_names(), n=1, cutoff=0.6)
    instead = f"the nearest preset is {near[0]}, of " if near else "presets are "
    instead += ", ".join(preset_names())
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", text) or Path(text).suffix in (".toml", ".json"):
        raise ConfigError(f"'{text}' is no TOML file, config.json, model folder or preset: {instead}")
    try:
        return ModelSource(text.rpartition("/")[2].lower(), read_spec(text), None, {"source": text})
    except ModelError as error:
        raise ConfigError(f"{error} Without the network, give a preset or a config.json: {instead}") from None


def run_config(
    source: ModelSource, request: Request, c: Candidate, shards: str, table: str | None = None
) -> str:
    """TOML of a run as the candidate has it: CONFIG's own with another [pipeline], or a new one.

    table: the file with its order of passes, where that is not the schedule's own.
    """
    setting = request.setting
    if setting.dtype == "float16":
        raise ConfigError(
            "nothing was written: training runs in bfloat16, float32 or float64, not in float16: give --dtype"
        )
    dtype: Any = setting.dtype
    barriers: Any = c.barriers
    pipeline = configuration.PipelineSection(
        ranks=c.ranks,
        data_parallel=c.replicas,
        microbatches=c.microbatches,
        name=c.name,
        chunks=c.chunks if c.chunks > 2 else None,
        barriers=barriers,
        layers=list(c.layers),
        rows="even" if c.rows_split == "even" else list(c.rows),
        table=table,
    )
    head = configuration.head_text(setting.head_budget)
    memory = configuration.MemorySection(
        activation_checkpointing="full" if c.recompute else "none", head=head
    )
    optimizer: dict[str, Any] = {"sharded": request.sharded, "moments": setting.moments}
    run = _own_run(source, setting, pipeline) or _new_run(source, setting, shards)
    run = dataclasses.replace(
        run,
        model=dataclasses.replace(run.model, dtype=dtype),
        pipeline=pipeline,
        optimizer=dataclasses.replace(run.optimizer, **optimizer),
        memory=memory,
    )
    settings.validate(run)
    return settings.dump(settings.absolute(run))


def _own_run(
    source: ModelSource, setting: Setting, pipeline: configuration.PipelineSection
) -> RunConfig | None:
    """CONFIG's run with microbatches as planned and phases whose steps stay as large; None where CONFIG is a model."""
    if source.run is None:
        return None
    data = dataclasses.replace(source.run.data, sequence=setting.sequence, microbatch_size=setting.microbatch)
    phases = [_same_step(source.run, number, pipeline, data) for number in range(len(source.run.phases))]
    return dataclasses.replace(source.run, data=data, pipeline=pipeline, phases=phases)


def _new_run(source: ModelSource, setting: Setting, shards: str) -> RunConfig:
    """A first run of a model, its folder in the working folder, as shards are."""
    return RunConfig(
        run=configuration.RunSection(folder=f"runs/{source.name}", steps=1000),
        model=configuration.ModelSection(**source.model),
        data=configuration.DataSection(
            shards=shards, sequence=setting.sequence, microbatch_size=setting.microbatch
        ),
        pipeline=configuration.PipelineSection(ranks=1, microbatches=1),
        optimizer=configuration.OptimizerSection(learning_rate=3e-4, warmup=100),
        loss=configuration.LossSection(extra_heads=source.spec.extra_heads),
    )


def _same_step(
    run: RunConfig, number: int, pipeline: configuration.PipelineSection, data: configuration.DataSection
) -> configuration.PhaseSection:
    """A phase whose step has as many sequences as before, where it says a number of microbatches of its own."""
    phase = run.phases[number]
    if phase.microbatches is None:
        return phase
    before = phase.microbatches * (run.pipeline.data_parallel or 1)
    copies = pipeline.data_parallel or 1
    if phase.microbatch_size is None:
        before, copies = before * run.data.microbatch_size, copies * data.microbatch_size
    if before % copies:
        raise ConfigError(
            f"nothing was written: the step of phases[{number}], {before} sequences, can't be shared out by {copies}: choose a "
            "row with another number of copies (--explain ROW), or give the phase other microbatches"
        )
    return dataclasses.replace(phase, microbatches=before // copies)
