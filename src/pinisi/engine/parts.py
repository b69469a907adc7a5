"""Builds what one rank holds of a model: its stages, its rows of the vocabulary, and a gradient buffer for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pinisi.base.errors import ConfigError
from pinisi.costs import even_layers
from pinisi.engine.gradients import (
    WeightGradients,
    attach_buffer,
    defer_weight_gradients,
    gradient_dtype,
    no_buffer,
)
from pinisi.engine.optimizer import Slot
from pinisi.engine.worker import Parts
from pinisi.models import ModelSpec, build_stage, make_context, vocabulary_names
from pinisi.models.stage import Stage, Weights
from pinisi.schedule import Layout
from pinisi.vocabulary import EmbeddingShard, HeadShard, Shards


def split_layers(layers: int, stages: int, given: Sequence[int] | None = None) -> list[range]:
    """Consecutive layers for each stage: as `given`, or as even as can be with the longer stages first."""
    if stages > layers:
        raise ConfigError(
            f"the model has {layers} layers, too few for {stages} stages: set schedule.ranks to {layers} or less"
        )
    if given is None:
        given = even_layers(layers, stages)
    if len(given) != stages or sum(given) != layers or min(given) < 0:
        raise ConfigError(
            f"schedule.layers is {list(given)}: needed {stages} numbers, none negative, that sum to {layers}"
        )
    return [range(a, b) for a, b in pairwise(accumulate(given, initial=0))]


def build_parts(
    spec: ModelSpec,
    weights: Weights,
    layout: Layout,
    rank: int,
    layers: Sequence[range],
    shards: Shards,
    *,
    dtype: torch.dtype,
    device: torch.device,
    recompute: bool = False,
    head_budget: int | None = None,
    later: WeightGradients | None = None,
    frozen: bool = False,
) -> tuple[Parts, list[Slot]]:
    """Builds what `rank` holds, reading or drawing only that, and lists its parameters.

    layers[stage]: the layers of each stage. `later`: where linear layers leave their weight gradients, if the schedule
    has passes B and W. frozen: nothing is trained, and no gradient has memory.
    """
    buffers: dict[nn.Parameter, torch.Tensor] = {}
    slots: list[Slot] = []
    stages: dict[int, Stage] = {}
    whole = layout.barriers == 0
    tied_apart = whole and spec.tied and layout.first_rank != layout.last_rank
    names = vocabulary_names(spec)
    for stage in layout.stages[rank]:
        module = build_stage(
            spec,
            layers[stage],
            weights,
            dtype=dtype,
            device=device,
            embedding=whole and stage == 0,
            head=whole and stage == layout.last_stage,
            norm=stage == layout.last_stage,
            extra_heads=stage == layout.last_stage,
        )
        if whole and spec.tied and layout.last_stage > 0 and not tied_apart and stage == layout.last_stage:
            # both ends on this rank as different stages: one matrix
            module.model.embed_tokens = stages[0].model.embed_tokens
        if recompute:
            module.layers = [partial(checkpoint, layer, use_reentrant=False) for layer in module.layers]
            module.heads = [partial(checkpoint, head, use_reentrant=False) for head in module.heads]
        if later is not None:
            defer_weight_gradients(module, later)
        stages[stage] = module
        for name, parameter in module.named_parameters():
            if parameter in buffers:
                continue
            if frozen:
                buffers[parameter] = no_buffer(parameter.requires_grad_(False))
            else:
                buffers[parameter] = attach_buffer(parameter)
            copy = tied_apart and name == names.embedding and stage == layout.last_stage
            slots.append(Slot(name, parameter, buffers[parameter], tuple(parameter.shape), counted=not copy))
    embedding = head = None
    if not whole:
        embedding, head, more = _vocabulary(
            spec, weights, layout, shards.rows(rank), dtype, device, head_budget, frozen
        )
        slots += more
    return (
        Parts(
            stages=stages,
            shards=shards,
            embedding=embedding,
            head=head,
            embedding_scale=spec.embedding_scale(dtype),
            padding_index=spec.padding_index,
            hidden=spec.hidden,
            dtype=dtype,
            buffers=buffers,
            make_context=partial(make_context, spec, dtype=dtype, device=device),
        ),
        slots,
    )


def _vocabulary(
    spec: ModelSpec,
    weights: Weights,
    layout: Layout,
    rows: range,
    dtype: torch.dtype,
    device: torch.device,
    head_budget: int | None,
    frozen: bool,
) -> tuple[EmbeddingShard, HeadShard, list[Slot]]:
    """This rank's rows of embedding and head; tied ones are one parameter with one gradient buffer."""
    names = vocabulary_names(spec)
    slots: dict[str, Slot] = {}
    for name in (names.embedding, names.head, names.bias):
        if name is None or name in slots:
            continue
        tensor = weights.get(name, rows).to(device=device, dtype=dtype)
        parameter = nn.Parameter(tensor.contiguous())
        buffer = no_buffer(tensor) if frozen else torch.zeros_like(parameter, dtype=gradient_dtype(dtype))
        shape = (spec.vocabulary, *tensor.shape[1:])
        others = tensor.dim() - 1  # dimensions beside the rows
        offset, axes = (rows.start, *[0] * others), ("pipeline", *[None] * others)
        slots[name] = Slot(name, parameter, buffer, shape, offset, axes)
    embed, head, bias = slots[names.embedding], slots[names.head], slots.get(names.bias or "")
    return (
        EmbeddingShard(embed.parameter, embed.gradient, rows.start),
        HeadShard(
            head.parameter,
            head.gradient,
            rows.start,
            bias=bias.parameter if bias else None,
            bias_gradient=bias.gradient if bias else None,
            scale=spec.logit_scale,
            softcap=spec.softcap,
            barriers=layout.barriers,
            budget=head_budget,
        ),
        list(slots.values()),
    )
