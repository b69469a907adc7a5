"""Judges a model on held-out data during a run: losses of text, margins of preference pairs. Every rank calls these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pinisi.base.ids import IGNORE
from pinisi.data import TokenShards
from pinisi.data.batches import Microbatch, eval_documents
from pinisi.data.conversations.pair_batches import PAIRS
from pinisi.data.conversations.store import ChatStore
from pinisi.data.preferences import PreferencePairs
from pinisi.engine.engine import Engine
from pinisi.losses.pairs import PairLoss, as_pairs
from pinisi.train.standing import DOCUMENTS

if TYPE_CHECKING:
    from pinisi.train.trainer import Trainer

AT_ONCE = 8  # microbatches of one forward-only step


def text_losses(trainer: Trainer, shards: TokenShards) -> dict[str, dict[str, Any]]:
    """Returns by language the cross-entropy in nats a token; "bytes": of the text that its tokens stand for; "documents": (nats,
    tokens) of each document, which models with extra heads don't tell."""
    found: dict[str, dict[str, Any]] = {}
    for language in shards.languages:
        batches, owners = eval_documents(
            shards,
            sequence=trainer.phase.data.sequence,
            batch=trainer.phase.data.microbatch_size,
            language=language,
            positions=trainer.config.data.positions,
            most=trainer.config.evaluation.microbatches,
        )
        documents = [] if trainer.spec.extra_heads else _documents(trainer.engine, batches, owners)
        total, count = _loss(trainer.engine, batches) if trainer.spec.extra_heads else _sums(documents)
        counts = shards.counts(language)
        share = count / max(1, counts["tokens"] - counts["documents"])  # of the text's targets
        if count:
            found[language] = {
                "loss": total / count,
                "tokens": count,
                "bytes": share * counts["predicted_bytes"],
                **({DOCUMENTS: documents} if documents else {}),
            }
    return found


def _documents(
    engine: Engine, batches: list[Microbatch], owners: list[np.ndarray]
) -> list[tuple[float, int]]:
    """Returns the sum of -lp and the number of targets of each document."""
    size = max((int(each.max()) for each in owners), default=-1) + 1
    nats, tokens = np.zeros(size), np.zeros(size, np.int64)
    for start in range(0, len(batches), AT_ONCE):
        given = batches[start : start + AT_ONCE]
        log_probs = engine.log_probs(given)
        for batch, owner, lp in zip(given, owners[start : start + AT_ONCE], log_probs, strict=True):
            told = batch.targets.numpy() != IGNORE
            np.add.at(nats, owner[told], -lp.to("cpu", torch.float64).numpy()[told])
            np.add.at(tokens, owner[told], 1)
    return [(float(sum), int(count)) for sum, count in zip(nats, tokens, strict=True) if count]


def _sums(documents: Sequence[tuple[float, int]]) -> tuple[float, int]:
    return math.fsum(nats for nats, _ in documents), sum(count for _, count in documents)


def mean_losses(engine: Engine, batches: Mapping[str, list[Microbatch]]) -> dict[str, dict[str, float]]:
    """Returns by language the cross-entropy in nats a target."""
    sums = {language: _loss(engine, given) for language, given in batches.items()}
    return {
        language: {"loss": total / count, "tokens": count}
        for language, (total, count) in sums.items()
        if count
    }


def _loss(engine: Engine, batches: list[Microbatch]) -> tuple[float, int]:
    """Returns the sum of -lp over the batches' targets, and how many there are."""
    total, count = 0.0, 0
    for start in range(0, len(batches), AT_ONCE):
        # one language, which the caller knows: all count under number 0
        given = [
            replace(b, languages=torch.zeros_like(b.languages)) for b in batches[start : start + AT_ONCE]
        ]
        result = engine.evaluate(given)
        total += result.by_language[0][0]
        count += result.by_language[0][1]
    return total, count


def pair_margins(
    model: Engine, reference: Engine, pairs: PreferencePairs, batch: int, beta: float
) -> dict[str, dict[str, float]]:
    """Returns by language the loss, the share of pairs whose chosen answer gained more ("accuracy"), and by how much ("margin").

    batch: pairs of one microbatch.
    """
    margins: dict[str, list[float]] = {}
    count = len(pairs.pairs)
    numbers = [range(start, min(start + batch, count)) for start in range(0, count, batch)]
    for start in range(0, len(numbers), AT_ONCE):
        microbatches = [pairs.microbatch(few) for few in numbers[start : start + AT_ONCE]]
        ours, theirs = (
            torch.cat([sums_by_row(lp) for lp in engine.log_probs(microbatches)])
            for engine in (model, reference)
        )
        gain = (ours - theirs).view(-1, 2)
        judged = [pairs.pairs[number] for few in numbers[start : start + AT_ONCE] for number in few]
        for pair, (chosen, rejected) in zip(judged, gain.tolist(), strict=True):
            margins.setdefault(pair.language, []).append(beta * (chosen - rejected))
    return {language: _summary(found) for language, found in sorted(margins.items())}


def judged_pairs(
    loss: PairLoss,
    store: ChatStore,
    judged: Sequence[tuple[Microbatch, torch.Tensor, torch.Tensor, torch.Tensor]],
) -> dict[str, dict[str, float]]:
    """Returns by language means over a store's pairs: of the loss, and of what it measures besides (`MEASURES`).

    judged: microbatches, each with the model's and the reference's sums by answer and the answers' numbers of tokens, [2 · n].
    """
    if not judged:
        return {}
    numbers = torch.cat([each.loss_data[PAIRS] for each, *_ in judged]).numpy()
    columns = zip(*(row[1:] for row in judged), strict=True)
    pairs = as_pairs(*(torch.cat(column).to(torch.float64) for column in columns))
    losses, measured = loss.formula(pairs, **loss.settings), loss.measured(pairs)
    languages = store.language_numbers[2 * numbers]
    found: dict[str, dict[str, float]] = {}
    for number, language in enumerate(store.languages):
        here = torch.from_numpy(np.flatnonzero(languages == number))
        if len(here):
            means = zip(loss.measures, measured[:, here].mean(1).tolist(), strict=True)
            found[language] = {"loss": float(losses[here].mean()), "tokens": len(here), **dict(means)}
    return found


def sums_by_row(log_probs: torch.Tensor) -> torch.Tensor:
    """Returns the sum of each row on the host, of lp [b, s], which is 0 where a token has no target."""
    return log_probs.to("cpu", torch.float64).sum(1)


def _summary(margins: list[float]) -> dict[str, float]:
    n = len(margins)
    return {
        "loss": sum(math.log1p(math.exp(-abs(m))) + max(-m, 0.0) for m in margins) / n,
        "tokens": n,
        "accuracy": sum(m > 0 for m in margins) / n,
        "margin": sum(margins) / n,
    }
