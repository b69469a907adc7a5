"""Makes chats and pairs of answers that are too long fit, by a rule with a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pinisi.data.conversations.encode import ChatEncoder, EncodedChat
from pinisi.data.conversations.messages import Chat, RejectedChat

TooLong = Literal["drop", "cut_end", "cut_start", "drop_turns"]
Sides = tuple[EncodedChat, EncodedChat]


def fitted(
    encoder: ChatEncoder, chat: Chat, encoded: EncodedChat, limit: int, rule: TooLong
) -> tuple[EncodedChat, str]:
    """Returns a chat of at most `limit` tokens with something to train, and how it was cut ("" if it wasn't).

    drop: a longer chat is left out. cut_end: the tokens behind the limit are left out, cut_start: those before the last `limit`,
    but for a token that begins a text. drop_turns: the last questions with their answers are left out until the rest fits. Raises
    RejectedChat for what is left out whole, and where nothing is left to train.
    """
    size, cut = len(encoded.tokens), ""
    if size > limit:
        if rule == "drop":
            raise RejectedChat("too long", f"{size} tokens, of which {limit} fit")
        encoded = _CUTS[rule](encoder, chat, encoded, limit)
        cut = f"{size} tokens, of which {len(encoded.tokens)} were kept"
    if not encoded.targets:
        where = f"within {limit} tokens" if cut else f"{size} tokens, none of them an answer's"
        raise RejectedChat("nothing left to train", where)
    return encoded, cut


def fitted_pair(
    chosen: EncodedChat, rejected: EncodedChat, encoder: ChatEncoder, limit: int, rule: TooLong
) -> tuple[tuple[EncodedChat, EncodedChat], str]:
    """Returns two answers to one prompt, each of at most `limit` tokens with something to train, and how they were cut.

    drop: a pair of which one is longer is left out. cut_end: each loses the tokens behind the limit. cut_start: both lose as many
    tokens of their prompt, so that it stays the same; a pair whose answers don't fit is left out. Raises RejectedChat for what is
    left out, where nothing is left to train, and for answers that are the same.
    """
    sides, cut = (chosen, rejected), ""
    size = max(len(each.tokens) for each in sides)
    if size > limit:
        if rule not in _PAIR_CUTS:
            raise RejectedChat("too long", f"{size} tokens, of which {limit} fit")
        sides = _PAIR_CUTS[rule](sides, encoder, limit)
        cut = f"{size} tokens, of which {max(len(each.tokens) for each in sides)} were kept"
    for name, each in zip(("chosen", "rejected"), sides, strict=True):
        if not each.targets:
            raise RejectedChat("nothing left to train", f"{name}: none of its tokens is an answer's")
    if sides[0].tokens == sides[1].tokens:
        where = f"within {limit} tokens" if cut else "there is nothing to prefer"
        raise RejectedChat("chosen and rejected are the same", where)
    return sides, cut


def _cut_ends(sides: Sides, encoder: ChatEncoder, limit: int) -> Sides:
    first, second = (
        each._replace(tokens=each.tokens[:limit], trained=each.trained[:limit]) for each in sides
    )
    return first, second


def _cut_prompts(sides: Sides, encoder: ChatEncoder, limit: int) -> Sides:
    begin = int(encoder.begin is not None)
    excess = max(len(each.tokens) for each in sides) - limit
    prompt = min([*each.trained, True].index(True) for each in sides)
    # a token is left that the answer's first one follows from
    if prompt - begin - excess < 1:
        raise RejectedChat("too long", f"without its prompt {excess} tokens don't fit")
    first, second = (
        each._replace(
            tokens=each.tokens[:begin] + each.tokens[begin + excess :],
            trained=each.trained[:begin] + each.trained[begin + excess :],
        )
        for each in sides
    )
    return first, second


_PAIR_CUTS = {"cut_end": _cut_ends, "cut_start": _cut_prompts}


def _cut_end(encoder: ChatEncoder, chat: Chat, encoded: EncodedChat, limit: int) -> EncodedChat:
    return encoded._replace(tokens=encoded.tokens[:limit], trained=encoded.trained[:limit])


def _cut_start(encoder: ChatEncoder, chat: Chat, encoded: EncodedChat, limit: int) -> EncodedChat:
    begin = encoder.begin is not None and limit > 1
    kept = len(encoded.tokens) - limit + begin
    tokens = encoded.tokens[:begin] + encoded.tokens[kept:]
    trained = encoded.trained[:begin] + encoded.trained[kept:]
    # behind a cut nothing says what the first token follows from
    trained[begin] = trained[0] = False
    return encoded._replace(tokens=tokens, trained=trained)


def _drop_turns(encoder: ChatEncoder, chat: Chat, encoded: EncodedChat, limit: int) -> EncodedChat:
    ends = [
        n for n, message in enumerate(chat.messages) if message.role == "assistant" and not message.tool_calls
    ]
    for end in reversed(ends[:-1]):
        shorter = encoder.encode_one(replace(chat, messages=chat.messages[: end + 1]))
        if len(shorter.tokens) <= limit:
            return shorter
    raise RejectedChat("too long", f"the first answer ends behind {limit} tokens")


_CUTS = {"cut_end": _cut_end, "cut_start": _cut_start, "drop_turns": _drop_turns}
