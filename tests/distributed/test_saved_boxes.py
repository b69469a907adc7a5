"""Four ranks save their boxes of drawn tensors, and take other boxes back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from pinisi.parallel.boxes import Box
from pinisi.train import checkpoint
from tests.engine.test_boxes import cut, drawn_parting, optimizer_of

SHAPES = {"a": (5, 7), "b": (3, 5, 4), "c": (7,), "d": ()}


def go(world, given: tuple[str, int]) -> bool:
    """Whether this rank gets back what the ranks together have saved, cut otherwise; every rank draws the same."""
    folder, seed = Path(given[0]), given[1]
    torch.manual_seed(seed)
    tensors = {name: torch.randn(shape) for name, shape in SHAPES.items()}

    def mine(draw: int) -> dict[str, list[Box]]:
        rng = random.Random(draw)
        parts = {n: drawn_parting(rng, Box.whole(s), rng.randint(0, 9)) for n, s in SHAPES.items()}
        return {name: boxes[world.rank :: 4] for name, boxes in parts.items()}

    saved = optimizer_of(tensors, mine(seed))
    group = world.communicators[4].world
    checkpoint.save(folder, 3, saved, {"updates": 0}, rank=world.rank, group=group, keep=1)
    reader = checkpoint.newest_whole(folder, group=group).reader
    other = mine(seed + 1000)
    taken = optimizer_of({name: torch.zeros(shape) for name, shape in SHAPES.items()}, other)
    if taken.slots:
        checkpoint.start_from(reader, taken)
    wanted = [cut(tensors[name], box) for name, boxes in other.items() for box in boxes]
    whole = all(torch.equal(reader.get(name), tensor) for name, tensor in tensors.items())
    return whole and all(torch.equal(s.parameter, w) for s, w in zip(taken.slots, wanted, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_any_boxes_of_any_ranks_are_taken_by_any_others(seed, pool, tmp_path):
    assert pool.run("tests.distributed.test_saved_boxes:go", (str(tmp_path), seed)) == [True] * 4
