"""Says where a prompt begins and an answer ends, for all that generates with tokens of our own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.data import end_of_document_id
from pinisi.evaluate.encoding import PromptEncoder
from pinisi.evaluate.model_source import MeasuredModel
from pinisi.evaluate.prompting import Generated, GenerationSettings, OpenPrompt

GENERATION = "generation_config.json"
ANSWER = "answerplaceholder"


def prompt_room(longest: int, settings: GenerationSettings) -> int:
    """Tokens that a prompt may have beside the new ones. Raises ConfigError if there are none."""
    if (room := longest - settings.new_tokens) < 1:
        raise ConfigError(
            f"{settings.new_tokens} new tokens and a model that reads {longest}: ask for fewer new tokens"
        )
    return room


def prompt_tokens(encoder: PromptEncoder, prompt: OpenPrompt) -> list[int]:
    """A prompt as tokens; an empty one is the token that begins a text."""
    if prompt.messages:
        return encoder.chat(encoder.rendered(prompt.messages))
    tokens = encoder.chat(prompt.text) if prompt.rendered else encoder.prompt(prompt.text)
    return tokens or [id for id in [encoder.prefix] if id is not None]


def fitted(encoder: PromptEncoder, tokens: list[int], room: int) -> list[int]:
    """The last tokens that fit; one that begins all text stays in front."""
    kept = tokens[:1] if tokens[:1] == encoder.before and room > 1 else []
    return tokens if len(tokens) <= room else [*kept, *tokens[len(kept) - room :]]


def ends_of(model: MeasuredModel, encoder: PromptEncoder) -> set[int]:
    """Tokens that end an answer: those that the model's files name, the tokenizer's, and the one that ends documents."""
    told = [getattr(model.spec.config, "eos_token_id", None), encoder.tokenizer.eos_token_id]
    if (file := model.path / GENERATION).is_file():
        told.append(json.loads(file.read_text("utf-8")).get("eos_token_id"))
    return {*(id for value in told for id in _ids(value)), end_of_document_id(encoder.tokenizer)}


def turn_end(encoder: PromptEncoder) -> int | None:
    """The control token that a chat template puts behind an answer; None without a template or such a token."""
    tokenizer = encoder.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        return None
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ANSWER}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    behind = encoder.written(text[text.rfind(ANSWER) + len(ANSWER) :])
    return next((id for id in behind if id in encoder.text_only.controls), None)


def answer_of(
    tokenizer: Any, tokens: Sequence[int], ends: set[int], settings: GenerationSettings
) -> Generated:
    """New tokens up to their end as an answer; what stands behind is padding."""
    count = next((n for n, token in enumerate(tokens) if token in ends), len(tokens))
    text = text_of(tokenizer, tokens[:count])
    places = [place for stop in settings.stop if (place := text.find(stop)) >= 0]
    if places:
        return Generated(text[: min(places)], count, "text")
    return Generated(text, count, "token" if count < len(tokens) else "length")


def text_of(tokenizer: Any, tokens: Sequence[int]) -> str:
    """An answer's tokens as text."""
    return tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _ids(value: Any) -> Iterable[int]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)
