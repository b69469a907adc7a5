"""Adds layers to a model that leave its function unchanged: copies of its own, silent at first (LLaMA Pro, arXiv 2401.02415).

A layer adds two things to the residual stream, of its attention and of its MLP. In a copy both are zero: the last projection of
each is, weight and bias, or, where a norm follows the projection, that norm's weight is. A norm of a vector of zeros would pass the
gradient on 1 / sqrt(eps) times as large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pinisi.base.errors import ModelError
from pinisi.models.architectures import Architecture
from pinisi.models.folder import Published, json_object
from pinisi.models.spec import ModelSpec, read_spec
from pinisi.models.stage import parameter_names
from pinisi.models.weights import FolderWeights

PROJECTIONS = ("self_attn.o_proj.", "mlp.down_proj.")  # the last of attention and of the MLP: weight and bias
NORMS_AFTER = ("post_attention_layernorm.", "post_feedforward_layernorm.")  # where norms follow these
BLOCK = 2**16  # rows of two vocabulary matrices that are compared at once


@dataclass(frozen=True)
class Expansion:
    """Says which layers a model gets: sources has, for each layer of the new model, the layer that it is or copies."""

    sources: tuple[int, ...]

    @property
    def new(self) -> list[int]:
        """Returns the copies' places in the new model: each stands behind its source, or behind another copy of that."""
        return [i for i in range(1, len(self.sources)) if self.sources[i] == self.sources[i - 1]]

    @property
    def copied(self) -> list[int]:
        """Returns the layer of the old model that each copy is of."""
        return [self.sources[i] for i in self.new]


def expansion(layers: int, wanted: int) -> Expansion:
    """Spreads n = wanted - layers copies evenly: copy j = 1 ... n is of layer ceil(j layers / n), counted from 1.

    So the last layer is always copied, where n divides `layers` each (layers / n)-th one is, and of more than `layers` copies some
    are of the same. Raises ModelError for too few layers.
    """
    n = wanted - layers
    if n < 1:
        raise ModelError(
            f"{wanted} layers are asked for, and the model has {layers}; ask for more than {layers}."
        )
    copied = [-(-j * layers // n) - 1 for j in range(1, n + 1)]
    return Expansion(tuple(sorted([*range(layers), *copied])))


def with_layers(spec: ModelSpec, expanded: Expansion, *, tied: bool | None = None) -> ModelSpec:
    """Returns the same model with other layers; a copy attends as its source does. tied: embedding and head; as before if None.

    What the model's config.json says besides stays as it is.
    """
    before = spec.published
    values = json_object(before.config, "config.json") if before is not None else spec.config.to_dict()
    types = [spec.attention_types[source] for source in expanded.sources]
    values |= {"num_hidden_layers": len(types)}
    if tied is not None and tied != spec.tied:
        values["tie_word_embeddings"] = tied
    if "max_window_layers" in values:  # of Qwen: the layers from this one on may have a window
        values["max_window_layers"] = sum(s < values["max_window_layers"] for s in expanded.sources)
    written = values.pop("layer_types", None)
    if written is not None or list(read_spec(values).attention_types) != types:
        values["layer_types"] = types if written is None else [written[each] for each in expanded.sources]
        values.pop("sliding_window_pattern", None)  # of Gemma 3: not the one that is there now
    changed = read_spec(values, attention=spec.attention_choice)
    if before is None:
        return changed
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    return replace(changed, published=Published(text, before.generation, before.folder), folder=spec.folder)


def expanded_weights(
    spec: ModelSpec, weights: FolderWeights, new: ModelSpec, expanded: Expansion
) -> Iterator[tuple[str, Tensor]]:
    """Yields all parameters of the expanded model, one at a time.

    spec, weights: of the model as it was; new: of `with_layers`.
    """
    prefix, copies = f"{spec.architecture.layers_name}.", set(expanded.new)
    for name in parameter_names(new):
        if not name.startswith(prefix):
            # a head that was tied is a copy of the embedding; what is read twice from a file is one piece of memory
            yield name, weights.get(name).clone()
            continue
        number, _, part = name.removeprefix(prefix).partition(".")
        tensor = weights.get(f"{prefix}{expanded.sources[int(number)]}.{part}")
        if int(number) not in copies:
            yield name, tensor
            continue
        value = silencing(spec.architecture, part)
        yield name, tensor.clone() if value is None else torch.full_like(tensor, value)


def silencing(architecture: Architecture, part: str) -> float | None:
    """Returns what fills this parameter of a layer that is to add nothing; None for those that stay as they are."""
    if architecture.norms_after:
        # where norms multiply by 1 + weight they start at 0, else at 1
        return architecture.norm_start - 1 if part.startswith(NORMS_AFTER) else None
    return 0.0 if part.startswith(PROJECTIONS) else None


def check_same_ends(spec: ModelSpec, weights: FolderWeights) -> None:
    """Raises ModelError where embedding and head differ, so that they can't be tied."""
    names = spec.architecture
    for start in range(0, spec.vocabulary, BLOCK):
        rows = range(start, min(start + BLOCK, spec.vocabulary))
        one, other = (weights.get(name, rows) for name in (names.embedding_name, names.head_name))
        different = (one != other).any(1)
        if different.any():
            row = start + int(different.nonzero()[0])
            raise ModelError(
                f"{weights.folder}: {names.embedding_name} and {names.head_name} differ, first in row {row}, so they can't be one "
                "matrix; leave the head untied."
            )
