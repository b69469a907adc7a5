"""Tells whether a checkpoint is of this model, and whether the state of its sampler is of this data.

A model is its tensors, by name and shape, and what its config says of their meaning, also where another version of transformers
wrote that. Data are no part of it: weights alone start a run of any data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pinisi.base.errors import CheckpointError, ModelError
from pinisi.models import ModelSpec, adapter_shapes, heads, parameter_shapes, read_spec
from pinisi.train import checkpoint

# Keys of a config that say nothing of the tensors' names, shapes or meaning.
NEUTRAL = {
    *(
        "transformers_version",
        "dtype",
        "torch_dtype",
        "_name_or_path",
        "use_cache",
        "architectures",
        "auto_map",
    ),
    *("return_dict", "output_hidden_states", "output_attentions", "id2label", "label2id", "num_labels"),
    *("problem_type", "bos_token_id", "eos_token_id", "quantization_config", "compression_config"),
}


def model_identity(spec: ModelSpec) -> dict[str, Any]:
    """Returns what a checkpoint's index says of its model, besides its tensors."""
    return {
        "model": model_fingerprint(spec),
        "adapters": None if spec.adapters is None else spec.adapters.to_json(),
        "extra_heads": spec.extra_heads or None,  # checkpoints of before there were any have no such key
        "config": json.loads(json.dumps(spec.config.to_dict(), default=str)),
        "config_defaults": _defaults(spec),
    }


def model_fingerprint(spec: ModelSpec) -> str:
    """Returns a digest of the config, which versions of before compare; it differs under a transformers with other keys."""
    leave = {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "use_cache", "architectures"}
    kept = {k: v for k, v in spec.config.to_dict().items() if k not in leave}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def check_model(reader: checkpoint.Reader, spec: ModelSpec) -> None:
    """Compares a checkpoint's model with this one: all that its weights need. Raises CheckpointError that names what differs."""
    if reader.index.get("model") != model_fingerprint(spec):
        found = next(_differences(reader.index, spec), None)
        if found:
            raise _another_model(reader, found)
    _same_adapters(reader, spec)
    _same(reader, "extra_heads", spec.extra_heads or None, "the extra_heads that it was made with")
    if wrong := _other_tensors(reader, spec):
        raise _another_model(reader, wrong)


def check_data(reader: checkpoint.Reader, fingerprint: str | None) -> None:
    """Compares a checkpoint's data with a run's: what its sampler's state needs. Raises CheckpointError."""
    if "sampler" not in reader.index:
        raise CheckpointError(
            f"{reader.folder} doesn't say which texts were read: remove it to use an older one"
        )
    _same(
        reader, "data", fingerprint, "the data that it was made with, or start a run from its weights alone"
    )


def _same_adapters(reader: checkpoint.Reader, spec: ModelSpec) -> None:
    there, here = reader.index.get("adapters"), None if spec.adapters is None else spec.adapters.to_json()
    if there == here:
        return
    instead = "the [lora] that it was made with"
    if there is not None and here is None:
        instead += ", or export it, and name the export as model.source"
    raise CheckpointError(
        f"{reader.folder} holds {_adapters(there)}, this run trains {_adapters(here)}: use another run.folder, or {instead}"
    )


def _adapters(value: dict[str, Any] | None) -> str:
    if value is None:
        return "a whole model"
    return f"adapters ({', '.join(f'{key} {each}' for key, each in value.items())})"


def _same(reader: checkpoint.Reader, key: str, mine: object, instead: str) -> None:
    if reader.index.get(key) != mine:
        raise CheckpointError(
            f"{reader.folder} was made with another {key} ({reader.index.get(key)}) than this run's ({mine}): "
            f"use another run.folder, or {instead}"
        )


def _another_model(reader: checkpoint.Reader, difference: str) -> CheckpointError:
    return CheckpointError(
        f"{reader.folder} was made with another model than this run's: {difference}; use another run.folder, or the model "
        "that it was made with"
    )


def _other_tensors(reader: checkpoint.Reader, spec: ModelSpec) -> str | None:
    """Returns how the tensors of a checkpoint differ from the model's, in name or shape; extra heads' are those of their twins."""
    whole = parameter_shapes(spec) if spec.adapters is None else adapter_shapes(spec)
    shapes = {name: tuple(shape) for name, shape in whole.items()}
    last = f"{spec.architecture.layers_name}.{spec.layers - 1}."
    layer = {name.removeprefix(last): shape for name, shape in shapes.items() if name.startswith(last)}
    for head in range(spec.extra_heads):
        shapes |= {f"{heads.PREFIX}{head}.{rest}": shape for rest, shape in layer.items()}
    if lacking := sorted(shapes.keys() - reader.tensors.keys()):
        return f"it has no tensor {lacking[0]}"
    if unknown := sorted(reader.tensors.keys() - shapes.keys()):
        return f"its tensor {unknown[0]} has no place here"
    other = next((name for name, shape in shapes.items() if reader.shape(name) != shape), None)
    return (
        f"{other} has shape {list(reader.shape(other))} there and {list(shapes[other])} here"
        if other
        else None
    )


def _differences(index: dict[str, Any], spec: ModelSpec) -> Iterator[str]:
    """The settings that differ, as text. The stored config is read by this transformers, which gives keys that are new since
    their defaults; a key that it doesn't know must have had its default where the checkpoint was made."""
    stored = index.get("config")
    if not isinstance(stored, dict):
        yield f"its fingerprint is {index.get('model')}, here {model_fingerprint(spec)}"
        return
    try:
        then = _plain(read_spec(stored, attention=spec.attention))
    except ModelError as error:
        yield f"its config can't be read here ({error})"
        return
    now, known, defaults = _plain(spec), _defaults(spec), index.get("config_defaults")
    for key in sorted((then.keys() | now.keys()) - NEUTRAL):
        if key in then and key in now:
            if then[key] != now[key]:
                yield f"{key} is {then[key]!r} there and {now[key]!r} here"
        elif key in now:
            if key in known and now[key] != known[key]:
                yield f"{key} is not set there and {now[key]!r} here"
        elif not _was_default(key, then[key], defaults):
            yield f"{key} is {then[key]!r} there, and this version of transformers doesn't know it"


def _was_default(key: str, value: Any, defaults: dict[str, Any] | None) -> bool:
    """Whether a key that isn't known here said nothing there. Checkpoints of before don't tell the defaults: then only an empty
    value says nothing. A key that the class there didn't know either was the user's own."""
    if defaults is None:
        return not value
    return key not in defaults or defaults[key] == value


def _defaults(spec: ModelSpec) -> dict[str, Any]:
    return json.loads(json.dumps(spec.architecture.config_class().to_dict(), default=str))


def _plain(spec: ModelSpec) -> dict[str, Any]:
    """The config as JSON has it, with rotary settings in one form."""
    found = json.loads(json.dumps(spec.config.to_dict(), default=str))
    return {key: _rotary(value) if key.startswith("rope_") else value for key, value in found.items()}


def _rotary(value: Any) -> Any:
    """Without what says nothing: settings of None, and those beside tables by type of attention, which transformers 5.0 adds."""
    if not isinstance(value, dict):
        return value
    by_type = {kind: _rotary(table) for kind, table in value.items() if kind.endswith("_attention")}
    return by_type or {key: setting for key, setting in value.items() if setting is not None}
