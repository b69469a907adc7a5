"""Moves tensors between the ranks of one pipeline: a process group per channel, everything asynchronous.

Each channel of `pinisi.schedule.execution.lower` has a process group of its own, so that messages of one channel never queue
behind those of another. ACTIVATION and GRADIENT have one for each direction: in a V they go both ways between the same
two ranks, and NCCL runs what a group does between two ranks one after the other, sends and receives alike. Groups are connected
when the communicator is built, in one fixed order, because a lazily made connection in the middle of a step can wait for a rank
that waits for something else: each collective, and each pair of ranks that a message goes between, which is one communicator of
NCCL's. Other pairs are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from datetime import timedelta

import torch
import torch.distributed as dist

from pinisi.parallel.status import waiting
from pinisi.schedule.program import Edge, Message, MessageChannel

P2P = (
    MessageChannel.ACTIVATION,
    MessageChannel.GRADIENT,
    MessageChannel.EMBEDDING,
    MessageChannel.EMBEDDING_GRADIENT,
)
_BOTH_WAYS = (MessageChannel.ACTIVATION, MessageChannel.GRADIENT)
COLLECTIVES = (MessageChannel.C0, MessageChannel.C1, MessageChannel.C2)


def possible_edges(ranks: int) -> frozenset[Edge]:
    """Returns the edges of all layouts: stages go around on a ring, either way, and embeddings to the first rank and back."""
    neighbours = {(a, (a + 1) % ranks) for a in range(ranks) if ranks > 1}
    ring = neighbours | {(b, a) for a, b in neighbours}
    found = {(channel, a, b) for channel in _BOTH_WAYS for a, b in ring}
    for rank in range(1, ranks):
        found |= {(MessageChannel.EMBEDDING, rank, 0), (MessageChannel.EMBEDDING_GRADIENT, 0, rank)}
    return frozenset(found)


def pairs_of(edges: Set[Edge], rank: int) -> int:
    """Counts the communicators of NCCL's for messages that a rank has: one a pair of ranks and group."""
    groups = (
        (channel, channel not in _BOTH_WAYS or a < b, a, b) for channel, a, b in edges if rank in (a, b)
    )
    return len({(channel, up, min(a, b), max(a, b)) for channel, up, a, b in groups})


class Communicator:
    """All channels of one pipeline, seen from one of its ranks.

    `ranks` are the global ranks of the pipeline in order of their stage; `rank` is the place of this process among
    them. `bytes_sent` counts, per channel, what this rank handed to send, broadcast, reduce or all-gather.
    """

    def __init__(
        self,
        ranks: list[int],
        rank: int,
        groups: dict[tuple[MessageChannel, bool], dist.ProcessGroup],
        world: dist.ProcessGroup,
    ):
        self.ranks = ranks
        self.rank = rank
        self.groups = groups  # by channel and whether a message goes to a higher rank
        self.world = world  # for what is done between steps
        self.bytes_sent: Counter[str] = Counter()

    @classmethod
    def connect(
        cls,
        pipelines: list[list[int]],
        device: torch.device,
        timeout: timedelta | None = None,
        edges: Set[Edge] | None = None,
    ) -> Communicator | None:
        """Makes the groups of every pipeline; returns this process' own, or None if it is in none.

        `pipelines`: global ranks of each, such as `mesh.lines("pipeline")`. A collective call: all processes of the world make
        all groups in one order. timeout: after which a collective or a message gives up; torch's own if left out. edges: over which
        messages will go, by places in the pipeline; those of all layouts if left out.
        """
        mine = dist.get_rank()
        result = None
        for ranks in pipelines:
            world = dist.new_group(ranks, timeout=timeout)
            groups = {}
            for channel in (*P2P, *COLLECTIVES):
                groups[channel, True] = groups[channel, False] = dist.new_group(ranks, timeout=timeout)
                if channel in _BOTH_WAYS:
                    groups[channel, False] = dist.new_group(ranks, timeout=timeout)
            # U is the reduction chained behind C1 and exists only with 1 barrier, C2 only with 2: one communicator serves both.
            groups[MessageChannel.U, True] = groups[MessageChannel.C2, True]
            if mine in ranks:
                result = cls(ranks, ranks.index(mine), groups, world)
        if result is not None:
            with waiting():
                result._warm_up(device, possible_edges(result.size) if edges is None else edges)
        return result

    @property
    def size(self) -> int:
        return len(self.ranks)

    def _warm_up(self, device: torch.device, edges: Set[Edge]) -> None:
        token = torch.zeros(1, device=device)
        for channel, source, target in sorted(edges):
            group = self.groups[channel, source < target]
            if self.rank == source:
                dist.send(token, self.ranks[target], group=group)
            elif self.rank == target:
                dist.recv(token, self.ranks[source], group=group)
        for channel in COLLECTIVES:
            dist.all_reduce(token, group=self.groups[channel, True])

    def _group(self, message: Message) -> dist.ProcessGroup:
        return self.groups[message.channel, message.source < message.target]

    def _tag(self, message: Message) -> int:
        # gloo matches by tag; stages of one rank pair never exceed 4096, and a step has its microbatches in order.
        return message.microbatch * 4096 + message.stage

    def send(self, message: Message, tensor: torch.Tensor) -> dist.Work | None:
        """Starts a send; the caller holds the tensor until the work is done (gloo reads the buffer late)."""
        if tensor.numel() == 0:
            return None  # both sides know from the token ids that there is nothing to send
        self.bytes_sent[message.channel.value] += tensor.nbytes
        return dist.isend(
            tensor, self.ranks[message.target], group=self._group(message), tag=self._tag(message)
        )

    def receive(self, message: Message, buffer: torch.Tensor) -> dist.Work | None:
        if buffer.numel() == 0:
            return None
        return dist.irecv(
            buffer, self.ranks[message.source], group=self._group(message), tag=self._tag(message)
        )

    def launch(self, message: Message, tensor: torch.Tensor, root: int) -> tuple[dist.Work, torch.Tensor]:
        """Enters a collective; returns the work and the tensor that will hold the result.

        C0: broadcast of `tensor` from `root`. C1: all-gather, result [p, *tensor.shape]. U, C2: sum to `root`.
        """
        group = self.groups[message.channel, True]
        self.bytes_sent[message.channel.value] += tensor.nbytes
        if message.channel is MessageChannel.C0:
            return dist.broadcast(tensor, self.ranks[root], group=group, async_op=True), tensor
        if message.channel is MessageChannel.C1:
            result = tensor.new_empty((self.size, *tensor.shape))
            return dist.all_gather(list(result.unbind(0)), tensor, group=group, async_op=True), result
        return dist.reduce(tensor, self.ranks[root], group=group, async_op=True), tensor
