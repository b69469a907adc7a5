"""Finds, for each new token, the old tokens that stand among the same neighbours in text.

Like FOCUS (arXiv 2305.14481), which takes a fastText embedding of the new vocabulary, but counted: a token's neighbours are the old
tokens within a window before it and behind it, so that old and new tokens are compared in one space. Counts become positive
pointwise mutual information (Bullinaria and Levy 2007), compared by cosine.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from pinisi.data.vocabulary.bpe_file import BpeFile, json_of
from pinisi.data.vocabulary.words import Texts, batched

WINDOW = 3  # old tokens on each side
CONTEXTS = 2000  # of the most frequent old tokens, each once before and once behind
NEAREST = 10  # old tokens that a new one is made of
SHARPNESS = 10.0  # of the softmax over cosines
LEAST = 5  # an old token seen more rarely says nothing
MOST_TOKENS = 3_000_000  # of text that are counted

Vectors = dict[int, Counter[int]]


def like_tokens(
    tokenizer: BpeFile, pieces: Mapping[int, tuple[int, ...]], texts: Texts
) -> dict[int, dict[int, float]]:
    """Returns {new id: {old id: weight}}, weights that sum to 1. A new token that has no neighbours is left out.

    tokenizer: the extended one. pieces: the old ids of each new token.
    """
    from tokenizers import Tokenizer

    vectors, seen = _neighbours(Tokenizer.from_str(json_of(tokenizer)), pieces, texts)
    contexts = {id: place for place, (id, _) in enumerate(seen.most_common(CONTEXTS))}
    old = [id for id in sorted(seen) if seen[id] >= LEAST]
    new = [id for id in sorted(pieces) if id in vectors]
    if not old or not new:
        return {}
    one, two = (_table(vectors, ids, contexts) for ids in (old, new))
    nearness = two @ one.T
    found = {}
    for id, row in zip(new, nearness, strict=True):
        best = np.argsort(-row, kind="stable")[:NEAREST]
        best = best[row[best] > 0]
        if len(best):
            weights = np.exp(SHARPNESS * (row[best] - row[best[0]]))
            found[id] = dict(zip([old[at] for at in best], (weights / weights.sum()).tolist(), strict=True))
    return found


def _neighbours(
    backend: Any, pieces: Mapping[int, tuple[int, ...]], texts: Texts
) -> tuple[Vectors, Counter[int]]:
    """{token: its neighbours}, those before it as they are and those behind it as ~id; and how often each old token is seen."""
    vectors: Vectors = {}
    seen: Counter[int] = Counter()
    room = {language: MOST_TOKENS // max(1, len(texts)) for language in texts}
    for language in sorted(texts):
        for batch in batched(texts[language]()):
            for encoding in backend.encode_batch(batch, add_special_tokens=False):
                old = [each for id in encoding.ids for each in pieces.get(id, (id,))]
                seen.update(old)
                for place, id in enumerate(old):
                    _add(vectors, id, old, place, place + 1)
                place = 0
                for id in encoding.ids:
                    size = len(pieces.get(id, (id,)))
                    if id in pieces:
                        _add(vectors, id, old, place, place + size)
                    place += size
                room[language] -= len(old)
            if room[language] < 0:
                break
    return vectors, seen


def _add(vectors: Vectors, id: int, old: list[int], start: int, stop: int) -> None:
    counts = vectors.setdefault(id, Counter())
    counts.update(old[max(0, start - WINDOW) : start])
    counts.update(~each for each in old[stop : stop + WINDOW])


def _table(vectors: Vectors, ids: Collection[int], contexts: Mapping[int, int]) -> np.ndarray:
    """Positive pointwise mutual information of tokens and their neighbours, each row of length 1, float32."""
    counts = np.zeros((len(ids), 2 * len(contexts)), np.float32)
    for row, id in enumerate(ids):
        for other, count in vectors[id].items():
            place = contexts.get(other if other >= 0 else ~other)
            if place is not None:
                counts[row, place + len(contexts) * (other < 0)] = count
    total = max(counts.sum(), 1.0)
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(counts > 0, np.log(counts / expected), 0).clip(min=0)
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-9)
