"""Extends a byte-pair tokenizer by the tokens that save most over a corpus, merged on top of the old ones."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import regex

from pinisi.base.errors import DataError
from pinisi.data.control_tokens import is_control
from pinisi.data.vocabulary.bpe_file import BYTE, SPACE, BpeFile, json_of
from pinisi.data.vocabulary.clusters import may_be_token
from pinisi.data.vocabulary.learn import LOWEST_COUNT, IdPair, MergeLearner, most_useful
from pinisi.data.vocabulary.splitting import joined
from pinisi.data.vocabulary.words import SCALE, Texts, balanced, words_of

SURPLUS = 1.3  # so many more tokens than wanted are learned; the least useful go
LONGEST = 60  # bytes of a new token: a longer one is a phrase of this corpus
# Letters with their marks and no more, so that U+200B, which some write between words, is no part of any.
SPELLED = regex.compile(r"[\p{L}\p{M}\u200c\u200d]+")
LETTER = regex.compile(r"[\p{L}\p{M}]")


@dataclass(frozen=True)
class Extension:
    """An extended tokenizer.

    tokenizer: the new one. pieces: {new id: the old ids that stood for it}. saves: {new id: how many tokens it saves over
    the corpus, languages weighted}. rows: how many rows a model for it needs.
    """

    tokenizer: BpeFile
    pieces: dict[int, tuple[int, ...]]
    saves: dict[int, float]
    rows: int


def extend(
    tokenizer: BpeFile,
    texts: Texts,
    tokens: int,
    *,
    rows: int | None = None,
    taken: Collection[int] = (),
    temperature: float = 3.0,
    report: Callable[[str], None] = print,
) -> Extension:
    """Learns new tokens from texts by language.

    tokens: how many at most; pairs seen once become none. rows: of the model that the tokenizer belongs to; rows without a
    token are filled first, then rows are added. taken: ids that the model's configuration names. temperature: of the balance of
    languages: each has its share of the bytes to the power 1 / temperature. Letters and marks that the old splitting cuts apart are
    joined where this leaves all old tokens as they are (see `splitting`). No new token cuts a cluster of letters.
    Raises DataError if there is no text, or nothing to join in it.
    """
    if tokens < 1 or temperature <= 0:
        raise DataError(
            f"got {tokens} new tokens at temperature {temperature}; at least one token and a temperature above 0 are needed"
        )
    tokenizer = joined(tokenizer, texts)
    words = counted(tokenizer, texts, temperature, report)
    rules = _Rules(tokenizer)
    learner = MergeLearner(words, tokenizer.size, rules.allowed, rules.made)
    parts = learner.learn(round(tokens * SURPLUS), LOWEST_COUNT * SCALE)
    best = most_useful(parts, learner.used(), tokens)
    if not best.parts:
        raise DataError(
            "no pair of tokens occurs twice in the text, so there is nothing to add; give more text"
        )
    new_id = dict(zip(best.parts, _free_ids(tokenizer, rows, taken), strict=False))
    return _extension(tokenizer, best.parts, new_id, rules, best.counts, rows)


def counted(
    tokenizer: BpeFile, texts: Texts, temperature: float, report: Callable[[str], None] = print
) -> Counter[tuple[int, ...]]:
    """The words of all languages in balance."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(json_of(tokenizer))
    apart = frozenset(tokenizer.added_ids)
    starts = frozenset(
        id for piece, id in tokenizer.pieces.items() if not tokenizer.byte_level and piece.startswith(SPACE)
    )
    counts, sizes = {}, {}
    for language in sorted(texts):
        counts[language] = words_of(backend, texts[language](), apart, starts)
        sizes[language] = sum(len(text.encode()) for text in texts[language]())
        report(
            f"{language}: {sizes[language]:,} bytes, {len(counts[language]):,} different words of several tokens"
        )
    if not any(sizes.values()):
        raise DataError("there is no text to learn from; give some")
    return balanced(counts, sizes, temperature)


class _Rules:
    """Says which pairs may become a token of an old tokenizer, and knows the pieces as they grow."""

    def __init__(self, tokenizer: BpeFile):
        self.tokenizer = tokenizer
        apart = tokenizer.added_ids
        self.piece = {id: piece for id, piece in tokenizer.names.items() if id not in apart}
        self.there = set(tokenizer.pieces) | {each["content"] for each in tokenizer.added}

    @cached_property
    def _templates(self) -> str:
        return str(self.tokenizer.settings.get("chat_template") or "")

    def allowed(self, left: int, right: int) -> bool:
        piece = self.piece[left] + self.piece[right]
        # A merge that leads to an old piece would change how old text is cut.
        if piece in self.there or BYTE.fullmatch(self.piece[left]) or BYTE.fullmatch(self.piece[right]):
            return False
        content = self.tokenizer.bytes_of(piece)
        if len(content) > LONGEST or not may_be_token(content):
            return False
        text = content.decode("utf-8", "replace")
        word = bool(SPELLED.fullmatch(text.removeprefix(" ")))
        if not self.tokenizer.byte_level:
            return word  # there nothing but spaces parts words
        return (
            (word or not LETTER.search(text))
            and text not in self.there
            and not is_control(text, False, self._templates)
        )

    def made(self, left: int, right: int, id: int) -> None:
        self.piece[id] = self.piece[left] + self.piece[right]
        self.there.add(self.piece[id])


def _free_ids(tokenizer: BpeFile, rows: int | None, taken: Collection[int]) -> Iterator[int]:
    """Rows of the model that have no token, from the first; then ids behind all."""
    used = set(tokenizer.names) | set(taken)
    yield from (id for id in range(rows or 0) if id not in used)
    id = max(rows or 0, max(used) + 1)
    while True:
        yield id
        id += 1


def _extension(
    tokenizer: BpeFile,
    parts: Mapping[int, IdPair],
    new_id: Mapping[int, int],
    rules: _Rules,
    counts: Mapping[int, int],
    rows: int | None,
) -> Extension:
    pieces = {new_id[id]: tuple(_flat(id, parts)) for id in parts}
    new_pieces = tokenizer.pieces | {rules.piece[id]: new_id[id] for id in parts}
    merges = tokenizer.merges + [(rules.piece[left], rules.piece[right]) for left, right in parts.values()]
    changed = replace(tokenizer, pieces=new_pieces, merges=merges)
    saves = {new_id[id]: counts[id] / SCALE for id in parts}
    return Extension(changed, pieces, saves, max(rows or 0, changed.size))


def _flat(id: int, parts: Mapping[int, IdPair]) -> Iterator[int]:
    """The old ids of a new token."""
    if id not in parts:
        yield id
        return
    for part in parts[id]:
        yield from _flat(part, parts)


def in_old_ids(extension: Extension, ids: Iterable[int]) -> list[int]:
    """Ids in which each new one is replaced by the old ids that it was made of."""
    return [old for id in ids for old in extension.pieces.get(id, (id,))]
