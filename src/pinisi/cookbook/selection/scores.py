"""Scores answers: their perplexity under a model, on the project's own engine, and the reward that another model gives them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.cookbook.selection.settings import SelectSettings, check_model
from pinisi.data.conversations.encode import ChatEncoder
from pinisi.data.conversations.messages import Chat, RejectedChat
from pinisi.data.tokenizer import load_tokenizer
from pinisi.evaluate.encoding import Continuation
from pinisi.evaluate.likelihood import LikelihoodScorer, engine_here
from pinisi.evaluate.model_source import open_model

Scored = float | RejectedChat


class AnswerPerplexity:
    """Computes exp of the mean negative log-probability of all tokens of a chat's answers, each given what comes before it.

    The chat is written by the tokenizer's template; of a model without one, as texts with an empty line between, and the last
    answer alone counts. In one process; a chat's value doesn't depend on the others.
    """

    def __init__(self, settings: SelectSettings) -> None:
        assert settings.model is not None
        model = open_model(check_model(settings.model, "--model"))
        self.longest = min(settings.sequence, model.longest)
        tokenizer = load_tokenizer(model.tokenizer)
        self._encoder = ChatEncoder(model.tokenizer) if tokenizer.chat_template else None
        self._tokenizer = tokenizer
        stack = ExitStack()
        self._scorer = LikelihoodScorer(stack.enter_context(engine_here(model)), row=self.longest)
        weakref.finalize(self, stack.close)

    def score(self, chats: Sequence[Chat]) -> list[Scored]:
        """Returns the perplexity of each, or why it has none."""
        found: list[Scored] = []
        items: list[Continuation] = []
        trained: list[np.ndarray] = []
        for encoded in self._encoded(chats):
            if isinstance(encoded, RejectedChat):
                found.append(encoded)
                continue
            tokens, counted = encoded
            if len(tokens) > self.longest:
                found.append(RejectedChat("too long", f"{len(tokens)} tokens, at most {self.longest}"))
                continue
            if not counted.any():
                found.append(RejectedChat("no token of an answer"))
                continue
            first = int(counted.argmax())
            found.append(float(len(items)))
            items.append(Continuation(tuple(tokens), first))
            trained.append(counted[first:])
        values = self._scorer.score(items)
        return [
            each if isinstance(each, RejectedChat) else _mean(values[int(each)], trained[int(each)])
            for each in found
        ]

    def _encoded(self, chats: Sequence[Chat]) -> list[RejectedChat | tuple[list[int], np.ndarray]]:
        if self._encoder is None:
            return [self._plain(chat) for chat in chats]
        return [
            each if isinstance(each, RejectedChat) else (each.tokens, np.array(each.trained, bool))
            for each in self._encoder.encode(chats)
        ]

    def _plain(self, chat: Chat) -> tuple[list[int], np.ndarray]:
        *before, answer = (message.content.strip() for message in chat.messages)
        context = self._tokenizer("\n\n".join(before) + "\n\n").input_ids
        behind = self._tokenizer(answer, add_special_tokens=False).input_ids
        return [*context, *behind], np.arange(len(context) + len(behind)) >= max(1, len(context))


def _mean(values: np.ndarray, counted: np.ndarray) -> float:
    return math.exp(-float(values[counted].mean()))


class Reward:
    """Gives a chat the one number of a sequence-classification model, which reads it by its own template. In one process."""

    def __init__(self, settings: SelectSettings) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        assert settings.reward is not None
        name = settings.reward
        local = Path(name).is_dir()
        if local:
            check_model(name, "--reward")
        labels = AutoConfig.from_pretrained(name, trust_remote_code=False).num_labels
        if labels != 1:
            raise DataError(
                f"--reward {name} has {labels} labels: needed a model with one, whose number is the reward"
            )
        self._torch = torch
        self._model = AutoModelForSequenceClassification.from_pretrained(
            name, trust_remote_code=False, use_safetensors=True, dtype="auto"
        ).eval()
        self._tokenizer: Any = load_tokenizer(name) if local else _hub_tokenizer(name)
        self.longest = min(
            settings.sequence, getattr(self._model.config, "max_position_embeddings", None) or 2**30
        )

    def score(self, chats: Sequence[Chat]) -> list[Scored]:
        """Returns the reward of each, or why it has none."""
        return [self._one(chat) for chat in chats]

    def _one(self, chat: Chat) -> Scored:
        tokens = self._tokens(chat)
        if len(tokens) > self.longest:
            return RejectedChat(
                "too long", f"{len(tokens)} tokens, and the reward model takes {self.longest}"
            )
        with self._torch.inference_mode():
            logits = self._model(self._torch.tensor([tokens])).logits
        value = float(logits.reshape(-1)[0])
        return value if math.isfinite(value) else RejectedChat("no reward", f"the model's number is {value}")

    def _tokens(self, chat: Chat) -> list[int]:
        if self._tokenizer.chat_template:
            messages = [message.for_template() for message in chat.messages]
            text = self._tokenizer.apply_chat_template(
                messages, tools=list(chat.tools) or None, tokenize=False
            )
            found: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
            return found
        *before, answer = (message.content for message in chat.messages)
        plain: list[int] = self._tokenizer("\n\n".join(before), answer).input_ids
        return plain


def _hub_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
