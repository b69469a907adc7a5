"""Four gloo processes, started once for all tests of a session; each runs the jobs that it is sent."""

from __future__ import annotations

import datetime
import importlib
import os
import socket
import traceback
from functools import cached_property
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pinisi.launch import ranks
from pinisi.parallel.communicator import Communicator

WORLD = 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pool:
    """`run("module:function", argument)` calls function(world, argument) on every rank; returns the four results."""

    def __init__(self) -> None:
        ranks.warm_up()
        context = mp.get_context("forkserver" if ranks.forks() else "spawn")
        port = free_port()
        self.pipes: list[Connection] = []
        self.processes = []
        for rank in range(WORLD):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, port, theirs), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    def run(self, function: str, argument: object = None, seconds: float = 300) -> list:
        for pipe in self.pipes:
            pipe.send((function, argument))
        results: list = [None] * len(self.pipes)
        waiting = dict(zip(self.pipes, range(len(self.pipes)), strict=True))
        while waiting:
            ready = wait(list(waiting), timeout=seconds)
            if not ready:
                self.close()
                raise TimeoutError(
                    f"ranks {sorted(waiting.values())} did not answer {function} in {seconds} s"
                )
            for pipe in ready:
                rank = waiting.pop(pipe)
                kind, results[rank] = pipe.recv()
                if kind == "error":  # the others wait for this rank in vain
                    self.close()
                    raise AssertionError(f"rank {rank}:\n{results[rank]}")
        return results

    @property
    def closed(self) -> bool:
        return not all(process.is_alive() for process in self.processes)

    def close(self) -> None:
        for process in self.processes:
            process.kill()


class Replicas(NamedTuple):
    """Ranks 0 and 1 are one pipeline, 2 and 3 the other. ends, tied weights' group, and stage, all that hold the same
    parameters: this rank's own."""

    communicator: Communicator
    stage: dist.ProcessGroup
    ends: dist.ProcessGroup


class World:
    """What a job gets: a communicator over the first p ranks for each p, the pair of a pipeline's ends, and two pipelines side by
    side. A group of gloo's wakes a thread a hundred times a second as long as it lives, so that jobs share all of them."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.communicators = {}
        self.ends = {}
        for p in range(1, WORLD + 1):
            self.communicators[p] = Communicator.connect([list(range(p))], torch.device("cpu"))
            self.ends[p] = dist.new_group([0, p - 1]) if p > 1 else None

    @cached_property
    def replicas(self) -> Replicas:
        """For a job that all four ranks run, since all make all groups."""
        communicator = Communicator.connect([[0, 1], [2, 3]], torch.device("cpu"))
        assert communicator is not None
        stages = [dist.new_group([0, 2]), dist.new_group([1, 3])]
        ends = [dist.new_group([0, 1]), dist.new_group([2, 3])]
        return Replicas(communicator, stages[self.rank % 2], ends[self.rank // 2])


def _serve(rank: int, port: int, pipe: Connection) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=120),
    )
    world = World(rank)
    while True:
        function, argument = pipe.recv()
        module, name = function.split(":")
        try:
            pipe.send(("ok", getattr(importlib.import_module(module), name)(world, argument)))
        except BaseException:
            pipe.send(("error", traceback.format_exc()))
