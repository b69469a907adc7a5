"""Shows which tokens of a chat are trained: in colours on a terminal, in brackets elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from pinisi.data.conversations.encode import EncodedChat

GREEN, DIM, RESET = "\x1b[30;42m", "\x1b[2m", "\x1b[0m"
OPEN, CLOSE = "⟦", "⟧"  # around what is trained where there are no colours


class MarkedText(NamedTuple):
    """Holds the text of tokens that follow each other and are all trained, or none of them."""

    text: str
    trained: bool


def stretches(tokenizer: Any, chat: EncodedChat) -> Iterator[MarkedText]:
    """Yields a chat's text, cut where trained tokens begin or end."""
    pairs = zip(chat.tokens, chat.trained, strict=True)
    for trained, group in groupby(pairs, key=lambda pair: pair[1]):
        ids = [id for id, _ in group]
        text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        yield MarkedText(text, trained)


def in_terminal(tokenizer: Any, chat: EncodedChat, *, colours: bool) -> str:
    """Returns a chat's text with what is trained in green, or in brackets."""
    return "".join(_shown(each, colours) for each in stretches(tokenizer, chat))


def _shown(each: MarkedText, colours: bool) -> str:
    if not colours:
        return f"{OPEN}{each.text}{CLOSE}" if each.trained else each.text
    colour = GREEN if each.trained else DIM
    # a colour that runs over a line's end would fill the rest of the line
    return "\n".join(f"{colour}{line}{RESET}" if line else "" for line in _lines(each).split("\n"))


def _lines(each: MarkedText) -> str:
    """Line ends that are trained are shown, and so are characters that would move a terminal's cursor."""
    text = "".join(c if c in "\n\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in each.text)
    return text.replace("\n", "↵\n") if each.trained else text


def told_of(chat: EncodedChat) -> str:
    """Returns how many of a chat's tokens are trained."""
    left_out = f"; {chat.left_out}" if chat.left_out else ""
    return f"{len(chat.tokens)} tokens, {chat.targets} trained{left_out}"
