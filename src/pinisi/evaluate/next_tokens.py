"""Finds the likeliest next tokens on the engine, whose ranks hold the vocabulary's rows apart, and lets a model go on with prompts.

A prompt is computed anew for each token: the engine keeps no keys and values. That is slow, and right for a model that fits no
device; one that is to write much belongs on a server (`served`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from pinisi.base.errors import ConfigError
from pinisi.data import load_tokenizer
from pinisi.engine.engine import Engine
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.packing import microbatch_of, packed
from pinisi.evaluate.stopping import text_of

ROWS_AT_ONCE = 2**14  # of the vocabulary: more logits than this of a token aren't alive at once
Ended = Callable[[Sequence[int]], bool]


def likeliest_of(engine: Engine, x: torch.Tensor) -> torch.Tensor:
    """The likeliest token after each hidden state x [K, h], the same on every rank; of equal ones that of the lowest rank."""
    shard = engine.parts.projection
    assert shard is not None
    best = x.new_full((len(x),), -torch.inf, dtype=engine.parts.statistics_dtype)
    ids = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    start = engine.shards.offsets[engine.rank]
    for first in range(0, len(shard.weight), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        logits = x @ shard.weight[rows].t()  # scale and soft-cap leave the order as it is
        if shard.bias is not None:
            logits = logits + shard.bias[rows]
        values, places = logits.max(1)
        greater = values.to(best.dtype) > best
        best = torch.where(greater, values.to(best.dtype), best)
        ids = torch.where(greater, places + first + start, ids)
    p = engine.communicator.size
    found = [torch.empty_like(best) for _ in range(p)], [torch.empty_like(ids) for _ in range(p)]
    for into, mine in zip(found, (best, ids), strict=True):
        dist.all_gather(into, mine, group=engine.communicator.world)
    winner = torch.stack(found[0]).argmax(0, keepdim=True)
    return torch.stack(found[1]).gather(0, winner)[0]


class NextTokens:
    """Asks an engine for likeliest tokens; every rank calls it with the same items."""

    def __init__(self, engine: Engine, *, row: int, at_once: int) -> None:
        self.engine, self.row, self.at_once = engine, row, at_once

    def likeliest(self, items: Sequence[Continuation]) -> list[np.ndarray]:
        """For each item the tokens that the model finds likeliest where its scored ones stand, int64 [scored]."""
        rows = packed([len(item.tokens) - 1 for item in items], self.row)
        found: list[np.ndarray] = [np.zeros(0, np.int64)] * len(items)
        for start in range(0, len(rows), self.at_once):
            some = rows[start : start + self.at_once]
            states = self.engine.hidden_states([microbatch_of([items[n] for n in row]) for row in some])
            for row, x in zip(some, states, strict=True):
                ids = likeliest_of(self.engine, x).cpu().numpy()
                ends = np.cumsum([items[n].scored for n in row])[:-1]
                for number, part in zip(row, np.split(ids, ends), strict=True):
                    found[number] = part
        return found

    def go_on(self, prompts: Sequence[Sequence[int]], new_tokens: int, ended: Ended) -> list[list[int]]:
        """What follows each prompt, greedily: up to new_tokens, or to where `ended` says so of the new ones."""
        if not all(prompts):
            raise ConfigError("a prompt has no token: give some words to go on from")
        new: list[list[int]] = [[] for _ in prompts]
        going = list(range(len(prompts)))
        for _ in range(new_tokens):
            # a target that stands behind the prompt, whatever it is, marks the place
            items = [Continuation((*prompts[n], *new[n], 0), len(prompts[n]) + len(new[n])) for n in going]
            for n, (token,) in zip(going, self.likeliest(items), strict=True):
                new[n].append(int(token))
            going = [n for n in going if not ended(new[n])]
            if not going:
                break
        return new


class TokenWork(NamedTuple):
    """Says what an engine is asked about its likeliest tokens: those beside scored ones, or, with new_tokens, what follows.

    ends: tokens that end an answer. stop: texts that do.
    """

    new_tokens: int = 0
    ends: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()

    def done(
        self, engine: Engine, tokenizer: Path, items: Sequence[Continuation], row: int, at_once: int
    ) -> list[np.ndarray]:
        """Tokens of each item, the same on every rank; of a prompt up to the first of `ends`, or until a stop text is there."""
        asked = NextTokens(engine, row=row, at_once=at_once)
        if not self.new_tokens:
            return asked.likeliest(items)
        loaded = load_tokenizer(tokenizer) if self.stop else None

        def ended(new: Sequence[int]) -> bool:
            if new[-1] in self.ends:
                return True
            return loaded is not None and any(stop in text_of(loaded, new) for stop in self.stop)

        found = asked.go_on([item.tokens for item in items], self.new_tokens, ended)
        return [np.array(tokens, np.int64) for tokens in found]
