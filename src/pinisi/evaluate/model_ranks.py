"""Asks a model that stands on any number of ranks, with one interface for one process and several."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from pinisi.base.errors import ConfigError
from pinisi.engine.engine import Engine
from pinisi.evaluate.encoding import Continuation, PromptEncoder
from pinisi.evaluate.likelihood import (
    AT_ONCE,
    ROW,
    LikelihoodScorer,
    check_ranks,
    engine_here,
    score_on_ranks,
)
from pinisi.evaluate.model_source import MeasuredModel
from pinisi.evaluate.next_tokens import TokenWork
from pinisi.evaluate.prompting import Generated, GenerationSettings, OpenPrompt
from pinisi.evaluate.stopping import answer_of, ends_of, fitted, prompt_room, prompt_tokens, turn_end


class ModelRanks:
    """Holds an engine in this process, or starts ranks for each question. Raises ConfigError for too many ranks."""

    def __init__(
        self,
        model: MeasuredModel,
        *,
        ranks: int = 1,
        threads: int | None = None,
        row: int = ROW,
        at_once: int = AT_ONCE,
    ) -> None:
        check_ranks(model, ranks)
        self.model, self.ranks, self.threads, self.row, self.at_once = model, ranks, threads, row, at_once
        self._open = ExitStack()
        self._engine: Engine | None = None

    def __enter__(self) -> ModelRanks:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._engine = None

    def score(self, items: Sequence[Continuation]) -> list[np.ndarray]:
        """Log-probabilities of each item's scored tokens."""
        if self.ranks > 1:
            return score_on_ranks(self._arguments(), items, self.ranks, self.threads)
        return LikelihoodScorer(self._here(), row=self.row, at_once=self.at_once).score(items)

    def tokens(self, items: Sequence[Continuation], work: TokenWork) -> list[np.ndarray]:
        """Tokens of each item, as `TokenWork` says."""
        if self.ranks > 1:
            return score_on_ranks(self._arguments(), items, self.ranks, self.threads, work=work)
        return work.done(self._here(), self.model.tokenizer, items, self.row, self.at_once)

    def _here(self) -> Engine:
        if self._engine is None:
            self._engine = self._open.enter_context(engine_here(self.model))
        return self._engine

    def _arguments(self) -> list[str]:
        """By which a rank opens the same model."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        named = [str(self.model.path), "--dtype", dtype, "--tokenizer", str(self.model.tokenizer)]
        return [*named, "--row-tokens", str(self.row), "--batch-size", str(self.at_once)]


class RanksGenerator:
    """Generates greedily with a model on several ranks, for one that no device holds; see `next_tokens` for what it costs."""

    def __init__(self, ranks: ModelRanks, longest: int | None = None) -> None:
        self.ranks, self.longest = ranks, longest or ranks.model.longest
        self.encoder = PromptEncoder(ranks.model.tokenizer)
        self.ends = ends_of(ranks.model, self.encoder)
        self.cut = 0

    def generate(self, prompts: Sequence[OpenPrompt], settings: GenerationSettings) -> list[Generated]:
        """All answers, the same as transformers gives but for near ties. Raises ConfigError for a temperature."""
        if settings.temperature:
            raise ConfigError(
                "a model on several ranks takes the likeliest token each time: leave the temperature out"
            )
        room = prompt_room(self.longest, settings)
        tokens = [prompt_tokens(self.encoder, prompt) for prompt in prompts]
        self.cut += sum(len(each) > room for each in tokens)
        found: dict[int, Generated] = {}
        for chat in (False, True):  # only a chat ends at the end of a turn
            of_kind = [n for n, prompt in enumerate(prompts) if prompt.is_chat is chat]
            if of_kind:
                end = turn_end(self.encoder) if chat else None
                ends = self.ends | ({end} if end is not None else set())
                items = [Continuation(tuple(fitted(self.encoder, tokens[n], room)), 1) for n in of_kind]
                work = TokenWork(settings.new_tokens, tuple(sorted(ends)), settings.stop)
                answers = self.ranks.tokens(items, work)
                for n, answer in zip(of_kind, answers, strict=True):
                    found[n] = answer_of(self.encoder.tokenizer, answer.tolist(), ends, settings)
        return [found[n] for n in range(len(prompts))]
