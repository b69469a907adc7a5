"""Makes chats that are too long fit, by a rule with a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pinisi.data.conversations.encode import ChatEncoder, EncodedChat
from pinisi.data.conversations.messages import Chat, RejectedChat

TooLong = Literal["drop", "cut_end", "cut_start", "drop_turns"]


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
