"""Cuts a trained tokenizer down to a smaller size: the first merges of a large one are the whole of a small one."""

from pinisi.base.errors import DataError
from pinisi.data.tokenizer_source import ALPHABET
from pinisi.data.vocabulary.bpe_file import BpeFile, renumbered


def cut_to_size(tokenizer: BpeFile, size: int) -> BpeFile:
    """Returns the tokenizer that `train` would have made with `size` tokens of the same text.

    Pieces must be the 256 bytes and then one for each merge, with the added tokens behind them, as `train` numbers them. A size of
    its own or above gives the tokenizer itself. Raises DataError for another order, or a size without room for a merge.
    """
    joined = [left + right for left, right in tokenizer.merges]
    # a file has the added tokens among its pieces, too
    plain = {piece: id for piece, id in tokenizer.pieces.items() if id not in tokenizer.added_ids}
    by_id = sorted(plain, key=plain.__getitem__)
    added = sorted(tokenizer.added, key=lambda each: each["id"])
    first = len(by_id)
    if by_id != [*ALPHABET, *joined] or [each["id"] for each in added] != list(
        range(first, first + len(added))
    ):
        raise DataError(
            f"the tokenizer in {tokenizer.folder} isn't in the order of its merges; give one of `pinisi vocabulary train`"
        )
    merges = size - len(ALPHABET) - len(added)
    if merges < 1:
        raise DataError(
            f"{size} tokens leave no room for merges: {len(ALPHABET)} bytes and {len(added)} added tokens are needed; give more"
        )
    if merges >= len(joined):
        return tokenizer
    pieces = dict(zip(by_id[: len(ALPHABET) + merges], range(len(ALPHABET) + merges), strict=True))
    new_id = {each["id"]: len(pieces) + place for place, each in enumerate(added)}
    data = {**tokenizer.data}
    data["post_processor"] = renumbered(data.get("post_processor"), new_id)
    return BpeFile(
        data,
        pieces,
        tokenizer.merges[:merges],
        [{**each, "id": new_id[each["id"]]} for each in added],
        tokenizer.settings,
        tokenizer.folder,
    )
