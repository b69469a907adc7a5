"""Trims a byte-pair tokenizer to the pieces that a text needs, and to all pieces from which these are merged."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from pinisi.base.errors import DataError
from pinisi.data.control_tokens import TextOnly
from pinisi.data.tokenizer import load_tokenizer
from pinisi.data.vocabulary.bpe_file import BpeFile, Pair, ids_in, renumbered
from pinisi.data.vocabulary.words import Texts, batched


@dataclass(frozen=True)
class Trimmed:
    """A trimmed tokenizer. kept: the old ids in their old order; the place of each is its new id. used: how many of them text
    needs; the others are parts of these, single bytes and added tokens."""

    tokenizer: BpeFile
    kept: list[int]
    used: int

    @cached_property
    def new_id(self) -> dict[int, int]:
        return {old: new for new, old in enumerate(self.kept)}


def trim(
    tokenizer: BpeFile, texts: Texts, *, taken: Collection[int] = (), report: Callable[[str], None] = print
) -> Trimmed:
    """Keeps what texts by language need, so that each of them is encoded as before (with new ids).

    taken: ids that the model's configuration names. Single bytes and added tokens stay, so that any other text can be written
    too, if in more tokens. Raises DataError if there is no text.
    """
    used: set[int] = set()
    for language in sorted(texts):
        found = used_ids(tokenizer, texts[language]())
        report(f"{language}: {len(found):,} tokens used, {len(found - used):,} of them new here")
        used |= found
    if not used:
        raise DataError("there is no text to trim for; give some")
    names = tokenizer.names
    wanted = {names[id] for id in used} | tokenizer.alphabet()
    pieces = closed(wanted, tokenizer) & tokenizer.pieces.keys()
    named = set(taken) | tokenizer.added_ids | set(ids_in(tokenizer.data.get("post_processor")))
    kept = sorted({tokenizer.pieces[piece] for piece in pieces} | named)
    return Trimmed(_cut(tokenizer, kept), kept, len(used))


def used_ids(tokenizer: BpeFile, texts: Iterable[str]) -> set[int]:
    """The ids that texts are encoded in; where one spells an added token, also those of the same text taken as text alone."""
    plain = load_tokenizer(tokenizer.folder).backend_tokenizer
    text_only = TextOnly(load_tokenizer(tokenizer.folder))
    plain.no_truncation()
    plain.no_padding()
    used: set[int] = set()
    added = tokenizer.added_ids
    for batch in batched(texts):
        spelled = []
        for text, encoding in zip(batch, plain.encode_batch(batch, add_special_tokens=False), strict=True):
            used.update(encoding.ids)
            if not added.isdisjoint(encoding.ids):
                spelled.append(text)
        for ids, _ in text_only.encode(spelled) if spelled else ():
            used.update(ids)
    return used


def closed(pieces: Iterable[str], tokenizer: BpeFile) -> set[str]:
    """These pieces and all that come about on the way to each.

    A piece that a text is cut into was merged in the same order as the piece alone would be: what stands beside it took no part. So
    the merges of each piece alone are all that are needed.
    """
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    found: set[str] = set()
    for piece in sorted(pieces):
        found.add(piece)
        steps, last = _merged(piece, ranks)
        if last == [piece]:  # else it is only ever looked up whole
            found.update(steps)
    return found


def _merged(piece: str, ranks: dict[Pair, int]) -> tuple[list[str], list[str]]:
    """All parts that stand anywhere on the way of merging a piece from its letters, and those that stand at the end."""
    parts = list(piece)
    seen = list(parts)
    while len(parts) > 1:
        known = [(ranks[pair], place) for place, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not known:
            break
        place = min(known)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
        seen.append(parts[place])
    return seen, parts


def _cut(tokenizer: BpeFile, kept: list[int]) -> BpeFile:
    new_id: dict[int, int] = defaultdict(int)  # an id that isn't kept stands in no place that is left
    new_id |= {old: new for new, old in enumerate(kept)}
    left = set(kept)
    pieces = {piece: new_id[id] for piece, id in tokenizer.pieces.items() if id in left}
    merges = [
        pair
        for pair in tokenizer.merges
        if pair[0] in pieces and pair[1] in pieces and pair[0] + pair[1] in pieces
    ]
    data = dict(tokenizer.data)
    data["post_processor"] = renumbered(data.get("post_processor"), new_id)
    if isinstance(data.get("padding"), dict):
        data["padding"] = {**data["padding"], "pad_id": new_id[data["padding"]["pad_id"]]}
    added = [{**each, "id": new_id[each["id"]]} for each in tokenizer.added]
    return replace(tokenizer, data=data, pieces=pieces, merges=merges, added=added)
