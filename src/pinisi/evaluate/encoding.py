"""Turns prompts into tokens, so that at least one token of a continuation is always scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pinisi.base.errors import DataError
from pinisi.data import beginning_id, load_tokenizer
from pinisi.data.control_tokens import TextOnly
from pinisi.data.conversations.encode import begun_once
from pinisi.evaluate.prompting import Message


class Continuation(NamedTuple):
    """Tokens of a context and what follows it. first: the first token that is scored, at least 1.

    merged: context and continuation together are cut into other tokens than the context alone, so that the border between them
    lies within a token, or at another place than in the context alone.
    """

    tokens: tuple[int, ...]
    first: int
    merged: bool = False

    @property
    def scored(self) -> int:
        """How many tokens are scored."""
        return len(self.tokens) - self.first


class PromptEncoder:
    """Encodes plain prompts and chats with one tokenizer.

    The border follows lm-evaluation-harness: white space at the end of a context moves to the continuation, context and
    continuation are encoded as one text, and all tokens behind as many as the context alone has are scored. Where none would be
    left, since the border lies within the last token, scoring begins at the first token that differs. Text can't spell control
    tokens. A beginning-of-text token stands once: put before plain text where the tokenizer does so, or written by the template.
    """

    def __init__(self, tokenizer: str | Path) -> None:
        self.tokenizer = load_tokenizer(tokenizer)  # parses control tokens, for chats
        self.text_only = TextOnly(load_tokenizer(tokenizer))
        begins = beginning_id(self.tokenizer)
        self.before = [] if begins is None else [begins]
        # What stands before a continuation without context, as in the harness.
        ids = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        self.prefix = next((id for id in ids if id is not None), None)

    def text(self, texts: Sequence[str]) -> list[list[int]]:
        """Plain texts as tokens, without a beginning."""
        return [ids for ids, _ in self.text_only.encode(list(texts))]

    def prompt(self, text: str) -> list[int]:
        """A plain prompt as tokens, to be continued."""
        return [*self.before, *self.text([text])[0]]

    def rendered(self, messages: Sequence[Message]) -> str:
        """A chat as its template writes it, up to where the answer begins. Raises DataError without a template."""
        self.check_chat(messages)
        return self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)

    def check_chat(self, messages: Sequence[Message]) -> None:
        """Raises DataError without a template, and for a message that spells a control token."""
        if not getattr(self.tokenizer, "chat_template", None):
            raise DataError(
                "the tokenizer has no chat template: leave the chat out, or give another tokenizer"
            )
        for message in messages:
            self._check_content(message["content"])

    def _check_content(self, content: str) -> None:
        for name in self.text_only.controls.values():
            if name in content:
                raise DataError(
                    f"a prompt holds {name}, which is a control token of the chat: take it out of the text, or leave the chat out"
                )

    def chat(self, text: str) -> list[int]:
        """Returns a rendered chat as tokens, with exactly one that begins a text where the tokenizer has one, as in training."""
        known = {id for id in (*self.before, self.tokenizer.bos_token_id) if id is not None}
        return begun_once(self.written(text), self.before[0] if self.before else None, known)

    def written(self, text: str) -> list[int]:
        """Returns what a template has written as tokens, with nothing before it."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def border(self, context: str, continuation: str, *, chat: bool = False) -> tuple[list[int], list[int]]:
        """Tokens of a context alone, without white space at its end, and of both as one text."""
        bare = context.rstrip()
        if bare:
            continuation, context = context[len(bare) :] + continuation, bare
        if chat:
            return self.chat(context), self.chat(context + continuation)
        whole, before = self.text([context + continuation, context])
        return [*self.before, *before], [*self.before, *whole]

    def pair(self, context: str, continuation: str, *, chat: bool = False) -> Continuation:
        """context: plain text, or with `chat` a rendered chat. Raises DataError for a continuation without a token."""
        if not context:
            return self._alone(continuation)
        before, whole = self.border(context, continuation, chat=chat)
        behind = context[len(context.rstrip()) :] if context.strip() else ""
        if not (behind + continuation) or not whole:
            raise DataError(f"a continuation of {context[-40:]!r} is empty: every choice needs a text")
        merged = whole[: len(before)] != before
        first = len(before)
        if first >= len(whole):
            differs = (n for n, (a, b) in enumerate(zip(whole, before, strict=False)) if a != b)
            first = min(next(differs, len(whole) - 1), len(whole) - 1)
        return self._begun(whole, first, merged)

    def _alone(self, continuation: str) -> Continuation:
        """Without a context, as in the harness: behind the prefix, unless the continuation begins with it itself."""
        ids = self.text([continuation])[0]
        if not ids:
            raise DataError("a continuation without context is empty: every choice needs a text")
        if self.prefix is None or (ids[0] == self.prefix and len(ids) > 1):
            return self._begun(ids, 1, False)
        return Continuation((self.prefix, *ids), 1)

    def _begun(self, tokens: list[int], first: int, merged: bool) -> Continuation:
        """A first token has nothing that it could be predicted from: where it is to be scored, the prefix goes before it."""
        if first > 0:
            if first < len(tokens):
                return Continuation(tuple(tokens), first, merged)
            first = 0
        if self.prefix is None:
            raise DataError(
                f"the text of tokens {tokens[:8]} has nothing before its first token, and the tokenizer names no token that begins "
                "or ends a text: give the prompt a context"
            )
        return Continuation((self.prefix, *tokens), 1, merged)


def truncated(continuation: Continuation, longest: int) -> Continuation:
    """Cuts tokens off the left, so that no more than `longest` are read by the model: the last one is only predicted.

    Raises DataError if scored tokens would be lost.
    """
    surplus = len(continuation.tokens) - (longest + 1)
    if surplus <= 0:
        return continuation
    if continuation.first - surplus < 1:
        raise DataError(
            f"a continuation has {continuation.scored} tokens and the model reads {longest}: leave this item out, or give "
            "a larger --longest"
        )
    return continuation._replace(tokens=continuation.tokens[surplus:], first=continuation.first - surplus)
