"""Describes a model for the rest of Pinisi: `read_spec` reads it from a config, a folder or the
hub."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import PreTrainedConfig

from pinisi.base.errors import ModelError
from pinisi.models import checks
from pinisi.models.adapters import Adapters
from pinisi.models.architectures import ARCHITECTURES, FULL, SLIDING, Architecture
from pinisi.models.attention import AUTO, BACKENDS, DENSE, AttentionFeatures, check_features
from pinisi.models.folder import CONFIG, SMALL_FILES, Published, json_object, local_folder, read_published

# First and last (major, minor) with which tests/models has passed: 5.0.0, 5.11.0 and 5.23.
TESTED_TRANSFORMERS = ((5, 0), (5, 23))


class VocabularyNames(NamedTuple):
    """Hugging Face names of the matrices that are split by rows; head == embedding when they are tied."""

    embedding: str
    head: str
    bias: str | None


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """A model as its config describes it; holds no weights.

    hidden: h. vocabulary: V. layers: how many. tied: embedding and head are one matrix. softcap: cap of the
    final logits or None. logit_scale: the logits' factor before soft-capping. attention: `sdpa` or `eager`,
    transformers' form of dense attention. backend: `auto` or a row of `attention.BACKENDS`.
    attention_types: per layer, `full_attention` or `sliding_attention`. window: how many positions a sliding
    layer sees, itself included. padding_index: the embedding row that starts at zero and gets no gradient
    from the embedding (torch's padding_idx), or None. folder: the local folder it was read from, if any.
    extra_heads: D, how many heads are trained beside the model's own (see `heads`). published: the files that the folder or
    the hub keeps beside the weights, if it was read from one. generation: what generation_config.json says of a model that
    was not published. token_ids: ids of special tokens that config.json says besides, which training does without. adapters: what
    alone is trained, if there are any.
    """

    config: PreTrainedConfig
    architecture: Architecture
    hidden: int
    vocabulary: int
    layers: int
    tied: bool
    softcap: float | None
    logit_scale: float
    head_bias: bool
    attention: str
    attention_types: tuple[str, ...]
    window: int | None
    padding_index: int | None
    folder: Path | None = None
    extra_heads: int = 0
    published: Published | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    token_ids: Mapping[str, Any] = field(default_factory=dict)
    rotary_cache: dict[str, Any] = field(default_factory=dict, repr=False)
    backend: str = AUTO
    adapters: Adapters | None = None

    @property
    def model_type(self) -> str:
        return self.architecture.model_type

    @property
    def dropout(self) -> bool:
        """Whether anything is dropped in training."""
        adapters = self.adapters is not None and self.adapters.dropout > 0
        return adapters or any(getattr(self.config, name, None) for name in checks.DROPOUTS)

    @property
    def attention_choice(self) -> str:
        """What `read_spec` takes as `attention` to read a changed config in the same way."""
        return self.attention if self.backend == DENSE else self.backend

    @property
    def attention_features(self) -> AttentionFeatures:
        """What the model's attention needs of a backend."""
        config = self.config
        return AttentionFeatures(
            heads=config.num_attention_heads,
            head_dim=getattr(config, "head_dim", None) or self.hidden // config.num_attention_heads,
            window=SLIDING in self.attention_types,
            soft_cap=_cap(config, "attn_logit_softcapping") is not None,
            dropout=bool(getattr(config, "attention_dropout", None)),
            narrow_softmax=self.attention == "eager",
        )

    def embedding_scale(self, dtype: torch.dtype) -> float:
        """The factor of the embedding rows, rounded to `dtype` as transformers rounds it; 1.0 where there is
        none."""
        if not self.architecture.scaled_embedding:
            return 1.0
        return torch.tensor(self.hidden**0.5, dtype=dtype).item()


def vocabulary_names(spec: ModelSpec) -> VocabularyNames:
    names = spec.architecture
    head = names.embedding_name if spec.tied else names.head_name
    return VocabularyNames(names.embedding_name, head, "lm_head.bias" if spec.head_bias else None)


def read_spec(
    source: str | os.PathLike[str] | dict[str, Any] | PreTrainedConfig,
    *,
    attention: str | None = None,
    strict: bool = False,
) -> ModelSpec:
    """Reads a model's description.

    Args:
        source: a folder with config.json, a hub id, a dict with "model_type", or a transformers config.
        attention: `auto`, if not given, or a row of `attention.BACKENDS`; dense attention is then in transformers' form that
            the architecture needs; `sdpa` or `eager`: dense in this one.
        strict: refuse keys of a dict that the architecture doesn't know; published configs have such.

    Raises:
        ModelError: the source cannot be read, or the architecture or one of its settings is not supported.
        ConfigError: strict, and a key is unknown; names the nearest that is known.
    """
    _check_transformers()
    config, folder, published = _read_config(source, strict)
    given = dict(source) if isinstance(source, dict) else {}
    architecture = _architecture(config.model_type)
    config = copy.deepcopy(config)
    _check_config(config)
    backend, form = _attention(attention or AUTO, architecture, config)
    if form == "sdpa" and _cap(config, "attn_logit_softcapping") is not None:
        raise ModelError(
            f"{config.model_type} soft-caps its attention scores, which sdpa cannot do; use 'eager'."
        )
    config._attn_implementation = form
    _check_buildable(architecture, config)
    types = architecture.attention_types(config)
    found = ModelSpec(
        config=config,
        architecture=architecture,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=config.num_hidden_layers,
        tied=bool(config.tie_word_embeddings),
        softcap=_cap(config, "final_logit_softcapping"),
        logit_scale=1.0,
        head_bias=False,
        attention=form,
        attention_types=types,
        window=_window(config, types),
        padding_index=_padding_index(config),
        folder=folder,
        published=published,
        generation={key: given[key] for key in checks.generation_keys() if given.get(key) is not None},
        backend=backend,
    )
    check_features(backend, found.attention_features)
    return found


def _check_transformers() -> None:
    first, last = TESTED_TRANSFORMERS
    found = tuple(int(n) for n in transformers.__version__.split(".")[:2])
    if not first <= found <= last:
        warnings.warn(
            f"transformers {transformers.__version__} is outside the range this was tested with, "
            f"{first[0]}.{first[1]} to {last[0]}.{last[1]}; run tests/models before you rely on it.",
            stacklevel=3,
        )


def _architecture(model_type: str | None) -> Architecture:
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise ModelError(
            f"architecture {model_type!r} is not supported; supported are {', '.join(sorted(ARCHITECTURES))}."
        )
    return ARCHITECTURES[model_type]


def _read_config(source: Any, strict: bool) -> tuple[PreTrainedConfig, Path | None, Published | None]:
    if isinstance(source, PreTrainedConfig):
        checks.check_values(source.to_dict(), _architecture(source.model_type))
        return source, None, None
    if isinstance(source, dict):
        if strict:
            checks.check_keys(source, _architecture(source.get("model_type")))
        return _config_of(source, "the given config"), None, None
    folder = local_folder(source, SMALL_FILES, CONFIG)
    published = read_published(folder)
    config = _config_of(json_object(published.config, folder / CONFIG), str(folder / CONFIG))
    return config, folder if Path(source).is_dir() else None, published


def _config_of(values: dict[str, Any], where: str) -> PreTrainedConfig:
    """The config, made by transformers' own class for the architecture: code that a folder brings is never run."""
    architecture = _architecture(values.get("model_type"))
    checks.check_values(values, architecture)
    try:
        return architecture.config_class.from_dict(copy.deepcopy(values))
    except Exception as error:  # transformers raises several kinds, all about the values
        raise ModelError(
            f"{where} is not a valid {architecture.model_type} config: {_one_line(error)}"
        ) from None


def _one_line(error: Exception) -> str:
    """What transformers or torch says, without a torch error's stack."""
    return " ".join(str(error).partition("\nException raised from")[0].split())


def _check_config(config: PreTrainedConfig) -> None:
    if getattr(config, "use_bidirectional_attention", None):
        raise ModelError(
            f"{config.model_type} with use_bidirectional_attention is not a causal model; set it to false."
        )
    types = getattr(config, "layer_types", None)
    if types is not None and len(types) != config.num_hidden_layers:
        raise ModelError(
            f"layer_types has {len(types)} entries for {config.num_hidden_layers} layers; give one per layer."
        )


def _attention(choice: str, architecture: Architecture, config: PreTrainedConfig) -> tuple[str, str]:
    """The backend, and transformers' form of dense attention."""
    if choice in ("sdpa", "eager"):
        return DENSE, choice
    if choice != AUTO and choice not in BACKENDS:
        known = ", ".join(map(repr, (AUTO, *BACKENDS, "sdpa")))
        raise ModelError(f"attention is {choice!r}; it must be one of {known} and 'eager'.")
    capped = _cap(config, "attn_logit_softcapping") is not None
    return choice, "eager" if capped else architecture.attention


def _cap(config: PreTrainedConfig, name: str) -> float | None:
    """A cap, if the architecture has it: others leave such a key of a config alone, as transformers does."""
    return getattr(config, name, None) if name in checks.declared(type(config)) else None


def _check_buildable(architecture: Architecture, config: PreTrainedConfig) -> None:
    """Raises ModelError for settings that only use shows to be impossible: runs a layer without values on a rotary table."""
    types, places = architecture.attention_types(config), torch.arange(2)[None]
    kinds = sorted(set(types)) if architecture.rotary_by_type else [None]
    try:
        rotary = architecture.part("RotaryEmbedding")(config)
        tables = [rotary(torch.empty(0), places, *([kind] if kind else [])) for kind in kinds]
        hidden, turns = (
            torch.empty(1, 2, config.hidden_size, device="meta"),
            [t.to("meta") for t in tables[0]],
        )
        with torch.device("meta"):
            layer = architecture.part("DecoderLayer")(config, 0).eval()
        layer(hidden, attention_mask=None, position_ids=places.to("meta"), position_embeddings=tuple(turns))
    except Exception as error:  # many kinds: what a wrong value leads to first
        raise ModelError(
            f"no {config.model_type} model can be built of this config ({_one_line(error)}): mend it."
        ) from None
    if not all(table.isfinite().all() for pair in tables for table in pair):
        raise ModelError(
            "the rotary tables are not finite: mend the config's rope_parameters (or rope_scaling)."
        )


def _window(config: PreTrainedConfig, types: tuple[str, ...]) -> int | None:
    unknown = set(types) - {FULL, SLIDING}
    if unknown:
        raise ModelError(f"layer_types has {sorted(unknown)}; supported are {FULL!r} and {SLIDING!r}.")
    if SLIDING not in types:
        return None
    window = config.sliding_window
    if not isinstance(window, int) or window < 1:
        raise ModelError(f"sliding_window is {window!r} although layers use it; it must be at least 1.")
    return window


def _padding_index(config: PreTrainedConfig) -> int | None:
    index = getattr(config, "pad_token_id", None)
    if index is None:
        return None
    if not -config.vocab_size <= index < config.vocab_size:
        raise ModelError(
            f"pad_token_id is {index}; it must be below vocab_size, which is {config.vocab_size}."
        )
    return index % config.vocab_size
