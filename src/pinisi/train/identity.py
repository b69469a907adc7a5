"""Tells whether a checkpoint holds this run's model, also under another version of transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pinisi.base.errors import CheckpointError, ModelError
from pinisi.models import ModelSpec, read_spec
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
    """What a checkpoint's index says of the model that it holds."""
    return {
        "model": model_fingerprint(spec),
        "extra_heads": spec.extra_heads or None,  # checkpoints of before there were any have no such key
        "config": json.loads(json.dumps(spec.config.to_dict(), default=str)),
        "config_defaults": _defaults(spec),
    }


def model_fingerprint(spec: ModelSpec) -> str:
    """A digest of the config, which versions of before compare; it differs under a transformers with other keys."""
    leave = {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "use_cache", "architectures"}
    kept = {k: v for k, v in spec.config.to_dict().items() if k not in leave}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def check_model(reader: checkpoint.Reader, spec: ModelSpec) -> None:
    """Compares the model of a checkpoint with this run's. Raises CheckpointError that names what differs."""
    mine = model_identity(spec)
    if reader.index.get("model") != mine["model"]:
        found = next(_differences(reader.index, spec), None)
        if found:
            raise CheckpointError(
                f"{reader.folder} was made with another model than this run's: {found}; use another run.folder, or the model "
                "that it was made with"
            )
    reader.check(extra_heads=mine["extra_heads"])


def check_data(reader: checkpoint.Reader, fingerprint: str | None) -> None:
    """Compares the data that a checkpoint was trained on with this run's. Raises CheckpointError."""
    if "sampler" not in reader.index:
        raise CheckpointError(
            f"{reader.folder} doesn't say which texts were read: remove it to use an older one"
        )
    reader.check(data=fingerprint)


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
