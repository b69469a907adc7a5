"""Checkpoints of drawn shapes, saved in drawn boxes over one to three dimensions, are read in other drawn boxes."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from pinisi.base.digests import of_index
from pinisi.base.errors import CheckpointError
from pinisi.engine.optimizer import Optimizer, Slot
from pinisi.engine.settings import OptimizerSettings
from pinisi.parallel.boxes import Box, parting_fault
from pinisi.train import checkpoint


def drawn_parting(rng: random.Random, box: Box, cuts: int) -> list[Box]:
    """Parts of a box, made by cutting one of them in two again and again; some may be empty."""
    parts = [box]
    for _ in range(cuts if box.size else 0):
        part = parts.pop(rng.randrange(len(parts)))
        d = rng.randrange(len(part.size))
        at = rng.randint(0, part.size[d])
        first, second = list(part.size), list(part.size)
        first[d], second[d] = at, part.size[d] - at
        moved = list(part.offset)
        moved[d] += at
        parts += [Box(part.offset, tuple(first)), Box(tuple(moved), tuple(second))]
    rng.shuffle(parts)
    return parts


def drawn_shape(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.choice((1, 3, 5, 7)) for _ in range(rng.randint(0, 3)))


def cut(tensor: torch.Tensor, box: Box) -> torch.Tensor:
    """The numbers of a box, index by index."""
    for d, (start, count) in enumerate(zip(box.offset, box.size, strict=True)):
        tensor = tensor.index_select(d, torch.arange(start, start + count))
    return tensor


def optimizer_of(tensors: dict[str, torch.Tensor], boxes: dict[str, list[Box]], seed: int = 0) -> Optimizer:
    slots = []
    for name, tensor in tensors.items():
        for box in boxes[name]:
            parameter = nn.Parameter(cut(tensor, box).clone())
            axes = ("pipeline",) * tensor.dim()
            slots.append(
                Slot(name, parameter, torch.zeros_like(parameter), tuple(tensor.shape), box.offset, axes)
            )
    made = Optimizer(slots, OptimizerSettings(max_grad_norm=0.0))
    if seed:  # an update, so that there are moments: each a function of the numbers alone
        for slot in slots:
            slot.gradient.copy_(slot.parameter.detach() * 0.5 - 3)
        made.step(0.25, 1.0)
    return made


def numbers_of(optimizer: Optimizer, kind: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor put together from the slots of an optimizer, by element."""
    found = torch.full(shape, torch.nan)
    for slot, kept in zip(optimizer.slots, optimizer.state(), strict=True):
        if slot.name == name and kind in kept:
            for inside in itertools.product(*(range(n) for n in slot.parameter.shape)):
                index = tuple(a + n for a, n in zip(slot.box.offset, inside, strict=True))
                found[index] = kept[kind][inside]
    return found


@pytest.mark.parametrize("seed", range(40))
def test_what_is_saved_in_drawn_boxes_is_read_in_others(seed, tmp_path):
    rng = random.Random(seed)
    shapes = {f"t{n}": drawn_shape(rng) for n in range(3)}
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    saved = optimizer_of(
        tensors, {n: drawn_parting(rng, Box.whole(s), rng.randint(0, 6)) for n, s in shapes.items()}, seed=1
    )
    checkpoint.save(tmp_path, 1, saved, {"updates": 1}, rank=0, group=None, keep=3)
    reader = checkpoint.Reader(checkpoint.latest(tmp_path))
    wanted = {
        (name, kind): numbers_of(saved, kind, name, shape)
        for name, shape in shapes.items()
        for kind in checkpoint.KINDS
    }
    for (name, kind), whole in wanted.items():
        assert torch.equal(reader.get(name, kind=kind), whole)
        for box in drawn_parting(rng, Box.whole(shapes[name]), 6):
            assert torch.equal(reader.read(name, box, kind), cut(whole, box))
    other = optimizer_of(
        {n: torch.zeros(s) for n, s in shapes.items()},
        {n: drawn_parting(rng, Box.whole(s), rng.randint(0, 6)) for n, s in shapes.items()},
    )
    checkpoint.restore(reader, other)
    assert other.updates == 1
    for (name, kind), whole in wanted.items():
        assert torch.equal(numbers_of(other, kind, name, shapes[name]), whole)


def rewritten(folder: Path, change) -> checkpoint.Reader:
    """A checkpoint whose index was changed, with a digest that fits."""
    index = json.loads((folder / "index.json").read_text())
    change(index)
    index["digest"] = of_index(index)
    (folder / "index.json").write_text(json.dumps(index))
    return checkpoint.Reader(folder)


@pytest.mark.parametrize("seed", range(20))
def test_a_piece_that_is_missing_or_there_twice_is_refused_by_name(seed, tmp_path):
    rng = random.Random(seed)
    shape = tuple(rng.choice((3, 5, 7)) for _ in range(rng.randint(1, 3)))
    boxes = [box for box in drawn_parting(rng, Box.whole(shape), 5) if box.numel]
    made = optimizer_of({"a.weight": torch.randn(shape)}, {"a.weight": boxes})
    checkpoint.save(tmp_path, 1, made, {"updates": 0}, rank=0, group=None, keep=3)
    folder = checkpoint.latest(tmp_path)
    gone = rng.randrange(len(boxes))
    piece = {}
    reader = rewritten(folder, lambda i: piece.update(i["tensors"]["a.weight"]["pieces"].pop(gone)))
    lost = Box(tuple(piece["offset"]), tuple(piece["size"]))
    with pytest.raises(CheckpointError, match=r"a\.weight can't be read, since \[.*\] is missing"):
        reader.get("a.weight")
    for box in boxes:  # what doesn't need the piece is read
        if box != lost:
            assert reader.read("a.weight", box).shape == box.size
    reader = rewritten(folder, lambda i: i["tensors"]["a.weight"]["pieces"].extend([piece, piece]))
    with pytest.raises(CheckpointError, match=re.escape(f"since {lost} is there twice")):
        reader.read("a.weight", lost)


def test_an_index_that_disagrees_with_its_files_is_refused(tmp_path):
    made = optimizer_of({"a": torch.randn(4, 6)}, {"a": [Box.whole((4, 6))]})
    checkpoint.save(tmp_path, 1, made, {"updates": 0}, rank=0, group=None, keep=3)
    folder = checkpoint.latest(tmp_path)

    def narrower(index):
        index["tensors"]["a"] = {
            "shape": [4, 3],
            "pieces": [{**index["tensors"]["a"]["pieces"][0], "size": [4, 3]}],
        }

    with pytest.raises(CheckpointError, match=r"a has shape \[4, 6\], the index says \[4, 3\]"):
        rewritten(folder, narrower).get("a")
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: what it says of the tensors"):
        rewritten(folder, lambda i: i["tensors"]["a"]["pieces"][0].pop("offset"))
    with pytest.raises(CheckpointError, match=r"a has shape \[4, 3\], \[0:5, 0:3\] doesn't lie in it"):
        rewritten(folder, lambda i: i["tensors"]["a"]["pieces"][0].update(offset=[0, 0])).get("a", range(5))


@pytest.mark.parametrize(
    "boxes, words",
    [
        ([Box((0, 0), (2, 3))], r"of a, \[2:4, 0:3\] is missing"),
        ([Box((0, 0), (3, 3)), Box((2, 1), (2, 2))], r"of a, \[2:4, 1:3\] is there twice"),
    ],
)
def test_ranks_that_do_not_hold_a_tensor_once_save_nothing(boxes, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        made = optimizer_of({"a": torch.randn(4, 3)}, {"a": boxes})
        checkpoint.save(tmp_path, 1, made, {"updates": 0}, rank=0, group=None, keep=3)
    assert list(tmp_path.iterdir()) == []


def test_weights_alone_start_a_run_of_their_own(tmp_path):
    tensors = {"a": torch.randn(4, 3), "b": torch.randn(5)}
    whole = {name: [Box.whole(tensor.shape)] for name, tensor in tensors.items()}
    saved = optimizer_of(tensors, whole, seed=1)
    checkpoint.save(tmp_path, 1, saved, {"updates": 1}, rank=0, group=None, keep=3)
    reader = checkpoint.Reader(checkpoint.latest(tmp_path))
    started = optimizer_of({name: torch.zeros_like(t) for name, t in tensors.items()}, whole, seed=1)
    checkpoint.start_from(reader, started)
    assert started.updates == 0 and all(kept.keys() == {"weight"} for kept in started.state())
    fresh = optimizer_of({name: reader.get(name) for name in tensors}, whole)
    for each in (started, fresh):  # the first update is that of an optimizer that has made none
        for slot in each.slots:
            slot.gradient.fill_(0.5)
        each.step(0.1, 1.0)
    for ours, theirs in zip(started.state(), fresh.state(), strict=True):
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("seed", range(60))
def test_boxes_are_told_apart_as_sets_of_indices_are(seed):
    """Overlap, what is left, and whether boxes part another, against the sets themselves."""
    rng = random.Random(seed)
    dimensions = rng.randint(0, 3)

    def drawn() -> Box:
        offset = tuple(rng.randrange(4) for _ in range(dimensions))
        return Box(offset, tuple(rng.randrange(4) for _ in range(dimensions)))

    def members(box: Box) -> set[tuple[int, ...]]:
        found: set[tuple[int, ...]] = {()}
        for a, b in zip(box.offset, box.end, strict=True):
            found = {(*index, n) for index in found for n in range(a, b)}
        return found

    a, b = drawn(), drawn()
    common = a.overlap(b)
    assert (members(common) if common else set()) == members(a) & members(b)
    rest = a.without(b)
    assert sum(box.numel for box in rest) == len(members(a) - members(b))
    assert set().union(*(members(box) for box in rest)) == members(a) - members(b)
    boxes = drawn_parting(rng, a, 4) if rng.random() < 0.5 else [drawn() for _ in range(3)]
    held = [index for box in boxes for index in members(box) & members(a)]
    assert (parting_fault(a, boxes) is None) == (sorted(held) == sorted(members(a)))
