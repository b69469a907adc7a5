"""Keeps texts from spelling control tokens, such as a chat's turns, reasoning, tools or the gap of a fill-in.

An added token is a control token if it is special; if a chat template of the tokenizer writes it; or if it has the form of markup:
<...>, </...>, <|...|>, <|...|>..., [...] and the like in other brackets (◁...▷). These stay text: runs of white space and tags of
HTML (Gemma's "\\n\\n" and <table>), unless they are special or (tags) in a template, and words without any sign, which people add
to a vocabulary.
"""

import re
from collections.abc import Iterator
from typing import Any

# HTML living standard, section 4, and what older pages have: tags that stand in ordinary text
_TAG = re.compile(
    r"""</?(?:
    a|abbr|address|article|aside|audio|b|bdi|bdo|big|blockquote|body|br|button|caption|
    center|cite|code|col|colgroup|dd|del|details|dfn|div|dl|dt|em|figcaption|figure|font|
    footer|form|h1|h2|h3|h4|h5|h6|head|header|hr|html|i|iframe|img|input|ins|kbd|label|
    li|link|main|mark|meta|nav|ol|optgroup|option|p|pre|q|s|samp|script|section|select|
    small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|textarea|tfoot|
    th|thead|time|title|tr|tt|u|ul|var|video|wbr
    )\s*/?>""",
    re.X,
)
_MARKUP = re.compile(r"<.+>|\[.+\]|<\|.+\|>.*|【.+】|〖.+〗|⟨.+⟩|⟦.+⟧|＜.+＞|［.+］|◁.+▷|◀.+▶", re.S)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
SPACE = "▁"  # how SentencePiece writes a space


def is_control(content: str, special: bool, templates: str = "") -> bool:
    """Tells whether an added token is a control token. templates: the tokenizer's chat templates, one behind the other."""
    if special:
        return True
    mark = content.strip(SPACE + " \t\r\n")
    if not mark:
        return False
    if _TAG.fullmatch(mark):
        return mark in templates
    if _MARKUP.fullmatch(mark):
        return True
    has_sign = not all(letter.isalnum() or letter.isspace() or letter == SPACE for letter in content)
    return has_sign and content in templates


def control_tokens(tokenizer: Any) -> dict[int, Any]:
    """{id: added token} of a Hugging Face tokenizer's control tokens."""
    templates = _templates(tokenizer)
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    return {id: token for id, token in added.items() if is_control(token.content, token.special, templates)}


def stand_ins(tokenizer: Any, controls: dict[int, str]) -> set[int]:
    """Of these ids, those that the model itself puts for a character that it has no piece for: <unk>, and single bytes."""
    unknown = {tokenizer.unk_token, getattr(tokenizer.backend_tokenizer.model, "unk_token", None)}
    return {id for id, name in controls.items() if name in unknown or _BYTE.fullmatch(name)}


def _templates(tokenizer: Any) -> str:
    found = getattr(tokenizer, "chat_template", None) or ""
    return found if isinstance(found, str) else "\n".join(map(str, found.values()))


class TextOnly:
    """A tokenizer's backend that encodes every control token in a text as the ordinary text that it is.

    Changes the backend it is given. `controls`: ids that no text becomes.
    """

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import AddedToken

        self.backend = tokenizer.backend_tokenizer
        self.controls = {id: token.content for id, token in control_tokens(tokenizer).items()}
        self._stand_ins = stand_ins(tokenizer, self.controls)
        # encode_special_tokens leaves special ones alone: so the others that control become special, with the ids they have
        self.backend.add_special_tokens(
            [AddedToken(name, special=True, normalized=False) for name in self.controls.values()]
        )
        self.backend.encode_special_tokens = True
        self.backend.no_truncation()
        self.backend.no_padding()

    def encode(self, texts: list[str]) -> list[tuple[list[int], int]]:
        """For each text its ids, and how many characters of it the first id stands for."""
        encodings = self.backend.encode_batch(texts, add_special_tokens=False)
        return [self._ids(encoding, text) for encoding, text in zip(encodings, texts, strict=True)]

    def encode_located(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Returns a text's ids, each with the characters that it stands for; parts of a piece have those of the whole piece."""
        encoding = self.backend.encode(text, add_special_tokens=False)
        return [
            (part, span)
            for id, span in zip(encoding.ids, encoding.offsets, strict=True)
            for part in self._parts(id, text[span[0] : span[1]])
        ]

    def _ids(self, encoding: Any, text: str) -> tuple[list[int], int]:
        ids = encoding.ids
        if not ids:
            return [], 0
        first = encoding.offsets[0][1]
        if self.controls.keys().isdisjoint(ids):
            return ids, first
        # The model itself has the token among its pieces (Unigram, or a word that it looks up whole): take it apart.
        found: list[int] = []
        for id, (start, stop) in zip(ids, encoding.offsets, strict=True):
            parts = list(self._parts(id, text[start:stop]))
            if not found and len(parts) > 1:
                first = min(start + len(self.backend.id_to_token(parts[0]) or ""), stop)
            found += parts
        return found, first

    def _parts(self, id: int, surface: str) -> Iterator[int]:
        """The ids of an id that a text must not become; what stands for a character without a piece of its own stays."""
        name = self.controls.get(id)
        if name is None or len(name) < 2 or (id in self._stand_ins and name not in surface):
            yield id
            return
        for part in (name[:1], name[1:]):
            for token in self.backend.model.tokenize(part):
                yield from [token.id] if token.id in self._stand_ins else self._parts(token.id, token.value)
