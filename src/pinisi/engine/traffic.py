"""Computes the bytes that a step sends, channel by channel, by the formula of docs/architecture.md ("Bytes").

`Communicator.bytes_sent` counts the same while it runs; a test holds one against the other. Sums over replicas (REDUCE), those of
tied ends with 0 barriers and the few numbers of a step's end are not in here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.engine.extra_heads import head_targets
from pinisi.schedule import Layout
from pinisi.schedule.program import MessageChannel
from pinisi.vocabulary import Shards

Bytes = dict[str, int]  # by name of a MessageChannel


def step_bytes(
    batch: Sequence[Microbatch],
    layout: Layout,
    shards: Shards,
    *,
    hidden: int,
    dtype: torch.dtype,
    heads: int = 1,
    statistics: int = 3,
) -> list[Bytes]:
    """Of each rank, what it hands over in one training step, in bytes.

    dtype: the model's. heads: the model's own and the extra ones. statistics: rows of C1, 3 or more where the loss reads more.
    """
    found: list[Counter[str]] = [Counter() for _ in range(layout.ranks)]
    for microbatch in batch:
        kept = max(1, int((head_targets(microbatch, heads) != IGNORE).sum()))
        owner = shards.owner(microbatch.tokens.reshape(-1))
        owned = torch.bincount(owner, minlength=layout.ranks).tolist()
        _between_stages(found, layout, microbatch.tokens.numel() * hidden * dtype.itemsize)
        if layout.barriers:
            _of_the_head(found, layout, kept, hidden, dtype, statistics)
            _of_the_embedding(found, layout, [n * hidden * dtype.itemsize for n in owned])
    return [{name: n for name, n in rank.items() if n} for rank in found]


def _between_stages(found: list[Counter[str]], layout: Layout, nbytes: int) -> None:
    for stage in range(layout.last_stage):
        here, there = layout.rank_of_stage(stage), layout.rank_of_stage(stage + 1)
        if here != there:
            found[here][MessageChannel.ACTIVATION.value] += nbytes
            found[there][MessageChannel.GRADIENT.value] += nbytes


def _of_the_head(
    found: list[Counter[str]], layout: Layout, kept: int, hidden: int, dtype: torch.dtype, statistics: int
) -> None:
    second = MessageChannel.U if layout.barriers == 1 else MessageChannel.C2
    wide = max(4, dtype.itemsize)  # what is summed is fp32 at least
    for rank in found:
        rank[MessageChannel.C0.value] += kept * hidden * dtype.itemsize
        rank[MessageChannel.C1.value] += kept * statistics * wide
        rank[second.value] += kept * hidden * wide


def _of_the_embedding(found: list[Counter[str]], layout: Layout, owned: Sequence[int]) -> None:
    for rank, nbytes in enumerate(owned):
        if rank != layout.first_rank:
            found[rank][MessageChannel.EMBEDDING.value] += nbytes
            found[layout.first_rank][MessageChannel.EMBEDDING_GRADIENT.value] += nbytes


def link_bytes(handed: Mapping[str, int], ranks: int) -> float:
    """What a rank puts on its links for what it handed over, on a ring: a broadcast or a reduce passes it on once (by all but
    one rank: the mean is taken), an all-gather p - 1 times, and a message goes once."""
    times = {
        MessageChannel.C0.value: (ranks - 1) / ranks,
        MessageChannel.C1.value: ranks - 1,
        MessageChannel.U.value: (ranks - 1) / ranks,
        MessageChannel.C2.value: (ranks - 1) / ranks,
    }
    return sum(n * times.get(channel, 1) for channel, n in handed.items())
