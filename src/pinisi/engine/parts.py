"""Builds what one rank holds of a model: its stages, its rows of the vocabulary, and a gradient buffer for each parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pinisi.base.errors import ConfigError
from pinisi.costs import even_layers
from pinisi.engine.compiled import check_compiled, compiled_layers
from pinisi.engine.distill import head_for
from pinisi.engine.gradients import (
    WeightGradients,
    attach_buffer,
    defer_weight_gradients,
    gradient_dtype,
    no_buffer,
)
from pinisi.engine.optimizer import Slot
from pinisi.engine.settings import Numerics, Objective
from pinisi.models import ModelSpec, build_stage, make_context, vocabulary_names
from pinisi.models.adapters import plain_name
from pinisi.models.stage import Stage, Weights
from pinisi.schedule import Layout
from pinisi.schedule.needs import Gradients
from pinisi.vocabulary import Curve, EmbeddingShard, Head, HeadShard, Projection, Shards


def split_layers(layers: int, stages: int, given: Sequence[int] | None = None) -> list[range]:
    """Consecutive layers for each stage: as `given`, or as even as can be with the longer stages first."""
    if stages > layers:
        raise ConfigError(
            f"the model has {layers} layers, too few for {stages} stages: set pipeline.ranks to {layers} or less"
        )
    if given is None:
        given = even_layers(layers, stages)
    if len(given) != stages or sum(given) != layers or min(given) < 0:
        raise ConfigError(
            f"pipeline.layers is {list(given)}: needed {stages} numbers, none negative, that sum to {layers}"
        )
    return [range(a, b) for a, b in pairwise(accumulate(given, initial=0))]


@dataclass
class Parts:
    """The parts of the model that a rank holds. `embedding` and `head` are None with 0 barriers, where the first and the
    last stage hold them whole."""

    stages: dict[int, Stage]
    shards: Shards
    embedding: EmbeddingShard | None
    head: Head | None
    projection: Projection | None  # the head's rows, of which a student learns
    embedding_scale: float
    padding_index: int | None
    hidden: int
    dtype: torch.dtype
    buffers: dict[nn.Parameter, torch.Tensor]
    make_context: Callable
    frozen_bytes: int = 0  # of parameters beside adapters

    @property
    def statistics_dtype(self) -> torch.dtype:
        """Of losses, log-probabilities and sums over ranks."""
        return torch.float64 if self.dtype is torch.float64 else torch.float32


class Holding(NamedTuple):
    """Says what a rank holds: layers[stage] are each stage's layers, shards every rank's rows."""

    layout: Layout
    rank: int
    layers: Sequence[range]
    shards: Shards

    @property
    def whole_ends(self) -> bool:
        """Whether the first and the last stage hold embedding and head undivided."""
        return self.layout.barriers == 0


def build_parts(
    spec: ModelSpec,
    weights: Weights,
    held: Holding,
    numerics: Numerics,
    objective: Objective,
    *,
    later: WeightGradients | None = None,
    frozen: bool = False,
) -> tuple[Parts, list[Slot]]:
    """Builds what a rank holds, reading or drawing only that, and lists its parameters.

    later: where linear layers leave their weight gradients, if the schedule has passes B and W. frozen: nothing is trained,
    and no gradient has memory. Of a model with adapters these alone are listed.
    """
    dtype, device = numerics.dtype, numerics.device or torch.device("cpu")
    stages = _stages(spec, weights, held, dtype, device)
    for module in stages.values():
        _wrap_layers(spec, module, numerics, later)
    buffers, slots = _stage_slots(spec, held, stages, frozen)
    others: list[Slot] = []  # of a model with adapters: what they stand on
    embedding = head = projection = None
    if not held.whole_ends:
        fixed = frozen or spec.adapters is not None
        ends = _end_slots(spec, weights, held.shards.rows(held.rank), dtype, device, fixed)
        embedding, shard = _ends(spec, ends, held, numerics.head_budget)
        head, projection = head_for(objective, shard), shard.projection
        slots += ends.values()
    if spec.adapters is not None and not frozen:
        others = [slot for slot in slots if not slot.parameter.requires_grad]
        slots = [slot for slot in slots if slot.parameter.requires_grad]
        if not slots:
            raise ConfigError(
                f"rank {held.rank} has no layers, and so no adapters to train: give it some (pipeline.layers)"
            )
    parts = Parts(
        stages=stages,
        shards=held.shards,
        embedding=embedding,
        head=head,
        projection=projection,
        embedding_scale=spec.embedding_scale(dtype),
        padding_index=spec.padding_index,
        hidden=spec.hidden,
        dtype=dtype,
        buffers=buffers,
        make_context=partial(make_context, spec, dtype=dtype, device=device),
        frozen_bytes=sum(slot.parameter.nbytes for slot in others),
    )
    return parts, slots


def _wrap_layers(spec: ModelSpec, module: Stage, numerics: Numerics, later: WeightGradients | None) -> None:
    """Puts weight gradients off, compiles, and computes again in the backward pass, as far as each is asked for."""
    if later is not None:
        defer_weight_gradients(module, later)
    if (compiler := numerics.compiler) is not None:
        check_compiled(spec, compiler)
        module.layers = compiled_layers(module.layers, compiler, later)
        module.heads = compiled_layers(module.heads, compiler, later)
    if numerics.activation_checkpointing:
        module.layers = [partial(checkpoint, layer, use_reentrant=False) for layer in module.layers]
        module.heads = [partial(checkpoint, head, use_reentrant=False) for head in module.heads]


def _stages(
    spec: ModelSpec, weights: Weights, held: Holding, dtype: torch.dtype, device: torch.device
) -> dict[int, Stage]:
    """The rank's modules by stage, with undivided ends where the layout has no shards of them."""
    stages: dict[int, Stage] = {}
    last_stage, whole = held.layout.last_stage, held.whole_ends
    for stage in held.layout.stages[held.rank]:
        stages[stage] = build_stage(
            spec,
            held.layers[stage],
            weights,
            dtype=dtype,
            device=device,
            embedding=whole and stage == 0,
            head=whole and stage == last_stage,
            norm=stage == last_stage,
            extra_heads=stage == last_stage,
        )
        if whole and spec.tied and stage == last_stage > 0 and 0 in stages:
            # both ends on this rank as different stages: one matrix
            stages[stage].model.embed_tokens = stages[0].model.embed_tokens
    return stages


def _stage_slots(
    spec: ModelSpec, held: Holding, stages: dict[int, Stage], frozen: bool
) -> tuple[dict[nn.Parameter, torch.Tensor], list[Slot]]:
    """Gives each parameter of the stages one gradient buffer, and lists it once."""
    buffers: dict[nn.Parameter, torch.Tensor] = {}
    slots: list[Slot] = []
    layout = held.layout
    tied_apart = held.whole_ends and spec.tied and layout.first_rank != layout.last_rank
    embedding_name = vocabulary_names(spec).embedding
    for stage, module in stages.items():
        for name, parameter in module.named_parameters():
            if parameter in buffers:  # both ends
                next(slot for slot in slots if slot.parameter is parameter).part = Gradients.ENDS
                continue
            if frozen or not parameter.requires_grad:
                buffers[parameter] = no_buffer(parameter.requires_grad_(False))
            else:
                buffers[parameter] = attach_buffer(parameter)
            end = tied_apart and name == embedding_name  # summed over both ends when all passes are done
            slots.append(
                Slot(
                    plain_name(name),
                    parameter,
                    buffers[parameter],
                    tuple(parameter.shape),
                    counted=not (end and stage == layout.last_stage),
                    part=None if end else stage,
                )
            )
    return buffers, slots


def _end_slots(
    spec: ModelSpec,
    weights: Weights,
    rows: range,
    dtype: torch.dtype,
    device: torch.device,
    frozen: bool,
) -> dict[str, Slot]:
    """This rank's rows of embedding and head by name; tied ones are one parameter with one gradient buffer."""
    names = vocabulary_names(spec)
    slots: dict[str, Slot] = {}
    for name in (names.embedding, names.head, names.bias):
        if name is None or name in slots:
            continue
        tensor = weights.get(name, rows).to(device=device, dtype=dtype)
        parameter = nn.Parameter(tensor.contiguous(), requires_grad=not frozen)
        buffer = no_buffer(tensor) if frozen else torch.zeros_like(parameter, dtype=gradient_dtype(dtype))
        shape = (spec.vocabulary, *tensor.shape[1:])
        others = tensor.dim() - 1  # dimensions beside the rows
        offset, axes = (rows.start, *[0] * others), ("pipeline", *[None] * others)
        part = Gradients.TIED if names.embedding == names.head else Gradients.HEAD
        if name == names.embedding != names.head:
            part = Gradients.EMBEDDING
        slots[name] = Slot(name, parameter, buffer, shape, offset, axes, part=part)
    return slots


def _ends(
    spec: ModelSpec, slots: dict[str, Slot], held: Holding, head_budget: int | None
) -> tuple[EmbeddingShard, HeadShard]:
    names = vocabulary_names(spec)
    embed, head, bias = slots[names.embedding], slots[names.head], slots.get(names.bias or "")
    learns = head.parameter.requires_grad
    return (
        EmbeddingShard(embed.parameter, embed.gradient if learns else None, embed.box.offset[0]),
        HeadShard(
            head.parameter,
            head.gradient if learns else None,
            head.box.offset[0],
            bias=bias.parameter if bias else None,
            bias_gradient=bias.gradient if bias and learns else None,
            curve=Curve(spec.logit_scale, spec.softcap),
            barriers=held.layout.barriers,
            # beside adapters U, of S's products, is all that the head gives with one barrier
            budget=head_budget if learns or held.layout.barriers == 2 else 0,
        ),
    )
