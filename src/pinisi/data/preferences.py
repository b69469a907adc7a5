"""Reads pairs of a chosen and a rejected answer from JSON lines, and makes microbatches for a preference loss of them.

A line is {"prompt": "...", "chosen": "...", "rejected": "...", "language": "..."}; language may be left out. The three are plain
text, and the model learns from the tokens of the answers alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.data.batches import Microbatch
from pinisi.data.document_bounds import beginning_id, end_of_document_id
from pinisi.data.documents import Document
from pinisi.data.shard_writer import Encoder
from pinisi.data.tokenizer import load_tokenizer

KEYS = ("prompt", "chosen", "rejected")
ALL = "all"  # the language of pairs that name none


class Answer(NamedTuple):
    """Tokens of a prompt and an answer, and where the answer begins."""

    tokens: np.ndarray
    begins: int


class Pair(NamedTuple):
    """A prompt with two answers."""

    chosen: Answer
    rejected: Answer
    language: str


class PreferencePairs:
    """All pairs of a file, tokenized.

    sequence: tokens that a prompt with its answer may have; longer pairs are left out and counted. Raises DataError that names
    file and line for what is no pair, and for a file without one that fits.
    """

    def __init__(
        self,
        file: str | Path,
        tokenizer: str | Path,
        sequence: int,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.file, self.sequence = Path(file), sequence
        loaded = load_tokenizer(tokenizer)
        encoder = Encoder(loaded, end_of_document_id(loaded), None, beginning_id(loaded))
        self.padding = encoder.end
        self.pairs: list[Pair] = []
        self.too_long = 0
        digest = hashlib.sha256()
        for number, line in enumerate(_lines(self.file), 1):
            digest.update(line)
            if line.strip():
                self._take(_record(self.file, number, line), encoder)
        self.fingerprint = digest.hexdigest()
        if not self.pairs:
            raise DataError(
                f"{self.file} holds no pair of at most {sequence} tokens (data.sequence); {self.too_long} are longer"
            )
        self.languages = tuple(sorted({pair.language for pair in self.pairs}))
        if self.too_long and report is not None:
            report(
                f"{self.file}: {self.too_long} of {self.too_long + len(self.pairs)} pairs are longer than data.sequence = "
                f"{sequence} and are left out"
            )

    def _take(self, record: dict[str, Any], encoder: Encoder) -> None:
        prompt, chosen, rejected = (Document("", record[key], "") for key in KEYS)
        ids = next(ids[:-1] for _, ids, _, _ in encoder.encode([prompt]))
        skipped = len(encoder.before)  # the answers' own beginning: they go on where the prompt ends
        answers = [
            Answer(np.asarray([*ids, *answer[skipped:]], dtype=np.int64), len(ids))
            for _, answer, _, _ in encoder.encode([chosen, rejected])
        ]
        if max(len(answer.tokens) for answer in answers) > self.sequence:
            self.too_long += 1
            return
        self.pairs.append(Pair(answers[0], answers[1], record.get("language") or ALL))

    def microbatch(self, numbers: Sequence[int]) -> Microbatch:
        """PreferencePairs as a microbatch of two rows each, with `loss_data` "sequences" (see `losses.preference`)."""
        chosen = [self.pairs[number] for number in numbers]
        answers = [answer for pair in chosen for answer in (pair.chosen, pair.rejected)]
        shape = len(answers), self.sequence
        tokens = np.full(shape, self.padding, dtype=np.int64)
        targets = np.full(shape, IGNORE, dtype=np.int64)
        documents = np.zeros(shape, dtype=np.int64)
        sequences = np.full(shape, -1, dtype=np.int64)
        for row, answer in enumerate(answers):
            size = len(answer.tokens)
            tokens[row, :size] = answer.tokens
            first = max(0, answer.begins - 1)  # the place that predicts the answer's first token
            targets[row, first : size - 1] = answer.tokens[first + 1 :]
            sequences[row, first : size - 1] = row
            documents[row] = 2 * row
            documents[row, size:] += 1
        places = np.broadcast_to(np.arange(self.sequence, dtype=np.int64), shape)
        starts = np.asarray([len(answer.tokens) for answer in answers])[:, None]
        languages = [self.languages.index(pair.language) for pair in chosen for _ in range(2)]
        return Microbatch(
            tokens=torch.from_numpy(tokens),
            targets=torch.from_numpy(targets),
            documents=torch.from_numpy(documents),
            positions=torch.from_numpy(np.where(places < starts, places, places - starts)),
            languages=torch.tensor(languages, dtype=torch.int64)[:, None].expand(shape).clone(),
            loss_data={"sequences": torch.from_numpy(sequences)},
        )


class PairBatches:
    """An endless stream of a file's pairs, in another order in each epoch; `Sampler` for pairs.

    batch: pairs of a microbatch. Global microbatch j * data_ranks + data_rank of a step is ours.
    """

    def __init__(
        self,
        pairs: PreferencePairs,
        *,
        batch: int,
        seed: int,
        data_rank: int = 0,
        data_ranks: int = 1,
        drawn: int = 0,
    ) -> None:
        self.pairs, self.batch, self.seed = pairs, batch, seed
        self.data_rank, self.data_ranks = data_rank, data_ranks
        self._drawn = drawn  # of all data ranks
        self._orders: dict[int, np.ndarray] = {}

    @property
    def languages(self) -> tuple[str, ...]:
        return self.pairs.languages

    def step(self, microbatches: int) -> list[Microbatch]:
        """Returns this data rank's next microbatches; moves on for all data ranks."""
        numbers = [self._number(self._drawn + n) for n in range(microbatches * self.data_ranks * self.batch)]
        self._drawn += len(numbers)
        groups = [numbers[at : at + self.batch] for at in range(0, len(numbers), self.batch)]
        return [self.pairs.microbatch(group) for group in groups[self.data_rank :: self.data_ranks]]

    def _number(self, place: int) -> int:
        epoch, inside = divmod(place, len(self.pairs.pairs))
        if epoch not in self._orders:
            keys = np.random.Philox(key=np.array([self.seed, epoch], dtype=np.uint64)).random_raw(
                len(self.pairs.pairs)
            )
            self._orders = {epoch: np.argsort(keys, kind="stable"), **dict(list(self._orders.items())[:1])}
        return int(self._orders[epoch][inside])

    def state(self) -> dict[str, Any]:
        """Returns all that `restore` needs, as JSON."""
        return {"fingerprint": self.pairs.fingerprint, "seed": self.seed, "pairs": self._drawn}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken. Raises DataError if the pairs or the seed are others."""
        for key, ours in (("fingerprint", self.pairs.fingerprint), ("seed", self.seed)):
            if state.get(key) != ours:
                what = f"other pairs than {self.pairs.file}" if key == "fingerprint" else "another seed"
                raise DataError(
                    f"the checkpoint was trained with {what}; resume with the same, or give another run.folder to start anew"
                )
        self._drawn = int(state["pairs"])


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as lines:
            yield from lines
    except OSError as error:
        raise DataError(
            f"{file} can't be read ({error.strerror}): give a file of JSON lines with {', '.join(KEYS)}"
        ) from None


def _record(file: Path, number: int, line: bytes) -> dict[str, Any]:
    """A line as a pair, or DataError."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f"{file}:{number} is no JSON ({error})") from None
    missing = [key for key in KEYS if not isinstance(record, dict) or not isinstance(record.get(key), str)]
    if missing:
        got = type(record.get(missing[0])).__name__ if isinstance(record, dict) else type(record).__name__
        raise DataError(
            f"{file}:{number} needs the text {missing[0]!r}, got {got}: a pair has {', '.join(KEYS)} as plain text"
        )
    empty = [key for key in ("chosen", "rejected") if not record[key]]
    if empty:
        raise DataError(
            f"{file}:{number} has an empty {empty[0]!r}: there is nothing to prefer in it; remove the line"
        )
    return record
