"""The loop over instructions, one rank alone: communication is done as soon as it is asked for, passes do nothing."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import pytest
import torch

from pinisi.engine.executor import Executor
from pinisi.schedule import build, lower
from pinisi.schedule.program import Message, MessageChannel


class Done:
    """A message that took no time."""

    def is_completed(self) -> bool:
        return True

    def wait(self) -> None:
        return None


class Counting:
    """A worker that makes a tensor for each message and knows how many are alive."""

    def __init__(self) -> None:
        self.made: dict[MessageChannel, list[weakref.ref]] = {}
        self.most: dict[MessageChannel, int] = {}

    def run(self, p) -> None:
        return None

    def payload(self, message: Message) -> torch.Tensor:
        tensor = torch.zeros(3)
        refs = self.made.setdefault(message.channel, [])
        refs.append(weakref.ref(tensor))
        alive = sum(ref() is not None for ref in refs)
        self.most[message.channel] = max(self.most.get(message.channel, 0), alive)
        return tensor

    def arrived(self, message: Message, tensor: torch.Tensor) -> None:
        return None


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("rank", [0, 2, 3])
def test_what_is_in_flight_does_not_grow_with_the_microbatches(barriers, rank):
    """No pass of the other ranks waits for U or C2, so nothing but the executor can let their parts go."""
    program = lower(build("1f1b", 4, 37, barriers=barriers))
    communicator = SimpleNamespace(
        rank=rank,
        send=lambda message, tensor: Done(),
        receive=lambda message, buffer: Done(),
        launch=lambda message, tensor, root: (Done(), tensor),
    )
    worker = Counting()
    Executor(communicator, worker, torch.device("cpu")).step(program)
    reduction = MessageChannel.U if barriers == 1 else MessageChannel.C2
    assert len(worker.made[reduction]) == 37
    assert all(most <= 8 for most in worker.most.values()), worker.most
    assert all(ref() is None for refs in worker.made.values() for ref in refs), "a step leaves nothing behind"
