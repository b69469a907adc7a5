"""Writes chats by the tokenizer's own template, and knows which characters come from messages and which from the template.

Each text of a message is put between two marks, which go out again: characters of private use, that no template looks at. Control
tokens that a message spells are replaced by stand-ins before the template sees them, so that all control tokens of what it writes
are its own. The result is compared with what the template writes without marks: a template that treats a text in a special way
because of what it says is found out, and the chat is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pinisi.base.errors import DataError
from pinisi.data.control_tokens import control_tokens
from pinisi.data.conversations.messages import Chat, ChatMessage, RejectedChat

# Unicode's private planes 15 and 16, in which no language has a letter
STAND_IN, MARK, END = 0xF0000, 0x100000, 0x10FFFD
PRIVATE = re.compile(f"[{chr(STAND_IN)}-{chr(END)}]")
MARKS = re.compile(f"[{chr(MARK)}-{chr(END)}]")
STAND_INS = re.compile(f"[{chr(STAND_IN)}-{chr(MARK - 1)}]")
MOST_MARKS = (END - MARK) // 2
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class TextSpan(NamedTuple):
    """Names characters from start to stop."""

    start: int
    stop: int


class Control(NamedTuple):
    """Names a control token that the template has written."""

    start: int
    stop: int
    name: str


class Rendering(NamedTuple):
    """Holds a chat as its template writes it.

    text: with stand-ins for control tokens that messages spell. texts: of each message where its parts stand, by their names:
    "reasoning", "content", "call 0", ...; a part that the template leaves out is missing. generated: what the template itself marks
    as answers ({% generation %}).
    """

    text: str
    texts: list[dict[str, TextSpan]]
    controls: list[Control]
    generated: list[TextSpan]

    @property
    def spelled(self) -> bool:
        """Tells whether a message spells a control token."""
        return STAND_INS.search(self.text) is not None


class ChatTemplate:
    """Renders chats by one tokenizer. Raises DataError for a tokenizer without a chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise DataError(
                "the tokenizer has no chat template: put a chat_template.jinja into its folder, or give the tokenizer of a model "
                "that chats"
            )
        controls = control_tokens(tokenizer)
        self.ids = {token.content: id for id, token in controls.items()}
        self.names = sorted(self.ids, key=lambda name: (-len(name), name))  # the longest first
        self.pattern = re.compile("|".join(map(re.escape, self.names)) or r"(?!)")
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def write(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        ask: bool = False,
    ) -> tuple[str, list[TextSpan]]:
        """Returns what the template writes, and what it marks as generated. ask: with the beginning of an answer at the end.
        Raises RejectedChat with the template's own words."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            template = self.tokenizer.get_chat_template(tools=list(tools) or None)
            rendered: Any = render_jinja_template(
                [[dict(message) for message in messages]],
                tools=[dict(tool) for tool in tools] or None,
                chat_template=template,
                return_assistant_tokens_mask=GENERATION.search(template) is not None,
                add_generation_prompt=ask,
                **self.tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise RejectedChat("the template refuses it", why[:200]) from None
        (text,), spans = rendered
        marked = spans[0] if spans else []
        return text, [TextSpan(int(span[0]), int(span[1])) for span in marked]

    def render(self, chat: Chat) -> Rendering:
        """Renders a chat. Raises RejectedChat."""
        neutral = [self._neutral(message.for_template()) for message in chat.messages]
        tools = [self._neutral(tool) for tool in chat.tools]
        plain, generated = self.write(neutral, tools)
        names: list[tuple[int, str]] = []
        marked = [self._marked(message, place, names) for place, message in enumerate(map(dict, neutral))]
        written, _ = self.write(marked, tools)
        text, texts, controls = self._taken_apart(written, names, len(neutral))
        if text != plain:
            raise RejectedChat(
                "the template looks into texts",
                "it writes this chat in another way than one with other texts",
            )
        return Rendering(text, texts, controls, generated)

    def _neutral(self, value: Any) -> Any:
        """A value in which every control token that a text spells is a stand-in."""
        if isinstance(value, str):
            if PRIVATE.search(value):
                raise RejectedChat(
                    "private characters", "a text has characters of Unicode's planes 15 and 16"
                )
            return self.pattern.sub(lambda found: chr(STAND_IN + self._numbers[found[0]]), value)
        if isinstance(value, Mapping):
            return {self._neutral(key): self._neutral(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._neutral(each) for each in value]
        return value

    def spelled_out(self, text: str) -> str:
        """Returns a text with the control tokens again that messages spell."""
        return STAND_INS.sub(lambda found: self.names[ord(found[0]) - STAND_IN], text)

    def _marked(self, message: dict[str, Any], place: int, names: list[tuple[int, str]]) -> dict[str, Any]:
        """A message with marks around its texts' cores, so that a template may still cut white space off."""

        def between(text: str, name: str) -> str:
            core = text.strip()
            if not core:
                return text
            if len(names) == MOST_MARKS:
                raise RejectedChat("too many turns", f"more than {MOST_MARKS}")
            first = MARK + 2 * len(names)
            names.append((place, name))
            before = text[: len(text) - len(text.lstrip())]
            return f"{before}{chr(first)}{core}{chr(first + 1)}{text[len(before) + len(core) :]}"

        if "reasoning_content" in message:
            message["reasoning_content"] = between(message["reasoning_content"], "reasoning")
        message["content"] = between(message["content"], "content")
        if "tool_calls" in message:
            message["tool_calls"] = [
                {
                    **call,
                    "function": {**call["function"], "name": between(call["function"]["name"], f"call {n}")},
                }
                for n, call in enumerate(message["tool_calls"])
            ]
        return message

    def _taken_apart(
        self, written: str, names: list[tuple[int, str]], messages: int
    ) -> tuple[str, list[dict[str, TextSpan]], list[Control]]:
        """The text without marks, where texts stand in it, and the control tokens that lie outside of them."""
        places: dict[int, list[int]] = {}
        pieces, size, last = [], 0, 0
        controls: list[Control] = []
        for found in [*MARKS.finditer(written), None]:
            piece = written[last : found.start() if found else len(written)]
            controls += [
                Control(size + each.start(), size + each.end(), each[0])
                for each in self.pattern.finditer(piece)
            ]
            pieces.append(piece)
            size += len(piece)
            if found:
                places.setdefault(ord(found[0]) - MARK, []).append(size)
                last = found.end()
        texts: list[dict[str, TextSpan]] = [{} for _ in range(messages)]
        for number, (place, name) in enumerate(names):
            starts, stops = places.get(2 * number, []), places.get(2 * number + 1, [])
            if len(starts) == len(stops) == 1:
                texts[place][name] = TextSpan(starts[0], stops[0])
            elif starts or stops:
                raise RejectedChat("the template writes a text twice", f"{name} of turn {place + 1}")
        return "".join(pieces), texts, controls


def check_written(rendering: Rendering, chat: Chat) -> None:
    """Raises RejectedChat if the template left out what a message says, or writes nothing before an answer; reasoning may be left
    out."""
    for place, (message, found) in enumerate(zip(chat.messages, rendering.texts, strict=True), 1):
        if message.role == "assistant" and any(span.start == 0 for span in found.values()):
            raise RejectedChat(
                "nothing before an answer", f"turn {place} begins the text: its first token has no target"
            )
    for place, (message, found) in enumerate(zip(chat.messages, rendering.texts, strict=True), 1):
        wanted = [*(["content"] if message.content.strip() else []), *_calls(message)]
        if missing := [name for name in wanted if name not in found]:
            raise RejectedChat(
                "the template leaves out a text", f"{missing[0]} of turn {place}, of the role {message.role}"
            )


def _calls(message: ChatMessage) -> list[str]:
    return [f"call {number}" for number in range(len(message.tool_calls))]
