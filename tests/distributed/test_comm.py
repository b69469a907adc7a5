"""Process groups: what may never wait for one another has one of its own."""

from __future__ import annotations

from pinisi.parallel.communicator import Communicator
from pinisi.schedule import Message, MessageChannel


def run(world, _) -> list[int]:
    """Of this rank, a number per group: activations up and down, gradients up and down, C0, C1, U, C2."""
    communicator: Communicator = world.communicators[2] if world.rank < 2 else world.communicators[4]
    messages = [
        Message(channel, 0, source, 1 - source)
        for channel in (MessageChannel.ACTIVATION, MessageChannel.GRADIENT)
        for source in (0, 1)
    ]
    groups = [communicator._group(message) for message in messages]
    collectives = (MessageChannel.C0, MessageChannel.C1, MessageChannel.U, MessageChannel.C2)
    groups += [communicator.groups[channel, True] for channel in collectives]
    return [groups.index(group) for group in groups]


def test_both_directions_and_all_collectives_have_their_own_groups(pool):
    """In a V activations go both ways between two ranks, and NCCL runs what one group does there one after the other. U and C2
    are never in one step."""
    for found in pool.run("tests.distributed.test_comm:run"):
        assert found == [0, 1, 2, 3, 4, 5, 6, 6]
