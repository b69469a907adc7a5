"""Cuts and adds rows of the matrices that a vocabulary has: embedding, head and the head's bias, tied or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models.folder import Published, json_object
from pinisi.models.spec import ModelSpec, read_spec, vocabulary_names
from pinisi.models.surgery.start_rows import STARTS, Start, StartFacts, start_rows
from pinisi.models.weights import FolderWeights

ALWAYS = ("bos_token_id", "eos_token_id", "pad_token_id")  # which a config has by default, too
SUFFIXES = ("_token_id", "_token_ids", "_token_index")
LISTS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "forced_decoder_ids", "force_words_ids")
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def configured_ids(spec: ModelSpec) -> set[int]:
    """The ids of tokens that config.json and generation_config.json name, the config's defaults included."""
    found: set[int] = set()
    for values in _configs(spec):
        renumbered(values, lambda id: found.add(id) or id)  # type: ignore[func-returns-value]
    return {id for id in found if 0 <= id < spec.vocabulary}


def _configs(spec: ModelSpec) -> Iterator[dict[str, Any]]:
    assert spec.published is not None, "read from a folder"
    given = json_object(spec.published.config, "config.json")
    defaults = {key: getattr(spec.config, key, None) for key in ALWAYS}
    yield given | {key: value for key, value in defaults.items() if value is not None and key not in given}
    if spec.published.generation is not None:
        yield json_object(spec.published.generation, "generation_config.json")


def renumbered(values: Mapping[str, Any], new_id: Callable[[int], int]) -> dict[str, Any]:
    """Returns a config, or a generation_config, in which tokens have their new ids."""
    found = {}
    for key, value in values.items():
        if key.endswith(SUFFIXES) or key in LISTS:
            found[key] = _mapped(value, new_id)
        elif isinstance(value, dict):
            found[key] = renumbered(value, new_id)
        else:
            found[key] = value
    return found


def _mapped(value: Any, new_id: Callable[[int], int]) -> Any:
    if isinstance(value, list):
        return [_mapped(each, new_id) for each in value]
    return new_id(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value


def with_vocabulary(spec: ModelSpec, rows: int, new_id: Callable[[int], int] = lambda id: id) -> ModelSpec:
    """The same model with a vocabulary of another size, and the ids in its configuration renumbered.

    spec: as read from a folder. Raises ModelError where the config doesn't say the size at its top.
    """
    values, *rest = _configs(spec)
    if "vocab_size" not in values:
        values["vocab_size"] = spec.vocabulary
    values = renumbered(values, new_id) | {"vocab_size": rows}
    assert spec.published is not None
    generation = (
        json.dumps(renumbered(rest[0], new_id), indent=2, ensure_ascii=False) + "\n" if rest else None
    )
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    changed = read_spec(values, attention=spec.attention_choice)
    return replace(
        changed,
        published=Published(text, generation, spec.published.folder),
        folder=spec.folder,
        generation={},
    )


def stored_weights(spec: ModelSpec) -> FolderWeights:
    """The weights of the model's folder in their own dtype: of several the one that holds all their values."""
    if spec.folder is None:
        raise ModelError("the model was not read from a local folder; give one with its safetensors files.")
    weights = FolderWeights(spec, spec.folder)
    weights.check()
    dtypes = {DTYPES.get(weights.stored_dtype(name), torch.float32) for name in weights.names()}
    dtype = dtypes.pop()
    for other in dtypes:
        dtype = torch.promote_types(dtype, other)
    weights.dtype = dtype
    return weights


def kept_rows(spec: ModelSpec, weights: FolderWeights, keep: Sequence[int]) -> Iterator[tuple[str, Tensor]]:
    """All parameters, one at a time, those of the vocabulary cut to the rows in `keep`, in that order."""
    index = torch.tensor(keep, dtype=torch.long)
    for name, tensor in _parameters(weights):
        yield name, tensor[index] if name in set(vocabulary_names(spec)) else tensor


def added_rows(
    spec: ModelSpec,
    weights: FolderWeights,
    rows: int,
    facts: StartFacts,
    start: Start = "mean",
    seed: int = 0,
) -> Iterator[tuple[str, Tensor]]:
    """All parameters, one at a time, those of the vocabulary with a row for each new token.

    rows: of the new vocabulary. facts, start, seed: as `start_rows` takes them. Rows that are neither old nor new are zero.
    """
    if start not in STARTS:
        raise ModelError(f"start is {start!r}; it must be one of {', '.join(STARTS)}.")
    names = list(vocabulary_names(spec))
    for name, tensor in _parameters(weights):
        if name not in names:
            yield name, tensor
            continue
        grown = tensor.new_zeros(rows, *tensor.shape[1:])
        grown[: len(tensor)] = tensor
        grown[sorted(facts.pieces)] = start_rows(tensor, facts, start, seed + names.index(name))
        yield name, grown


def _parameters(weights: FolderWeights) -> Iterator[tuple[str, Tensor]]:
    for name in weights.names():
        yield name, weights.get(name)
