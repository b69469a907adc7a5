"""Generates with a model behind an OpenAI-compatible address: chats as chats, plain prompts as completions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pinisi.evaluate.prompting import Generated, GenerationSettings, OpenPrompt
from pinisi.evaluate.served.client import RequestRefused, ServedModel, ServerClient, Waiting
from pinisi.evaluate.served.parallel import in_parallel

STOPS = 4  # stop texts that OpenAI's own interface takes; further ones are looked for here
# What a server may not know, and what is sent in its place, if anything: newer models of OpenAI refuse the first two.
INSTEAD = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}


class ServedGenerator:
    """Answers prompts by a served model, each by one request, many at once."""

    def __init__(self, served: ServedModel, wait: Waiting = time.sleep) -> None:
        self.served = served
        self.client = ServerClient(served, wait)
        self._without: set[str] = set()  # of INSTEAD: what the server refused

    def generate(self, prompts: Sequence[OpenPrompt], settings: GenerationSettings) -> list[Generated]:
        """All answers. Raises ServerError if one can't be had."""
        found = dict(self.answers(prompts, settings))
        return [found[number] for number in range(len(prompts))]

    def answers(
        self, prompts: Sequence[OpenPrompt], settings: GenerationSettings
    ) -> Iterator[tuple[int, Generated]]:
        """(number of the prompt, answer) as they come."""
        return in_parallel(lambda prompt: self.answer(prompt, settings), prompts, self.served.parallel)

    def answer(self, prompt: OpenPrompt, settings: GenerationSettings) -> Generated:
        """One answer. Raises ServerError."""
        path = "chat/completions" if prompt.messages else "completions"
        asked = {"messages": list(prompt.messages)} if prompt.messages else {"prompt": prompt.text}

        def read(value: Any) -> Generated:
            return _generated(value, settings.stop)

        while True:
            without = frozenset(self._without)
            body = {"model": self.served.name, **asked, **_how(settings, without)}
            try:
                return self.client.ask(path, body, read)
            except RequestRefused as error:
                named = [name for name in INSTEAD if name in body and name in str(error)]
                if not named:
                    raise
                self._without |= set(named)


def _how(settings: GenerationSettings, without: frozenset[str]) -> dict[str, Any]:
    how: dict[str, Any] = {"max_tokens": settings.new_tokens, "temperature": settings.temperature}
    if settings.temperature > 0:
        how["seed"] = settings.seed
    for name in without & how.keys():
        value, other = how.pop(name), INSTEAD[name]
        if other is not None:
            how[other] = value
    if settings.stop:
        how["stop"] = list(settings.stop[:STOPS])
    return how


def _generated(value: Any, stop: Sequence[str]) -> Generated:
    """An answer of either form. Raises ValueError for what is none."""
    try:
        choice = value["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        reason = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError(f"no choice with a text: {str(value)[:200]}") from None
    if text is None and reason == "length":  # all tokens went into reasoning
        text = ""
    if not isinstance(text, str):
        raise ValueError(f"no text but {type(text).__name__}, for the reason {reason!r}")
    usage = value.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    tokens = count if isinstance(count, int) else 0
    places = [place for each in stop if (place := text.find(each)) >= 0]
    if places:
        return Generated(text[: min(places)], tokens, "text")
    # vLLM names the stop text that ended an answer
    by_text = isinstance(choice.get("stop_reason"), str) and choice["stop_reason"] in stop
    return Generated(text, tokens, "length" if reason == "length" else "text" if by_text else "token")
