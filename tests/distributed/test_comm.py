"""Process groups: what may never wait for one another has one of its own."""

from __future__ import annotations

import pytest
import torch

from pinisi.base.errors import ScheduleError
from pinisi.parallel.communicator import Communicator, pairs_of, possible_edges
from pinisi.schedule import Message, MessageChannel, Op, build, edges_of, layout_of, lower, names


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


def sent_over_chosen_edges(world, _) -> float:
    """Connects only the edges of 1F1B's layout, and sends along each; returns the sum of what came in here."""
    edges = edges_of(layout_of("1f1b", 4, barriers=1))
    communicator = Communicator.connect([list(range(4))], torch.device("cpu"), edges=edges)
    assert communicator is not None
    works, buffers = [], []
    for channel, source, target in sorted(edges):
        message = Message(channel, 0, source, target)
        if communicator.rank == source:
            works.append(communicator.send(message, torch.full((1,), 10.0**source)))
        elif communicator.rank == target:
            buffers.append(torch.zeros(1))
            works.append(communicator.receive(message, buffers[-1]))
    for work in works:
        work.wait()
    return float(sum(buffers, torch.zeros(1)))


def test_a_communicator_connects_what_it_is_asked_to(pool):
    """Activations and embeddings come from below or above: rank 0 takes gradients of 1, embeddings of 1, 2 and 3."""
    found = pool.run("tests.distributed.test_comm:sent_over_chosen_edges")
    assert found == [10 + 1110, 1 + 100 + 1, 10 + 1000 + 1, 100 + 1]


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_the_edges_of_a_layout_are_those_of_its_programs(barriers):
    for name in names():
        for ranks in (1, 2, 3, 4, 8):
            try:
                schedule = build(name, ranks, 2 * ranks, barriers=barriers)
            except ScheduleError:
                continue
            sent = {
                (each.what.channel, each.what.source, each.what.target)
                for row in lower(schedule).instructions
                for each in row
                if each.op is Op.SEND
            }
            assert sent == edges_of(schedule.layout) <= possible_edges(ranks), (name, ranks)


def test_how_many_communicators_a_rank_has():
    """Two a neighbour where stages go one way, and two for the embedding; all pairs would be 6 (p - 1)."""
    for ranks in (8, 64):
        edges = edges_of(layout_of("1f1b", ranks, barriers=1))
        assert [pairs_of(edges, rank) for rank in range(ranks)] == [
            2 + 2 * (ranks - 1), *[4 + 2] * (ranks - 2), 2 + 2
        ]  # fmt: skip
        around = edges_of(layout_of("interleaved-1f1b", ranks, barriers=1))
        assert pairs_of(around, 3) == 4 + 2
        vee = edges_of(layout_of("zbv", ranks, barriers=1))
        assert pairs_of(vee, 3) == 8 + 2
        assert max(pairs_of(possible_edges(ranks), rank) for rank in range(1, ranks)) == 8 + 2
