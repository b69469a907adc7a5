"""Builds a stage: consecutive decoder layers of transformers, loaded without the rest of the model."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinisi.base.errors import ModelError
from pinisi.models.adapters import insert_adapters, is_adapter, plain_name
from pinisi.models.attention import check_place, layer_config
from pinisi.models.context import Context
from pinisi.models.spec import ModelSpec

LayerCall = Callable[[Tensor, Context], Tensor]


class Weights(Protocol):
    """Where parameters come from; see RandomWeights and FolderWeights."""

    def get(self, name: str, rows: range | None = None) -> Tensor: ...

    def names(self) -> list[str]: ...


class Matrix(nn.Module):
    """Holds one parameter called `weight`, so that it has its Hugging Face name."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, columns))


class Trunk(nn.Module):
    """The parts that transformers keeps under `model.`; those that a stage lacks are None."""

    embed_tokens: Matrix | None
    layers: nn.ModuleDict
    norm: nn.Module | None


class BoundLayer:
    """One decoder layer as a function of (hidden [b,s,h], context); `index` is its number in the whole
    model, where extra heads stand behind the last layer.

    What it drops follows from the context's seed and the index alone, so that it drops the same on any rank, and when it is
    computed again.
    """

    def __init__(self, module: nn.Module, index: int, kind: str):
        self.module, self.index, self.kind = module, index, kind

    def __call__(self, hidden: Tensor, context: Context) -> Tensor:
        drops = context.seed is not None and self.module.training
        with _seeded(context.seed, self.index, hidden.device) if drops else contextlib.nullcontext():
            found = self.module(
                hidden,
                attention_mask=context.masks[self.kind],
                position_embeddings=context.rotary[self.kind],
                position_ids=context.positions,
            )
        return found[0] if isinstance(found, tuple) else found  # a tuple in older releases


@contextlib.contextmanager
def _seeded(seed: int | None, index: int, device: torch.device) -> Iterator[None]:
    """Draws random numbers that follow from a seed and a layer's number, and leaves torch's generators as they were."""
    digest = hashlib.sha256(f"{seed}\0{index}".encode()).digest()
    with torch.random.fork_rng([device] if device.type != "cpu" else [], device_type=device.type):
        torch.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
        yield


class Stage(nn.Module):
    """stage(hidden [b,s,h] or ids [b,s], context) -> hidden [b,s,h], or logits [b,s,V] with the head.

    `layers` is a plain list of functions (hidden, context) -> hidden; replace its entries to wrap them, for
    instance with activation checkpointing; `heads`, the extra heads, likewise. Parameters have their Hugging Face
    names; a tied head's is the embedding's.
    """

    layers: list[LayerCall]
    heads: list[LayerCall]

    def __init__(
        self, spec: ModelSpec, layers: range, *, embedding: bool, head: bool, norm: bool, extra: int = 0
    ):
        super().__init__()
        self.spec, self.range = spec, layers
        self.embedding, self.head = embedding, head
        layer_class, norm_class = spec.architecture.part("DecoderLayer"), spec.architecture.part("RMSNorm")
        self.model = Trunk()
        config = layer_config(spec.config)
        rows = embedding or (head and spec.tied)
        self.model.embed_tokens = Matrix(spec.vocabulary, spec.hidden) if rows else None
        self.model.layers = nn.ModuleDict({str(i): layer_class(config, i) for i in layers})
        self.model.norm = norm_class(spec.hidden, eps=spec.config.rms_norm_eps) if norm else None
        self.lm_head = Matrix(spec.vocabulary, spec.hidden) if head and not spec.tied else None
        self.layers = [BoundLayer(self.model.layers[str(i)], i, spec.attention_types[i]) for i in layers]
        last = spec.layers - 1
        self.extra_heads = nn.ModuleList(layer_class(config, last) for _ in range(extra))
        self.heads = [
            BoundLayer(module, last + 1 + k, spec.attention_types[last])
            for k, module in enumerate(self.extra_heads)
        ]

    def embed(self, ids: Tensor) -> Tensor:
        """ids [b,s] -> [b,s,h], scaled."""
        assert self.model.embed_tokens is not None, "this stage was built without the embedding"
        weight = self.model.embed_tokens.weight
        rows = F.embedding(ids, weight, padding_idx=self.spec.padding_index)
        scale = self.spec.embedding_scale(weight.dtype)
        return rows if scale == 1.0 else rows * scale

    def logits(self, hidden: Tensor) -> Tensor:
        """normed hidden [b,s,h] -> logits [b,s,V], scaled and soft-capped."""
        matrix = self.model.embed_tokens if self.spec.tied else self.lm_head
        assert matrix is not None, "this stage was built without the head"
        found = F.linear(hidden, matrix.weight)
        if self.spec.logit_scale != 1.0:
            found = found * self.spec.logit_scale
        cap = self.spec.softcap
        return found if cap is None else torch.tanh(found / cap) * cap

    def forward(self, hidden: Tensor, context: Context, *, extra: bool = False) -> Tensor:
        """extra=True, on the last stage: [D + 1, b, s, ...], what the model's own head sees, then what each extra head."""
        if self.embedding:
            hidden = self.embed(hidden)
        trunk = hidden
        for layer in self.layers:
            trunk, hidden = hidden, layer(hidden, context)
        if self.model.norm is not None:
            hidden = self.model.norm(hidden)
            if extra:
                further = (self.model.norm(head(trunk, context)) for head in self.heads)
                hidden = torch.stack([hidden, *further])
        return self.logits(hidden) if self.head else hidden


def build_stage(
    spec: ModelSpec,
    layers: range,
    weights: Weights,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    embedding: bool = False,
    head: bool = False,
    norm: bool | None = None,
    extra_heads: bool = False,
) -> Stage:
    """Builds one stage and nothing else; asks `weights` for this stage's parameters only.

    Without `embedding`, the first stage takes rows that are already multiplied by
    spec.embedding_scale(dtype). Of a spec with adapters nothing else has a gradient.

    Args:
        layers: the layers' numbers, range(start, stop); may be empty.
        norm: whether the final norm is here; by default, where the layers end at the model's last.
        extra_heads: whether the spec's extra heads are here, beside the model's last layer.

    Raises:
        ModelError: the layers are not the model's, a parameter is missing or has the wrong shape, or the spec's attention
            backend doesn't run with this dtype on this device.
    """
    check_place(spec.backend, dtype, torch.device(device))
    stage = _skeleton(spec, layers, embedding, head, norm, spec.extra_heads if extra_heads else 0)
    for name, parameter in list(stage.named_parameters()):
        tensor = weights.get(plain_name(name))
        if tensor.shape != parameter.shape:
            raise ModelError(
                f"{plain_name(name)} has shape {list(tensor.shape)}; this model needs {list(parameter.shape)}."
            )
        owner, _, leaf = name.rpartition(".")
        there = nn.Parameter(tensor.to(device=device, dtype=dtype), requires_grad=parameter.requires_grad)
        setattr(stage.get_submodule(owner), leaf, there)
    return stage


def parameter_shapes(
    spec: ModelSpec,
    layers: range | None = None,
    *,
    embedding: bool | None = None,
    head: bool | None = None,
    norm: bool | None = None,
) -> dict[str, torch.Size]:
    """Hugging Face names and shapes of a stage's parameters, without adapters; of the whole model if no layers are given."""
    whole = layers is None
    found = _skeleton(
        replace(spec, adapters=None),
        range(spec.layers) if layers is None else layers,
        whole if embedding is None else embedding,
        whole if head is None else head,
        norm,
    )
    return {name: parameter.shape for name, parameter in found.named_parameters()}


def parameter_names(spec: ModelSpec, layers: range | None = None, **parts: bool | None) -> Iterator[str]:
    """The names of `parameter_shapes`, in order."""
    return iter(parameter_shapes(spec, layers, **parts))


def adapter_shapes(spec: ModelSpec) -> dict[str, torch.Size]:
    """Returns names and shapes of a model's adapters; none of a model without them."""
    if spec.adapters is None:
        return {}
    whole = _skeleton(spec, range(spec.layers), False, False, False)
    return {plain_name(name): p.shape for name, p in whole.named_parameters() if is_adapter(name)}


def decoder_layer(spec: ModelSpec) -> nn.Module:
    """Returns the first decoder layer, without values or adapters."""
    return _skeleton(replace(spec, adapters=None), range(1), False, False, False).model.layers


def _skeleton(
    spec: ModelSpec, layers: range, embedding: bool, head: bool, norm: bool | None, extra: int = 0
) -> Stage:
    if layers.step != 1 or layers.start < 0 or layers.stop > spec.layers or layers.start > layers.stop:
        raise ModelError(
            f"layers {layers} are not consecutive layers of this model, which has {spec.layers}."
        )
    if extra and not (layers and layers.stop == spec.layers):
        raise ModelError(
            f"extra heads stand beside the model's last layer, {spec.layers - 1}; {layers} lacks it."
        )
    with torch.device("meta"):
        stage = Stage(
            spec, layers, embedding=embedding, head=head, norm=_has_norm(spec, layers, norm), extra=extra
        )
        if spec.adapters is not None:
            insert_adapters(stage, stage.model.layers, spec.adapters)
    assert not list(stage.buffers()), "a layer's buffer would stay without values"
    return stage


def _has_norm(spec: ModelSpec, layers: range, norm: bool | None) -> bool:
    return layers.stop == spec.layers if norm is None else norm
