"""Turns chats into tokens and says of each whether it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pinisi.base.errors import DataError
from pinisi.data.control_tokens import TextOnly
from pinisi.data.conversations.answers import AnswerSpan, Think, answers_of, form_of
from pinisi.data.conversations.messages import Chat, ChatMessage, RejectedChat, checked
from pinisi.data.conversations.template import STAND_INS, ChatTemplate, Rendering, check_written
from pinisi.data.document_bounds import beginning_id, end_of_document_id
from pinisi.data.tokenizer import load_tokenizer

Trained = Literal["answers", "last", "all"]


@dataclass(frozen=True)
class MaskRule:
    """Says which tokens are trained.

    trained: every answer, the last one, or all tokens. think: a think block before an answer is trained with it, is there without
    being trained (mask), or is taken out (drop).
    """

    trained: Trained = "answers"
    think: Think = "train"


class EncodedChat(NamedTuple):
    """Holds a chat's tokens and, of each, whether it is trained. The first never is: nothing comes before it.

    left_out: what the template didn't write of the chat, if anything.
    """

    tokens: list[int]
    trained: list[bool]
    left_out: str = ""

    @property
    def targets(self) -> int:
        """Counts the trained tokens."""
        return sum(self.trained)


class _Written(NamedTuple):
    """A rendered chat and its answers that are trained. final: where the chat's last answer ends, if it needs a stop token."""

    rendering: Rendering
    answers: list[AnswerSpan]
    left_out: str
    final: int | None


class _Pieces(NamedTuple):
    """Tokens with the characters that each stands for."""

    ids: list[int]
    spans: list[tuple[int, int]]


class ChatEncoder:
    """Encodes chats with one tokenizer and its template.

    What comes out is what the tokenizer makes of the template's own text, but for control tokens that a message spells: those
    become the text that they are. Where the tokenizer's texts begin with a token (BOS), exactly one begins a chat. A template that
    ends its last answer with no control token gets the token that ends documents. Raises DataError without a template.
    """

    def __init__(self, tokenizer: str | Path, rule: MaskRule | None = None) -> None:
        self.folder, self.rule = Path(tokenizer), rule or MaskRule()
        self.tokenizer = load_tokenizer(tokenizer)
        self.template = ChatTemplate(self.tokenizer)
        self.begin = beginning_id(self.tokenizer)
        self._bos = {id for id in (self.begin, self.tokenizer.bos_token_id) if id is not None}
        self.backend = _with_plain_offsets(self.tokenizer)
        try:
            self.form = form_of(self.template)
        except RejectedChat as error:
            raise DataError(f"{tokenizer}: the chat template can't be used: {error}") from None

    @cached_property
    def stop(self) -> int:
        """Returns the token that ends an answer."""
        if self.form.stop is None:
            return end_of_document_id(self.tokenizer)
        return self.template.ids[self.form.stop]

    @cached_property
    def end_of_document(self) -> int:
        """Returns the token that ends a document, or, where the tokenizer names none, an answer."""
        try:
            return end_of_document_id(self.tokenizer)
        except DataError:
            return self.stop

    def encode(self, chats: Sequence[Chat]) -> list[EncodedChat | RejectedChat]:
        """Encodes chats, or says of each why it is rejected."""
        found: list[EncodedChat | RejectedChat] = []
        ready: list[tuple[int, _Written]] = []
        for chat in chats:
            try:
                ready.append((len(found), self._written(chat)))
                found.append(RejectedChat("not encoded"))
            except RejectedChat as error:
                found.append(error)
        texts = [written.rendering.text for _, written in ready]
        whole = self.backend.encode_batch(texts, add_special_tokens=False)
        for (place, written), encoding in zip(ready, whole, strict=True):
            try:
                found[place] = self._masked(self._pieces(written.rendering, encoding), written)
            except RejectedChat as error:
                found[place] = error
        return found

    def encode_one(self, chat: Chat) -> EncodedChat:
        """Encodes a chat. Raises RejectedChat."""
        (found,) = self.encode([chat])
        if isinstance(found, RejectedChat):
            raise found
        return found

    def prompt(self, chat: Chat) -> list[int]:
        """Returns the tokens of a chat that is to be answered, as training has them before an answer. Raises RejectedChat."""
        text, _ = self.template.write(
            [message.for_template() for message in chat.messages], chat.tools, ask=True
        )
        return self.begun(list(self.backend.encode(text, add_special_tokens=False).ids))

    def begun(self, tokens: list[int]) -> list[int]:
        """Returns a rendered chat's tokens with exactly one that begins a text, where the tokenizer has one."""
        return begun_once(tokens, self.begin, self._bos)

    def _written(self, chat: Chat) -> _Written:
        chat = checked(chat)
        if self.rule.think == "drop":
            chat = replace(chat, messages=tuple(replace(each, reasoning="") for each in chat.messages))
        rendering = self.template.render(chat)
        check_written(rendering, chat)
        answers = answers_of(rendering, chat, self.form, self.rule.think)
        last = answers[-1]
        dropped = chat.messages[-1].reasoning and "reasoning" not in rendering.texts[-1]
        if self.rule.trained == "last":
            answers = [last]
        return _Written(
            rendering,
            [each for each in answers if chat.messages[each.message].trained],
            "the template leaves out the reasoning" if dropped else "",
            None if last.ended else last.stop,
        )

    def _pieces(self, rendering: Rendering, encoding: Any) -> _Pieces:
        """The tokens of a rendering, none of whose control tokens a message has spelled."""
        wanted = [self.template.ids[control.name] for control in rendering.controls]
        if not rendering.spelled and [id for id in encoding.ids if id in self._control_ids] == wanted:
            return _Pieces(list(encoding.ids), list(encoding.offsets))
        if not self._can_be_split:
            raise RejectedChat(
                "a text spells a control token", "and this tokenizer can't encode a text in parts"
            )
        return self._in_parts(rendering)

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        return frozenset(self.template.ids.values())

    def _in_parts(self, rendering: Rendering) -> _Pieces:
        """Encodes what stands between the template's control tokens as text alone. Spans are of rendering.text, in which a stand-in
        is one character."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        last = 0
        for control in [*rendering.controls, None]:
            stop = control.start if control else len(rendering.text)
            for id, span in self._text_only(rendering.text[last:stop]):
                ids.append(id)
                spans.append((last + span[0], last + span[1]))
            if control:
                ids.append(self.template.ids[control.name])
                spans.append((control.start, control.stop))
                last = control.stop
        return _Pieces(ids, spans)

    def _text_only(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        spelled = self.template.spelled_out(text)
        places = _places(text, spelled, self.template)
        return [
            (id, (places[start], places[stop])) for id, (start, stop) in self._texts.encode_located(spelled)
        ]

    @cached_property
    def _texts(self) -> TextOnly:
        loaded = load_tokenizer(self.folder)
        found = TextOnly(loaded)
        _forget_post_processor(found.backend)
        return found

    @cached_property
    def _can_be_split(self) -> bool:
        """Whether a chat's text encoded between control tokens is the same as encoded whole."""
        said = (("user", " a b\nc\n"), ("assistant", "d  e.\n\nf"), ("user", "g"), ("assistant", "h"))
        probe = Chat(tuple(ChatMessage(role, text) for role, text in said))
        rendering = self.template.render(probe)
        return (
            self._in_parts(rendering).ids == self.backend.encode(rendering.text, add_special_tokens=False).ids
        )

    def _masked(self, pieces: _Pieces, written: _Written) -> EncodedChat:
        ids, spans = pieces
        if written.final is not None:
            # what the template writes behind the last answer would stand between it and the token that ends it
            kept = sum(start < written.final for start, _ in spans)
            ids, spans = [*ids[:kept], self.end_of_document], [*spans[:kept], (written.final,) * 2]
        every = self.rule.trained == "all"
        trained = [True] * len(ids) if every else _inside(spans, written.answers)
        if written.final is not None:
            trained[-1] = every or (bool(written.answers) and written.answers[-1].stop == written.final)
        tokens = self.begun(ids)
        # tokens were put in front or taken away there, none of them trained
        trained = [False] * (len(tokens) - len(trained)) + trained[max(0, len(trained) - len(tokens)) :]
        if trained:
            trained[0] = False
        return EncodedChat(tokens, trained, written.left_out)


def begun_once(tokens: list[int], begin: int | None, known: set[int]) -> list[int]:
    """Returns tokens that begin with exactly one `begin`; with at most one of the `known` where that is None."""
    rest = 0
    while rest < len(tokens) and tokens[rest] in known:
        rest += 1
    if begin is not None:
        return [begin, *tokens[rest:]]
    return tokens[max(0, rest - 1) :] if rest else tokens


def _inside(spans: Sequence[tuple[int, int]], answers: Sequence[AnswerSpan]) -> list[bool]:
    """Of each token, whether all its characters lie in an answer: both in the order of the text."""
    trained, place = [], 0
    for start, stop in spans:
        while place < len(answers) and answers[place].stop <= start:
            place += 1
        trained.append(place < len(answers) and answers[place].start <= start and stop <= answers[place].stop)
    return trained


def _places(text: str, spelled: str, template: ChatTemplate) -> list[int]:
    """Of each place between characters of the spelled-out text, where it lies in the text with stand-ins."""
    if text == spelled:
        return list(range(len(text) + 1))
    places = []
    for number, letter in enumerate(text):
        size = len(template.spelled_out(letter)) if STAND_INS.match(letter) else 1
        places += [number] * size
    return [*places, len(text)]


def _with_plain_offsets(tokenizer: Any) -> Any:
    """A copy of the tokenizer's backend whose offsets count white space, which some post-processors leave out."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    _forget_post_processor(backend)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = False
    return backend


def _forget_post_processor(backend: Any) -> None:
    from tokenizers import processors

    backend.post_processor = processors.Sequence([])
