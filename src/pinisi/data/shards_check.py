"""Checks whether token shards are those of a model: their ids have rows, and mean what the model's tokenizer means by them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pinisi.base.digests import of_file
from pinisi.base.errors import DataError
from pinisi.data.shards import TOKENIZER, TokenShards
from pinisi.data.tokenizer import load_tokenizer

PIECE = 1 << 24  # tokens looked at in one go


def check_shards(folders: Sequence[TokenShards], rows: int, tokenizer: str | Path | None) -> None:
    """Compares shards with a model of `rows` rows and its tokenizer's folder, if it has one.

    Raises DataError that names the id beyond the rows, or the token whose id is another one's.
    """
    for shards in folders:
        if shards.index.get("vocabulary", rows + 1) > rows:  # tokens that occur in no text need no row
            _check_rows(shards, rows)
    if tokenizer is None:
        return
    ours, seen = load_tokenizer(tokenizer).get_vocab(), set()
    for shards in folders:
        path = shards.folder / TOKENIZER
        digest = of_file(path) if path.is_file() else None
        if digest is not None and digest not in seen:
            seen.add(digest)
            _check_meaning(shards, ours, tokenizer)


def _check_rows(shards: TokenShards, rows: int) -> None:
    for language in shards.languages:
        highest = _highest(shards, language)
        if highest >= rows:
            raise DataError(
                f"{shards.folder} has the token id {highest} ({language}), the model's vocabulary {rows} rows "
                "(vocab_size): tokenize with the model's own tokenizer, or give the model more rows"
            )


def _highest(shards: TokenShards, language: str) -> int:
    return max(int(np.max(piece)) for piece in shards.files(language).pieces(PIECE))


def _check_meaning(shards: TokenShards, ours: Mapping[str, int], tokenizer: str | Path) -> None:
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(shards.folder / TOKENIZER)).get_vocab(with_added_tokens=True)
    if all(ours.get(token) == id for token, id in theirs.items()):
        return
    token, id = min(
        ((token, id) for token, id in theirs.items() if ours.get(token) != id), key=lambda item: item[1]
    )
    there = f"the id {ours[token]}" if token in ours else "no such token"
    raise DataError(
        f"{shards.folder} was made with another tokenizer than {tokenizer}: {token!r} has the id {id} in the shards, and "
        f"the tokenizer has {there}; tokenize again with the model's tokenizer, or set model.tokenizer to the one of the shards"
    )
