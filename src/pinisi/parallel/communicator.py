"""Communicators of one pipeline: a process group per channel, everything asynchronous.

Each channel of `pinisi.schedule.execution.lower` has a process group of its own, so that messages of one channel never queue
behind those of another. ACTIVATION and GRADIENT have one for each direction: in a V they go both ways between the same
two ranks, and NCCL runs what a group does between two ranks one after the other, sends and receives alike. Groups and
pairs are connected when the communicator is built, in one fixed order, because a lazily made connection in the middle of
a step can wait for a rank that waits for something else.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import _set_pg_timeout

from pinisi.base.errors import CommunicationError
from pinisi.parallel.place import environment_number, place
from pinisi.parallel.rendezvous import join_store
from pinisi.parallel.status import waiting
from pinisi.parallel.watchdog import longest_wait
from pinisi.schedule.program import Message, MessageChannel

P2P = (
    MessageChannel.ACTIVATION,
    MessageChannel.GRADIENT,
    MessageChannel.EMBEDDING,
    MessageChannel.EMBEDDING_GRADIENT,
)
_BOTH_WAYS = (MessageChannel.ACTIVATION, MessageChannel.GRADIENT)
COLLECTIVES = (MessageChannel.C0, MessageChannel.C1, MessageChannel.C2)


def init_mesh(pipeline: int, device: torch.device, timeout: timedelta | None = None) -> DeviceMesh:
    """A (data, pipeline) mesh over all processes; the world size must be a multiple of `pipeline`. timeout: of its collectives."""
    world = dist.get_world_size()
    if world % pipeline:
        raise CommunicationError(
            f"{world} processes can't be divided into pipelines of {pipeline} ranks: start a multiple of pipeline.ranks"
        )
    with waiting():
        mesh = init_device_mesh(
            device.type, (world // pipeline, pipeline), mesh_dim_names=("data", "pipeline")
        )
    if timeout is not None:
        for name in ("data", "pipeline"):
            _set_pg_timeout(timeout, mesh.get_group(name))
    return mesh


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
        cls, pipelines: list[list[int]], device: torch.device, timeout: timedelta | None = None
    ) -> Communicator | None:
        """Makes the groups of every pipeline; returns this process' own, or None if it is in none.

        `pipelines`: global ranks of each, such as `mesh.mesh.tolist()`. A collective call: all processes of the world make
        all groups in one order. timeout: after which a collective or a message gives up; torch's own if left out.
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
                result._warm_up(device)
        return result

    @property
    def size(self) -> int:
        return len(self.ranks)

    def _warm_up(self, device: torch.device) -> None:
        token = torch.zeros(1, device=device)
        for channel in P2P:
            for a in range(self.size):
                for b in range(self.size):
                    if a == b or self.rank not in (a, b):
                        continue
                    group = self.groups[channel, a < b]
                    if self.rank == a:
                        dist.send(token, self.ranks[b], group=group)
                    else:
                        dist.recv(token, self.ranks[a], group=group)
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


def init_process_group(backend: str | None, device: torch.device, stuck_after: float | None = None) -> None:
    """Joins the process group that the environment names (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    stuck_after: runtime.stuck_after, of which the limits of joining and of every collective follow; torch's own if left out.
    Raises CommunicationError, or ConfigError for an environment that names no rank.
    """
    backend = backend or ("nccl" if device.type == "cuda" else "gloo")
    rank, world = place()
    if missing := [k for k in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(k)]:
        raise CommunicationError(
            f"the environment lacks {', '.join(missing)}: start through `pinisi train` or torchrun, which set them"
        )
    environment_number("MASTER_PORT", least=1, most=65535)
    try:
        with waiting():
            store = join_store(rank, world, stuck_after)
            limit = timedelta(seconds=longest_wait(stuck_after)) if stuck_after else None
            dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)
    except (RuntimeError, OSError, dist.DistError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise CommunicationError(
            f"rank {rank} could not join the others at {where} over {backend}: {error}"
        ) from error
