"""Ignored tokens never reach the head: what travels and what S, T work on is counted by hand."""

from __future__ import annotations

import pytest
import torch

from pinisi.base.ids import IGNORE
from pinisi.models import read_spec
from pinisi.schedule.program import MessageChannel
from tests.distributed.cases import Case, batches, config_of, engine_of


def run(world, given: tuple[Case, tuple[int, ...]]) -> dict[str, int] | None:
    """Bytes that this rank handed to each channel in a step whose microbatches have `keep` targets each."""
    case, keep = given
    if world.rank >= case.ranks:
        return None
    engine = engine_of(case, read_spec(config_of(case)), world.communicators[case.ranks])
    batch = batches(case)
    for b, count in zip(batch, keep, strict=True):
        b.targets.copy_(b.tokens.roll(-1, 1))
        flat = b.targets.view(-1)
        flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(3))[count:]] = IGNORE
    seen: list[int] = []
    head = engine.worker.parts.head
    inner = head.s
    head.s = lambda x, *rest, **more: (seen.append(len(x)), inner(x, *rest, **more))[1]
    communicator = engine.communicator
    communicator.bytes_sent.clear()
    engine.gradients(batch)
    return {**communicator.bytes_sent, "tokens": sum(seen)}


@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("keep", [(22, 22, 22), (4, 5, 4), (0, 1, 22)])
def test_bytes_and_work_are_those_of_the_targets(pool, barriers, keep):
    case = Case(barriers=barriers, ranks=2, microbatches=3, tied=False, packed=False, ignored="none")
    found = pool.run("tests.distributed.test_compaction:run", (case, keep))[: case.ranks]
    tokens = sum(max(1, count) for count in keep)  # a collective of nothing would be an error
    hidden, size = config_of(case)["hidden_size"], 8  # fp64
    second = MessageChannel.U if barriers == 1 else MessageChannel.C2
    for sent in found:
        assert sent["tokens"] == tokens
        assert sent[MessageChannel.C0.value] == tokens * hidden * size
        assert sent[MessageChannel.C1.value] == 3 * tokens * size
        assert sent[second.value] == tokens * hidden * size
