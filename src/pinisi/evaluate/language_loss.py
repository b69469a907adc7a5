"""Measures how well a model predicts text: bits per byte and perplexity by component and language."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.data import beginning_id, corpus_files, end_of_document_id, load_tokenizer, read_documents
from pinisi.data.shard_writer import Encoder, batched
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.intervals import ScoreInterval, ratio_of
from pinisi.evaluate.samples import ratio_samples
from pinisi.evaluate.tasks import digest_of


class LossText:
    """One language of one component: its documents as tokens to be scored. `add` takes them, one by one.

    A document's first token isn't predicted unless one stands before it, and its bytes don't count then. A document of more than
    `longest` tokens is cut, and each part begins anew. file, digest: what the text was read from, and what tells it from another.
    """

    def __init__(self, component: str, language: str, file: Path, digest: str, longest: int) -> None:
        self.component, self.language, self.file, self.digest = component, language, file, digest
        self.longest = longest
        self.continuations: list[Continuation] = []
        self.ends: list[int] = []  # of each document, how many continuations there are up to its end
        self.bytes: list[int] = []
        self.ids: list[str] = []  # of the documents

    def add(self, id: str, tokens: Sequence[int], predicted: int) -> None:
        """tokens: with the one that ends the document; predicted: bytes of the text that all but the first stand for."""
        parts = [
            tokens[start : start + self.longest + 1] for start in range(0, len(tokens) - 1, self.longest)
        ]
        self.continuations += [Continuation(tuple(part), 1) for part in parts]
        self.ends.append(len(self.continuations))
        self.bytes.append(predicted)
        self.ids.append(id)

    def sums(self, log_probs: Sequence[np.ndarray]) -> tuple[list[float], list[int]]:
        """(nats, tokens) of each document. log_probs: of each continuation."""
        starts = [0, *self.ends][: len(self.ends)]
        parts = [log_probs[start:end] for start, end in zip(starts, self.ends, strict=True)]
        nats = [-sum(float(part.sum()) for part in of) for of in parts]
        return nats, [sum(len(part) for part in of) for of in parts]

    def scores(self, log_probs: Sequence[np.ndarray], seed: int = 0) -> dict[str, ScoreInterval]:
        """bits_per_byte, and perplexity of a token, with intervals over documents: those of which there is anything to predict.

        log_probs: of each continuation.
        """
        nats, tokens = self.sums(log_probs)
        bits = ratio_of([n / math.log(2) for n in nats], self.bytes, seed)
        loss = ratio_of(nats, tokens, seed)
        value, low, high = (math.exp(min(x, 700.0)) for x in loss[:3])
        perplexity = ScoreInterval(value, low, high, loss.items)
        found = {"bits_per_byte": bits, "perplexity": perplexity}
        return {name: found[name] for name, sizes in self._sizes(tokens).items() if any(sizes)}

    def samples(self, log_probs: Sequence[np.ndarray]) -> dict[str, Any]:
        """What the scores are made of, by document."""
        nats, tokens = self.sums(log_probs)
        measures = {
            "bits_per_byte": ratio_samples([n / math.log(2) for n in nats], self.bytes),
            "perplexity": ratio_samples(nats, tokens, exponential=True),
        }
        kept = {name: measures[name] for name, sizes in self._sizes(tokens).items() if any(sizes)}
        return {"ids": self.ids, "measures": kept}

    def _sizes(self, tokens: Sequence[int]) -> dict[str, Sequence[int]]:
        """What each measure is divided by, of each document."""
        return {"bits_per_byte": self.bytes, "perplexity": tokens}


def loss_texts(
    component: str,
    folder: str | Path,
    tokenizer: str | Path,
    rows: int,
    longest: int,
    limit: int | None = None,
) -> list[LossText]:
    """All languages of a folder of text, encoded as for training. rows: of the model's vocabulary. limit: only so many documents of
    each language."""
    loaded = load_tokenizer(tokenizer)
    encoder = Encoder(loaded, end_of_document_id(loaded), rows, beginning_id(loaded))
    found = []
    for language, file in corpus_files(folder).items():
        text = LossText(component, language, file, digest_of(file), longest)
        for batch in batched(islice(read_documents(file), limit)):
            for document, ids, predicted, _ in encoder.encode(batch):
                text.add(document.id, ids, predicted)
        if not text.ids:
            raise DataError(f"{file} holds no document: take it away, or leave its folder out")
        found.append(text)
    return found
