"""Leads from a token of a shard back to its document: where the text came from, and the text around the token."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.data.document_files import DocumentFiles
from pinisi.data.shards import TOKENIZER, DocumentSpan, TokenShards, decode_span

AROUND = 48  # tokens of text shown on each side
CHARACTER = 4  # tokens that a character has at most: bytes of UTF-8
MARKS = "⟦", "⟧"


@dataclass(frozen=True)
class Trace:
    """One token of a shard.

    text: the characters that the token stands for; where it is a part of a character, that whole character,
        made by the tokens `text_start` to `text_stop` of the shard.
    before, after: the text of the same document around it, whole characters.
    """

    language: str
    position: int  # in the language's shard
    token: int  # its id
    entry: str  # the vocabulary's entry
    text: str
    before: str
    after: str
    text_start: int
    text_stop: int
    ends_document: bool  # the end token, which has no text
    span: DocumentSpan

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "span": self.span._asdict()}

    def __str__(self) -> str:
        """A few lines for a person, the token between ⟦ and ⟧."""
        span, first = self.span, self.position - self.span.start + 1
        what = repr(self.entry)
        if self.ends_document:
            what += ", the document's end"
        elif self.text_stop - self.text_start > 1:
            what += f", one of {self.text_stop - self.text_start} tokens that make {self.text!r}"
        rows = [
            ("document", span.id),
            ("url", span.url),
            ("source", span.source),
            *((key, str(value)) for key, value in span.metadata.items()),
            ("token", f"{self.token} {what}"),
            (
                "place",
                f"{self.position} of {self.language}: token {first} of {span.stop - span.start} "
                f"in document {span.document}",
            ),
            ("text", _one_line(self.before) + MARKS[0] + _seen(self.text) + MARKS[1] + _one_line(self.after)),
        ]
        width = max(len(key) for key, value in rows if value)
        return "\n".join(f"{key:<{width}}  {value}" for key, value in rows if value)


def trace(shards: TokenShards | str | Path, language: str, position: int, *, around: int = AROUND) -> Trace:
    """The document, its URL and source, and the text of token `position` of a language's shard.

    around: how many tokens on each side are shown as text. Reads the same few bytes whatever the shard's
    size, and no other document's name. Raises DataError for a language or a position that is not there.
    """
    shards = shards if isinstance(shards, TokenShards) else TokenShards(shards)
    span = decode_span(shards, language, position)
    files = shards.files(language)
    last = span.stop - 1  # the end token
    tokenizer = _tokenizer(shards.folder)
    low, high = _window(tokenizer, files, (span.start, last), position, around)
    ids = files.between(low, high).tolist()
    ends = position == last
    left, right = (len(ids), len(ids)) if ends else _characters(tokenizer, ids, position - low)
    whole, head, tail = (_decode(tokenizer, part) for part in (ids, ids[:left], ids[:right]))
    before, text, after = head, whole[len(head) : len(tail)], whole[len(tail) :]
    id = int(files.between(position, position + 1)[0])
    return Trace(
        language=language,
        position=position,
        token=id,
        entry=tokenizer.id_to_token(id) or "",
        text=text,
        before=before,
        after=after,
        text_start=low + left,
        text_stop=low + right,
        ends_document=ends,
        span=span,
    )


def _window(
    tokenizer: Any, files: DocumentFiles, document: tuple[int, int], position: int, around: int
) -> tuple[int, int]:
    """[low, high): the tokens shown, up to three more than wished on each side so that no character is cut.

    A cut character decodes to U+FFFD (with some tokenizers all single bytes beside it do too).
    """
    start, stop = document
    lows = range(max(start, position - around), max(start - 1, position - around - CHARACTER), -1)
    highs = range(min(stop, position + around + 1), min(stop + 1, position + around + 1 + CHARACTER))
    # a range is empty where the document's end is nearer than wished
    pairs = [(low, high) for low in lows or (start,) for high in highs or (stop,)]
    return min(pairs, key=lambda pair: _decode(tokenizer, files.between(*pair).tolist()).count("\ufffd"))


def _characters(tokenizer: Any, ids: list[int], at: int) -> tuple[int, int]:
    """[left, right) around `at`: the fewest tokens that are whole characters.

    Needs to know nothing of how a tokenizer writes bytes: cut between two characters the tokens decode to two
    parts of the text, cut inside one to more U+FFFD than the text has. (Some decoders drop a space that a
    part begins with.)
    """
    whole = _decode(tokenizer, ids)

    def between(n: int) -> bool:
        head, tail = _decode(tokenizer, ids[:n]), _decode(tokenizer, ids[n:])
        return whole in (head + tail, f"{head} {tail}")

    left = next(n for n in range(at, -1, -1) if n == 0 or between(n))
    right = next(n for n in range(at + 1, len(ids) + 1) if n == len(ids) or between(n))
    return left, right


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False)


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise DataError(f"{path} cannot be read ({error}); tokenize again") from error


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _seen(text: str) -> str:
    """With what prints nothing (a zero-width space) as its number."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in _one_line(text))
