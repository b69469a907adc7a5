"""Named axes over ranks: who is where, against numpy's own numbering, and the groups over real processes."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist

from pinisi.base.errors import CommunicationError, ScheduleError
from pinisi.parallel import mesh as meshes
from pinisi.parallel.agree import agree_on
from pinisi.parallel.mesh import Grid, Mesh, grid_of
from pinisi.schedule import build
from pinisi.train import tables

NAMES = ("data", "pipeline", "context", "expert", "tensor")


@pytest.mark.parametrize("seed", range(30))
def test_coordinates_and_lines_are_those_of_an_array(seed):
    """Of any axes, such as come later: the ranks in C order, as numpy has them."""
    rng = random.Random(seed)
    axes = NAMES[: rng.randint(1, 5)]
    sizes = {axis: rng.randint(1, 3) for axis in axes}
    grid, array = Grid(sizes), np.arange(np.prod(list(sizes.values()))).reshape(*sizes.values())
    assert grid.ranks == array.size
    for rank in range(array.size):
        place = np.unravel_index(rank, array.shape)
        assert grid.coordinates(rank) == dict(zip(axes, map(int, place), strict=True))
        assert grid.rank(grid.coordinates(rank)) == rank
    for n, axis in enumerate(axes):
        assert grid.lines(axis) == np.moveaxis(array, n, -1).reshape(-1, sizes[axis]).tolist()


def test_an_axis_more_is_a_row_of_the_table(monkeypatch):
    monkeypatch.setattr(meshes, "AXES", {**meshes.AXES, "tensor": "each matrix"})
    grid = grid_of({"pipeline": 2, "tensor": 3}, 12)
    assert list(grid.sizes.items()) == [("data", 2), ("pipeline", 2), ("tensor", 3)]
    assert grid.coordinates(11) == {"data": 1, "pipeline": 1, "tensor": 2}
    assert grid_of({"pipeline": 4}, 4).sizes == {"data": 1, "pipeline": 4, "tensor": 1}


@pytest.mark.parametrize(
    "sizes, words",
    [
        ({"pipeline": 3}, r"4 processes can't be divided into 3 \(pipeline\) ranks: start a multiple of 3"),
        ({"pipeline": 2, "data": 3}, r"can't be divided into 2 \(pipeline\) x 3 \(data\)"),
        ({"pipelin": 2}, "no axis 'pipelin' of the mesh: choose one of data, pipeline"),
        ({"pipeline": 0}, "can't be divided"),
    ],
)
def test_what_cannot_be_is_said(sizes, words):
    with pytest.raises(CommunicationError, match=words):
        grid_of(sizes, 4)


def ask(world, pipeline: int) -> SimpleNamespace:
    """Of this rank: its coordinates, and the sums of all ranks' numbers over each group."""
    tied = (0, pipeline - 1) if pipeline > 1 else None
    mesh = Mesh.connect({"pipeline": pipeline}, tied=tied)

    def total(group) -> int | None:
        number = torch.tensor([10**world.rank])
        if group is None:
            return None
        dist.all_reduce(number, group=group)
        return int(number)

    sums = {axis: total(mesh.group(axis)) for axis in ("data", "pipeline")}
    return SimpleNamespace(
        coordinates=mesh.coordinates,
        sizes={axis: mesh.size(axis) for axis in sums},
        lines=mesh.lines("pipeline"),
        sums=sums,
        tied=total(mesh.tied),
    )


@pytest.mark.parametrize("pipeline", [1, 2, 4])
def test_groups_are_of_the_ranks_that_share_all_other_coordinates(pipeline, pool):
    found = pool.run("tests.distributed.test_mesh:ask", pipeline)
    array = np.arange(4).reshape(-1, pipeline)
    for rank, mine in enumerate(found):
        d, p = np.argwhere(array == rank)[0]
        assert mine.coordinates == {"data": d, "pipeline": p}
        assert mine.sizes == {"data": 4 // pipeline, "pipeline": pipeline}
        assert mine.lines == array.tolist()
        lines = {"data": array[:, p], "pipeline": array[d]}
        for axis, line in lines.items():
            assert mine.sums[axis] == (sum(10 ** int(n) for n in line) if len(line) > 1 else None)
        ends = [int(array[d][0]), int(array[d][-1])]
        apart = pipeline > 1 and rank in ends
        assert mine.tied == (sum(10**n for n in ends) if apart else None)


def differ(world, changed: tuple[int, ...]) -> str:
    """What a rank is told where some ranks run another table."""
    schedule = build("1f1b", 2, 5 if world.rank in changed else 4, barriers=1)
    try:
        tables.one_table(schedule, [2, 2], [0, 3, 7])
    except CommunicationError as error:
        return str(error)
    return ""


def hangs(world, _) -> str:
    """What a rank is told where all run one table that nobody has verified, and that hangs; the first rank alone looks."""
    schedule = build("1f1b", 2, 4, barriers=1)
    order = (tuple(reversed(schedule.order[0])), schedule.order[1])
    wrong = type(schedule)(schedule.name, schedule.layout, 4, order, schedule.costs)
    try:
        tables.one_table(wrong, [2, 2], [0, 3, 7])
    except ScheduleError as error:
        return str(error)
    return ""


def alike(world, _) -> list:
    schedule = build("1f1b", 2, 4, barriers=1)
    verified = tables.one_table(schedule, [2, 2], [0, 3, 7])
    agree_on(number=3, text="a")
    return [schedule.digest() in verified]


def test_ranks_that_run_another_table_are_named_to_all(pool):
    assert pool.run("tests.distributed.test_mesh:alike") == [[True]] * 4
    for changed, words in (((2,), "rank 2 has another schedule"), ((1, 3), "ranks 1, 3 have another")):
        found = pool.run("tests.distributed.test_mesh:differ", changed)
        assert len(set(found)) == 1 and found[0].startswith(words), found
    found = pool.run("tests.distributed.test_mesh:hangs")
    assert len(set(found)) == 1 and "rank 0" in found[0], found
