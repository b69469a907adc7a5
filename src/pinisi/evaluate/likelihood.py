"""Scores tokens on the engine: forward passes of any number of ranks, started here or in this process.

Each row is a microbatch of its own, computed in the same shape whatever runs beside it: scores are the same bits for every number
of rows at once. Another number of ranks sums the vocabulary's rows in another order, which shows in the last digits.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from pinisi.base.errors import ConfigError, PinisiError
from pinisi.engine.engine import Engine
from pinisi.engine.settings import Numerics, Placement, Ranks
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.model_source import MeasuredModel
from pinisi.evaluate.next_tokens import TokenWork
from pinisi.evaluate.packing import microbatch_of, packed, scored_places
from pinisi.launch.supervisor import launch, rank_main
from pinisi.parallel.communicator import Communicator
from pinisi.parallel.place import joined, place
from pinisi.parallel.rendezvous import init_process_group
from pinisi.schedule import build
from pinisi.train.building import device_here

ITEMS, WORK, SCORES = "items.npz", "work.json", "scores.npz"  # in the folder that the ranks work in
ROW, AT_ONCE = 1024, 8  # tokens of a row; rows that are in the pipeline at once


class LikelihoodScorer:
    """Computes log-probabilities of scored tokens with an engine; every rank calls it with the same items."""

    def __init__(self, engine: Engine, *, row: int = ROW, at_once: int = AT_ONCE) -> None:
        if row < 1 or at_once < 1:
            raise ConfigError(
                f"a row of {row} tokens and {at_once} rows at once were asked for: both must be at least 1"
            )
        self.engine, self.row, self.at_once = engine, row, at_once

    def score(self, items: Sequence[Continuation]) -> list[np.ndarray]:
        """For each item the natural logarithms of its scored tokens' probabilities, float64 [scored]."""
        rows = packed([len(item.tokens) - 1 for item in items], self.row)
        found: list[np.ndarray] = [np.zeros(0)] * len(items)
        for start in range(0, len(rows), self.at_once):
            for number, values in self.score_rows(items, rows[start : start + self.at_once]):
                found[number] = values
        return found

    def score_rows(
        self, items: Sequence[Continuation], rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The same of the items in these rows, as `packed` makes them: (number of the item, its values)."""
        in_rows = [[items[number] for number in row] for row in rows]
        log_probs = self.engine.log_probs([microbatch_of(row) for row in in_rows])
        for numbers, row, lp in zip(rows, in_rows, log_probs, strict=True):
            values = lp[0].to("cpu", torch.float64).numpy()
            for number, where in zip(numbers, scored_places(row), strict=True):
                yield number, values[where].copy()


def check_ranks(model: MeasuredModel, ranks: int) -> None:
    """Raises ConfigError where the model can't be split over so many ranks."""
    if not 1 <= ranks <= model.spec.layers:
        raise ConfigError(
            f"{ranks} ranks and a model of {model.spec.layers} layers: give --ranks from 1 to {model.spec.layers}"
        )


def engine_of(model: MeasuredModel, communicator: Communicator, device: torch.device) -> Engine:
    """A frozen engine of this rank's share: the vocabulary split over all ranks."""
    p = communicator.size
    return Engine(
        model.spec,
        model.weights,
        Ranks(communicator),
        Placement(build("1f1b", p, p, barriers=1)),
        numerics=Numerics(dtype=model.dtype, device=device),
        frozen=True,
    )


def score_here(
    model: MeasuredModel, items: Sequence[Continuation], *, row: int = ROW, at_once: int = AT_ONCE
) -> list[np.ndarray]:
    """Scores in this process alone, which is in no process group."""
    with engine_here(model) as engine:
        return LikelihoodScorer(engine, row=row, at_once=at_once).score(items)


@contextmanager
def engine_here(model: MeasuredModel) -> Iterator[Engine]:
    """An engine of the whole model in this process, which is in no process group."""
    device = device_here()
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        communicator = Communicator.connect([[0]], device)
        assert communicator is not None
        yield engine_of(model, communicator, device)
    finally:
        dist.destroy_process_group()


def score_on_ranks(
    arguments: Sequence[str],
    items: Sequence[Continuation],
    ranks: int,
    threads: int | None = None,
    *,
    timed: list[float] | None = None,
    work: TokenWork | None = None,
) -> list[np.ndarray]:
    """Scores on ranks that are started on this machine, or does other work on them, which gives tokens.

    arguments: of `pinisi evaluate`, that name the model; each rank runs it with `--as-rank FOLDER` behind. timed: gets the seconds
    of the passes, without the ranks' start. Raises PinisiError if a rank fails: the message is on stderr then.
    """
    folder = Path(tempfile.mkdtemp(prefix="pinisi-evaluate-"))
    write_items(folder / ITEMS, items)
    if work is not None:
        (folder / WORK).write_text(json.dumps(work._asdict()), "utf-8")
    command = ["evaluate", *arguments, "--as-rank", str(folder)]
    if launch(command, ranks, folder, threads=threads):
        raise PinisiError(
            f"the evaluation's ranks failed; their message is above, their logs in {folder}/logs"
        )
    with np.load(folder / SCORES) as found:
        scores = np.split(found["values"], np.cumsum(found["sizes"])[:-1])
        if timed is not None:
            timed.append(float(found["seconds"]))
    shutil.rmtree(folder)
    return scores


def write_items(path: Path, items: Sequence[Continuation]) -> None:
    """Writes what the ranks are to score."""
    np.savez(
        path,
        tokens=np.fromiter((token for item in items for token in item.tokens), np.int64),
        sizes=np.fromiter((len(item.tokens) for item in items), np.int64),
        first=np.fromiter((item.first for item in items), np.int64),
    )


def read_items(path: Path) -> list[Continuation]:
    """Reads what `write_items` wrote."""
    with np.load(path) as found:
        parts = np.split(found["tokens"], np.cumsum(found["sizes"])[:-1])
        firsts = found["first"].tolist()
    return [Continuation(tuple(part.tolist()), first) for part, first in zip(parts, firsts, strict=True)]


def work_as_rank(model: MeasuredModel, folder: Path, *, row: int = ROW, at_once: int = AT_ONCE) -> int:
    """Does the work of one rank that `score_on_ranks` has started; rank 0 leaves the scores."""
    if not joined():
        raise ConfigError("--as-rank is for processes that pinisi evaluate starts itself: leave it out")

    def work() -> int:
        device = device_here()
        init_process_group(None, device)
        rank, world = place()
        communicator = Communicator.connect([list(range(world))], device)
        assert communicator is not None
        engine, items = engine_of(model, communicator, device), read_items(folder / ITEMS)
        dist.barrier()
        began = time.perf_counter()
        scores = _worked(engine, model, items, folder, row, at_once)
        seconds = time.perf_counter() - began
        if rank == 0:
            sizes = np.fromiter((len(score) for score in scores), np.int64)
            np.savez(
                folder / f".{os.getpid()}.npz", values=np.concatenate(scores), sizes=sizes, seconds=seconds
            )
            (folder / f".{os.getpid()}.npz").replace(folder / SCORES)
        dist.barrier()
        dist.destroy_process_group()
        return 0

    return rank_main(work)


def _worked(
    engine: Engine, model: MeasuredModel, items: Sequence[Continuation], folder: Path, row: int, at_once: int
) -> list[np.ndarray]:
    """Scores, or tokens where the folder says what is asked of them."""
    if not (folder / WORK).is_file():
        return LikelihoodScorer(engine, row=row, at_once=at_once).score(items)
    asked = json.loads((folder / WORK).read_text("utf-8"))
    work = TokenWork(asked["new_tokens"], tuple(asked["ends"]), tuple(asked["stop"]))
    return work.done(engine, model.tokenizer, items, row, at_once)
