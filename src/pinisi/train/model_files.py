"""Keeps the files that an export writes beside the weights, so that it needs nothing but the run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.base.files import new_folder
from pinisi.config import RunConfig
from pinisi.data import load_tokenizer
from pinisi.models import ModelSpec, Published, copy_companions, read_spec, tokenizer_files
from pinisi.models.folder import json_object
from pinisi.train import checkpoint
from pinisi.train.adapters import adapted_spec

COMPANIONS = "companions"  # in the run's folder: the tokenizer's files and the source's licences
IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def tokenizer_of(config: RunConfig, spec: ModelSpec) -> str | None:
    """Returns the tokenizer's folder: the one named, else the source's own, a folder or a hub id, if it has one."""
    if config.model.tokenizer is not None:
        return config.model.tokenizer
    folder = spec.published.folder if spec.published is not None else None
    return str(folder) if folder is not None and tokenizer_files(folder) else None


def keep_companions(run: Path, tokenizer: str | None, spec: ModelSpec) -> None:
    """Copies what goes along with the model into the run's folder; on resuming, what has changed. Raises ConfigError."""
    source = spec.published.folder if spec.published is not None else None
    if tokenizer is None and source is None:
        return
    try:
        with new_folder(run / COMPANIONS) as new:
            copy_companions(Path(tokenizer) if tokenizer else None, source, new)
    except OSError as error:
        raise ConfigError(f"the tokenizer's files can't be copied from {tokenizer}: {error}") from None


def files_of(
    spec: ModelSpec,
    tokenizer: str | None,
    given: dict[str, Any] | None = None,
    end: int | None = None,
    stops: Sequence[int] = (),
) -> dict[str, Any]:
    """Returns what a checkpoint's index keeps for the export: optional keys, which older checkpoints don't have.

    given: the configuration of a random start, as its user wrote it. end: the token that ends documents in training. stops: those
    that are trained to end an answer.
    """
    state: dict[str, Any] = {"tokenizer": os.path.abspath(tokenizer) if tokenizer else None}
    if spec.published is not None:
        generation = with_stops(spec.published, stops)
        return state | {"published": {"config": spec.published.config, "generation": generation}}
    return state | token_ids(given or {}, dict(spec.generation), tokenizer, end, stops)


def with_stops(published: Published, stops: Sequence[int]) -> str | None:
    """Returns a model's generation_config.json, as it is where it names these tokens among those that end generation, else with
    them behind its own."""
    text = published.generation
    config = json_object(published.config, "config.json")
    given = {key: config[key] for key in IDS if config.get(key) is not None}
    if text is not None:
        given = json_object(text, "generation_config.json")
    named = given.get("eos_token_id", config.get("eos_token_id"))
    known = named if isinstance(named, list) else [named] if named is not None else []
    missing = [stop for stop in stops if stop not in known]
    if not missing:
        return text
    return json.dumps({**given, "eos_token_id": [*known, *missing]}, indent=2) + "\n"


def token_ids(
    given: dict[str, Any],
    generation: dict[str, Any],
    tokenizer: str | None,
    end: int | None,
    stops: Sequence[int] = (),
) -> dict[str, Any]:
    """Returns, of a random start, what generation_config.json says, and the ids that config.json lacks.

    Generation ends with the tokenizer's own end token, with the one that ends documents in training, and with those that end
    answers (stops). config.json gets a padding token only if it is a token of its own: its row of the embedding doesn't learn.
    """
    found: dict[str, Any] = {
        "eos_token_id": end if not stops else [n for n in (end, *stops) if n is not None]
    }
    if tokenizer is not None:
        loaded = load_tokenizer(tokenizer)
        ends = list(dict.fromkeys(n for n in (loaded.eos_token_id, end, *stops) if n is not None))
        found = {
            "bos_token_id": loaded.bos_token_id,
            "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
            "pad_token_id": loaded.pad_token_id,
        }
    found = {key: value for key, value in found.items() if value is not None}
    found |= {key: given[key] for key in IDS if given.get(key) is not None}
    eos = found.get("eos_token_id")
    ends = eos if isinstance(eos, list) else [eos]
    absent = {
        key: found.get(key)
        for key in IDS
        if key not in given and (key != "pad_token_id" or found.get(key, ends[0]) not in ends)
    }
    return {"generation": generation | found, "token_ids": absent}


def spec_to_export(reader: checkpoint.Reader, run: Path) -> tuple[ModelSpec, Path | None]:
    """Returns the model of a checkpoint with the files that go along with it, and the folder of its tokenizer."""
    kept: Path | None = run / COMPANIONS
    kept = kept if kept is not None and kept.is_dir() else None
    recorded = reader.index.get("tokenizer")
    tokenizer = kept if kept is not None and tokenizer_files(kept) else Path(recorded) if recorded else None
    published = reader.index.get("published")
    if published is None:
        spec = adapted_spec(reader, read_spec(reader.index["config"]))
        ids, generation = (reader.index.get(key) or {} for key in ("token_ids", "generation"))
        return replace(spec, token_ids=ids, generation=generation), tokenizer
    spec = adapted_spec(
        reader, read_spec(json_object(published["config"], f"config.json in {reader.folder}"))
    )
    files = Published(published["config"], published["generation"], kept)
    return replace(spec, published=files, generation={}), tokenizer
