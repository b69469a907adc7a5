"""Measures how well a model predicts text: bits per byte and perplexity by component and language."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.data import beginning_id, corpus_files, end_of_document_id, load_tokenizer, read_documents
from pinisi.data.shard_writer import Encoder
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.intervals import ScoreInterval, ratio_of
from pinisi.evaluate.samples import ratio_samples
from pinisi.evaluate.tasks import digest_of

BLOCK = 512  # documents encoded at once


class LossText:
    """One language of one component: its documents as tokens to be scored.

    A document is encoded as for training, with the token that ends it; its first token isn't predicted unless one stands before
    it, and its bytes don't count then. A document of more than `longest` tokens is cut, and each part begins anew. The digest is
    of the file's bytes.
    """

    def __init__(self, component: str, language: str, file: Path, encoder: Encoder, longest: int) -> None:
        self.component, self.language, self.file = component, language, file
        self.digest = digest_of(file)
        self.continuations: list[Continuation] = []
        self.ends: list[int] = []  # of each document, how many continuations there are up to its end
        self.bytes: list[int] = []
        self.ids: list[str] = []  # of the documents
        waiting = []
        for document in read_documents(file):
            waiting.append(document)
            if len(waiting) == BLOCK:
                self._take(encoder, waiting, longest)
                waiting = []
        self._take(encoder, waiting, longest)

    def _take(self, encoder: Encoder, documents: list, longest: int) -> None:
        self.ids += [document.id for document in documents]
        for _, ids, predicted, _ in encoder.encode(documents):
            parts = [ids[start : start + longest + 1] for start in range(0, len(ids) - 1, longest)]
            self.continuations += [Continuation(tuple(part), 1) for part in parts]
            self.ends.append(len(self.continuations))
            self.bytes.append(predicted)

    def sums(self, log_probs: Sequence[np.ndarray]) -> tuple[list[float], list[int]]:
        """(nats, tokens) of each document. log_probs: of each continuation."""
        starts = [0, *self.ends[:-1]]
        parts = [log_probs[start:end] for start, end in zip(starts, self.ends, strict=True)]
        nats = [-sum(float(part.sum()) for part in of) for of in parts]
        return nats, [sum(len(part) for part in of) for of in parts]

    def scores(self, log_probs: Sequence[np.ndarray], seed: int = 0) -> dict[str, ScoreInterval]:
        """bits_per_byte, and perplexity of a token, with intervals over documents. log_probs: of each continuation."""
        nats, tokens = self.sums(log_probs)
        bits = ratio_of([n / math.log(2) for n in nats], self.bytes, seed)
        loss = ratio_of(nats, tokens, seed)
        value, low, high = (math.exp(min(x, 700.0)) for x in loss[:3])
        perplexity = ScoreInterval(value, low, high, loss.items)
        return {"bits_per_byte": bits, "perplexity": perplexity}

    def samples(self, log_probs: Sequence[np.ndarray]) -> dict[str, Any]:
        """What the scores are made of, by document."""
        nats, tokens = self.sums(log_probs)
        measures = {
            "bits_per_byte": ratio_samples([n / math.log(2) for n in nats], self.bytes),
            "perplexity": ratio_samples(nats, tokens, exponential=True),
        }
        return {"ids": self.ids, "measures": measures}


def loss_texts(
    component: str, folder: str | Path, tokenizer: str | Path, rows: int, longest: int
) -> list[LossText]:
    """All languages of a folder of text. rows: of the model's vocabulary."""
    loaded = load_tokenizer(tokenizer)
    encoder = Encoder(loaded, end_of_document_id(loaded), rows, beginning_id(loaded))
    return [
        LossText(component, language, file, encoder, longest)
        for language, file in corpus_files(folder).items()
    ]
