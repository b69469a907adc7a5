"""Checks a model's settings: keys that an architecture knows, and values that a model can be built of."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from pinisi.base.errors import ConfigError, ModelError
from pinisi.models.architectures import FULL, SLIDING, Architecture
from pinisi.models.quantised import KEYS

COUNTS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
MAYBE_NONE = {"num_key_value_heads", "head_dim"}  # transformers then works them out
FLAGS = ("tie_word_embeddings", "use_sliding_window", "attention_bias", "mlp_bias", "use_cache")
ABOVE_ZERO = ("rms_norm_eps", "query_pre_attn_scalar", "rope_theta", "rope_local_base_freq")
CAPS = ("final_logit_softcapping", "attn_logit_softcapping")  # None: no cap
DROPOUTS = ("attention_dropout", "resid_pdrop", "embd_pdrop", "hidden_dropout")
ROPES = ("rope_parameters", "rope_scaling")
ROPE_TYPES = {"default", "su", *ROPE_INIT_FUNCTIONS}  # su: how the first Phi-3 configs call longrope
ROPE_KEYS = {
    *("rope_type", "type", "rope_theta", "factor", "attention_factor", "partial_rotary_factor", "truncate"),
    *("original_max_position_embeddings", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"),
    *("short_factor", "long_factor", "low_freq_factor", "high_freq_factor"),
}
ROPE_NUMBERS = (
    *("rope_theta", "attention_factor", "partial_rotary_factor", "original_max_position_embeddings"),
    *("beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor"),
)
ROPE_LISTS = ("short_factor", "long_factor")
ROPE_NEEDS = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
# What transformers reads of a config although not every class declares it.
EVERYWHERE = {
    *("model_type", "head_dim", "torch_dtype", "dtype", "attn_implementation", "name_or_path", *ROPES),
    *("rope_theta", "rope_local_base_freq", "partial_rotary_factor", "original_max_position_embeddings"),
}


def generation_keys() -> set[str]:
    """The keys of generation_config.json, which old configs have beside a model's own."""
    return {key for key in GenerationConfig().to_dict() if not key.startswith("_")} - {"transformers_version"}


def declared(config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """The keys that a config's class declares itself, with their defaults."""
    if dataclasses.is_dataclass(config_class):
        fields = dataclasses.fields(config_class)
        return {f.name: None if f.default is dataclasses.MISSING else f.default for f in fields}
    parameters = inspect.signature(config_class.__init__).parameters.values()  # transformers 5.0
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def check_keys(values: Mapping[str, Any], architecture: Architecture) -> None:
    """Refuses keys of [model.config] that mean nothing to the architecture. Raises ConfigError with the nearest one."""
    known = {*declared(architecture.config_class), *architecture.config_class().to_dict(), *EVERYWHERE}
    _check_known(values, known | generation_keys(), "model.config.")
    for name in ROPES:
        for prefix, rope in _ropes(name, values.get(name)):
            _check_known(rope, ROPE_KEYS, f"model.config.{prefix}.")


def _check_known(given: Iterable[str], known: set[str], prefix: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)[0]
            raise ConfigError(f"unknown key {prefix + key!r}; the nearest valid key is {prefix + near!r}.")


def check_values(values: Mapping[str, Any], architecture: Architecture) -> None:
    """Refuses settings of which no model can be built; what isn't given counts by its default. Raises ModelError."""
    all_values = declared(architecture.config_class) | dict(values)
    for name in COUNTS:
        value = all_values.get(name)
        if (name in all_values and value is None and name in MAYBE_NONE) or name not in all_values:
            continue
        if type(value) is not int or not 1 <= value < 2**31:
            raise ModelError(f"{name} is {value!r}; it must be a whole number of at least 1, below 2 ** 31.")
    for name in FLAGS:
        if all_values.get(name) is not None and type(all_values[name]) is not bool:
            raise ModelError(f"{name} is {all_values[name]!r}; it must be true or false, without quotes.")
    _check_heads(all_values)
    _check_numbers(all_values)
    _check_activation(all_values)
    for name in KEYS:
        if not isinstance(values.get(name) or {}, Mapping):
            raise ModelError(f"{name} is {values[name]!r}; it must be a table.")
    for name in ROPES:
        for prefix, rope in _ropes(name, values.get(name)):
            _check_rope(prefix, rope)


def _check_heads(values: Mapping[str, Any]) -> None:
    hidden, heads = values["hidden_size"], values["num_attention_heads"]
    groups, width = values.get("num_key_value_heads") or heads, values.get("head_dim")
    if heads % groups:
        raise ModelError(
            f"num_attention_heads is {heads} and num_key_value_heads {groups}: the first must be a multiple of the second."
        )
    if width is None and hidden % heads:
        raise ModelError(
            f"hidden_size is {hidden} and num_attention_heads {heads}: the first must be a multiple of the second, or "
            "head_dim be given where the architecture has it."
        )
    factor = values.get("partial_rotary_factor")
    share = 1.0 if factor is None else factor
    name, width = ("head_dim", width) if width else ("hidden_size / num_attention_heads", hidden // heads)
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise ModelError(f"partial_rotary_factor is {share!r}; it must be a number above 0, at most 1.")
    if int(width * share) % 2 or int(width * share) < 2:
        raise ModelError(
            f"{name} is {width}: rotary embeddings turn pairs, so that it"
            f"{'' if share == 1 else f' times partial_rotary_factor = {share}'} must be even."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_numbers(values: Mapping[str, Any]) -> None:
    for name in ABOVE_ZERO + CAPS:
        value = values.get(name)
        if value is not None and not (_is_number(value) and 0 < value < float("inf")):
            raise ModelError(f"{name} is {value!r}; it must be a number above 0.")
    for name in DROPOUTS:
        value = values.get(name)
        if value is not None and not (_is_number(value) and 0 <= value < 1):
            raise ModelError(f"{name} is {value!r}; it must be a number of at least 0 and below 1.")
    value = values.get("initializer_range")
    if value is not None and not (_is_number(value) and 0 <= value < float("inf")):
        raise ModelError(f"initializer_range is {value!r}; it must be a number of at least 0.")
    types = values.get("layer_types")
    if types is not None and not isinstance(types, list | tuple):
        raise ModelError(
            f"layer_types is {types!r}; it must be a list with {FULL!r} or {SLIDING!r} for each layer."
        )


def _check_activation(values: Mapping[str, Any]) -> None:
    for name in ("hidden_act", "hidden_activation"):
        value = values.get(name)
        if value is not None and not (isinstance(value, str) and value in ACT2FN):
            near = difflib.get_close_matches(str(value), sorted(ACT2FN), n=1, cutoff=0.0)[0]
            raise ModelError(
                f"{name} is {value!r}, which transformers doesn't know; the nearest that it does is {near!r}."
            )


def _ropes(name: str, value: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """(where it stands, one table of rotary settings): one, or one for each type of attention."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        raise ModelError(
            f"{name} is {value!r}; it must be a table, such as rope_type = 'linear', factor = 2.0."
        )
    if set(value) & {FULL, SLIDING}:
        return [(f"{name}.{kind}", rope) for kind, rope in value.items() if isinstance(rope, Mapping)]
    return [(name, value)]


def _check_rope(prefix: str, rope: Mapping[str, Any]) -> None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if not isinstance(kind, str) or kind not in ROPE_TYPES:
        raise ModelError(
            f"{prefix}.rope_type is {kind!r}; it must be one of {', '.join(sorted(ROPE_TYPES))}."
        )
    for name in ROPE_NEEDS.get(kind, ()):
        if rope.get(name) is None:
            raise ModelError(f"{prefix}.{name} is missing; rope_type {kind!r} needs it.")
    factor = rope.get("factor")
    if factor is not None and not (_is_number(factor) and 1 <= factor < float("inf")):
        raise ModelError(f"{prefix}.factor is {factor!r}; it must be a number of at least 1.")
    for name in ROPE_NUMBERS:
        value = rope.get(name)
        if value is not None and not (_is_number(value) and 0 < value < float("inf")):
            raise ModelError(f"{prefix}.{name} is {value!r}; it must be a number above 0.")
    for name in ROPE_LISTS:
        value = rope.get(name)
        if value is None:
            continue
        if not isinstance(value, list | tuple) or not all(
            _is_number(n) and 0 < n < float("inf") for n in value
        ):
            raise ModelError(f"{prefix}.{name} is {value!r}; it must be a list of numbers above 0.")
    lengths = [len(rope.get(name) or ()) for name in ROPE_LISTS]
    if all(lengths) and lengths[0] != lengths[1]:
        raise ModelError(
            f"{prefix}.short_factor has {lengths[0]} numbers and long_factor {lengths[1]}; each needs one for a pair of a head."
        )
