"""Defines prompts and answers for whoever generates: transformers, the engine or a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

Message = dict[str, str]  # {"role": ..., "content": ...}


class OpenPrompt(NamedTuple):
    """Holds what is to be continued: plain text, or the turns of a chat, or text that a chat template has written (rendered)."""

    text: str = ""
    messages: tuple[Message, ...] = ()
    rendered: bool = False

    @property
    def is_chat(self) -> bool:
        """Whether the end of a turn ends the answer."""
        return self.rendered or bool(self.messages)


def without_reasoning(answer: str) -> str:
    """What an answer says behind its reasoning block (<think> ... </think>); nothing where the block has no end."""
    if "</think>" in answer:
        return answer.rpartition("</think>")[2]
    return "" if answer.lstrip().startswith("<think>") else answer


class GenerationSettings(NamedTuple):
    """Says where an answer ends: at one of these strings, which doesn't belong to it, or after so many tokens, if not by itself.

    temperature: 0 takes the likeliest token each time; above, tokens are drawn from the whole distribution, for each prompt by
    the seed and its number.
    """

    new_tokens: int = 64
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0


class Generated(NamedTuple):
    """Holds an answer. tokens: how many it has, 0 where nobody says. ended: "token" (the model ended it), "text" (a stop string)
    or "length"."""

    text: str
    tokens: int
    ended: str


class Generator(Protocol):
    """Answers prompts in their order."""

    def generate(self, prompts: Sequence[OpenPrompt], settings: GenerationSettings) -> list[Generated]: ...
