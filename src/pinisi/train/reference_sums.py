"""Makes a reference model's log-probabilities of answers once, and keeps them with a fingerprint of the model and the pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pinisi.base import digests, json_text
from pinisi.base.files import new_folder, write_whole
from pinisi.config import RunConfig
from pinisi.data.batches import Microbatch
from pinisi.data.conversations.pair_batches import PAIRS, PairDrawing, all_pairs, sums_by_answer
from pinisi.data.conversations.store import ChatStore
from pinisi.engine.engine import Engine
from pinisi.engine.optimizer import global_sum
from pinisi.models.folder import SMALL_FILES, local_folder
from pinisi.parallel.agree import gather_json
from pinisi.train import checkpoint

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer

FORMAT = 1
INDEX, SUMS, MODELS = "index.json", "sums.bin", "models.json"
AT_ONCE = 8  # microbatches of one forward-only step
NUMBER: np.dtype[Any] = np.dtype("<f8")


class ReferenceSums:
    """Keeps Σ log p of each answer of a store, float64 [2 · pairs], in a folder whose name follows from what they follow from.

    model: the reference's digest (`reference_digest`); dtype: in which it computes. So another model, other pairs or another
    template make others, and the ones of before stay.
    """

    def __init__(self, room: Path, store: ChatStore, model: str, dtype: str) -> None:
        self.store = store
        self.facts = {"format": FORMAT, "model": model, "pairs": store.fingerprint, "dtype": dtype}
        self.folder = room / f"reference-{digests.of_value(self.facts)[:16]}"

    def read(self) -> np.ndarray | None:
        """Returns the sums; None if they aren't there whole, as they were written."""
        try:
            index = json_text.parse((self.folder / INDEX).read_text("utf-8"))
            data = (self.folder / SUMS).read_bytes()
        except (OSError, ValueError):
            return None
        right = {**self.facts, "sums": digests.of_bytes(data)}
        whole = index == right and len(data) == len(self.store) * NUMBER.itemsize
        return np.frombuffer(data, NUMBER) if whole else None

    def write(self, sums: np.ndarray) -> None:
        """Keeps the sums. Raises DataError if the folder can't be written."""
        data = np.ascontiguousarray(sums, NUMBER).tobytes()
        with new_folder(self.folder) as new:
            (new / SUMS).write_bytes(data)
            (new / INDEX).write_text(json.dumps({**self.facts, "sums": digests.of_bytes(data)}, indent=1))

    def there(self) -> bool:
        """Tells whether every rank can read them; a collective call."""
        return all(gather_json(self.read() is not None))


def made_sums(trainer: Trainer, engine: Engine, store: ChatStore, drawing: PairDrawing) -> np.ndarray:
    """Returns the engine's sums of all answers, each replica's share made by itself; a collective call."""
    sums = torch.zeros(len(store), dtype=torch.float64)
    batches = all_pairs(store, drawing, trainer.data_rank, trainer.data_ranks)
    while some := list(islice(batches, AT_ONCE)):
        trainer.status.phase("computing the reference's log-probabilities")
        for numbers, found in summed(engine, some):
            sums[2 * numbers], sums[2 * numbers + 1] = found[0::2], found[1::2]
    group = trainer.mesh.group("data")
    if group is not None:
        sums = global_sum(sums.to(trainer.device), group).cpu()
    return sums.numpy()


def summed(engine: Engine, batch: list[Microbatch]) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Yields of each microbatch its pairs' numbers [n] and the engine's sums by answer, float64 [2 · n]; a collective call."""
    for microbatch, lp in zip(batch, engine.log_probs(batch), strict=True):
        yield microbatch.loss_data[PAIRS], sums_by_answer(lp, microbatch)


def keep_sums(
    trainer: Trainer, kept: ReferenceSums, engine: Engine, drawing: PairDrawing, say: Callable[[str], None]
) -> np.ndarray:
    """Makes sums, keeps and returns them; a collective call."""
    began = time.perf_counter()
    sums = made_sums(trainer, engine, kept.store, drawing)
    if trainer.leader:
        kept.write(sums)
        count, seconds = len(kept.store) // 2, time.perf_counter() - began
        say(f"the reference's log-probabilities of {count:,} pairs: {seconds:.1f} s, kept in {kept.folder}")
    return sums


def reference_digest(config: RunConfig, source: str | None, room: Path) -> str:
    """Returns what a reference model's numbers follow from: the digests of a folder's weights and configuration, or of a
    checkpoint, or a random start. source: as of `frozen_weights`. room: where digests of files that haven't changed are kept."""
    if source is None and (begun := config.run.start or config.run.branch) is not None:
        return digests.of_value(checkpoint.Reader(Path(begun)).index)
    source = source or config.model.source
    if source is None:
        return digests.of_value([config.model.config, config.run.seed])
    folder = Path(local_folder(source, ("*.safetensors", *SMALL_FILES), "safetensors files"))
    files = sorted([*folder.glob("*.safetensors"), folder / "config.json"])
    return digests.of_value([(file.name, digest) for file, digest in _digests(files, room / MODELS)])


def _digests(files: list[Path], memory: Path) -> list[tuple[Path, str]]:
    """The digest of each file; those that `memory` has of files of the same size and time aren't read again."""
    try:
        known = dict(json_text.parse(memory.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    found = {}
    for file in files:
        facts = file.stat()
        key = f"{file.resolve()} {facts.st_size} {facts.st_mtime_ns}"
        found[key] = known.get(key) or digests.of_file(file)
    if found.items() - known.items():
        write_whole(memory, json.dumps(known | found, indent=1))
    return list(zip(files, found.values(), strict=True))
