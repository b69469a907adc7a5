"""Tells whether existing token shards are already those that would be made."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.data.control_tokens import control_tokens, stand_ins
from pinisi.data.shards import CONTENT, INDEX, TOKENIZER, TokenShards, files_of, read_index
from pinisi.data.storage import checksum

CONTROLS = "control_tokens"  # in the index: that no text has become one; missing in shards of before
PIECE = 1 << 24  # tokens looked at in one go

Report = Callable[[str], None]


def fingerprint(
    files: Mapping[str, str | Path],
    tokenizer_folder: Path,
    end: int,
    rows: int | None,
    bos: int | None = None,
    known: Mapping[str, str] | None = None,
) -> str:
    """sha256 over all that decides the shards' content; a file's name counts, its folder does not. Without BOS it is what it was
    before there was one. known: digests of files by path."""
    settings = [CONTENT, end, rows] if bos is None else [CONTENT, end, rows, {"bos": bos}]
    total = hashlib.sha256(json.dumps(settings).encode())
    tokenizer_files = [
        path
        for path in sorted(tokenizer_folder.iterdir())
        if path.suffix in (".json", ".txt", ".model") and path.is_file()
    ]
    for path in [*tokenizer_files, *files.values()]:
        if isinstance(path, str):  # a URL
            total.update(f"{path} {checksum(path)}\n".encode())
            continue
        digest = (known or {}).get(str(path)) or digests.of_file(path)
        total.update(f"{path.name} {digest}\n".encode())
    return total.hexdigest()


def files_of_before(out: Path) -> list[str] | None:
    """Of a folder without a mark, that an older version made: the names that its index stands for."""
    try:
        index = json.loads((out / INDEX).read_text("utf-8"))
        if not isinstance(index["fingerprint"], str) or not isinstance(index["format"], int):
            return None
        endings = ("tokens", "documents", "names", "name_bounds")
        return [
            INDEX,
            TOKENIZER,
            *index.get("files", ()),
            *(
                f"{file.name}.{ending}"
                for language, counts in index["languages"].items()
                for file in files_of(counts, language)
                for ending in endings
            ),
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def same(out: Path, made_from: str) -> bool:
    try:
        return read_index(out)["fingerprint"] == made_from
    except DataError:  # a torn index or an older format: make the shards anew
        return False


def spelled(out: Path, tokenizer: Any, report: Report) -> bool:
    """Whether shards of before hold control tokens that texts spelled: those that are not special were tokens then."""
    if read_index(out).get(CONTROLS) is not None:
        return False
    names = {id: token.content for id, token in control_tokens(tokenizer).items() if not token.special}
    names = {id: name for id, name in names.items() if id not in stand_ins(tokenizer, names)}
    shards = TokenShards(out)
    for language in shards.languages if names else ():
        for piece in shards.files(language).pieces(PIECE):
            inside = piece[np.isin(piece, list(names)) & (piece != shards.end_of_document)]
            if len(inside):
                report(
                    f"{out} holds {names[int(inside[0])]} where a text ({language}) spells it: made anew, as ordinary text"
                )
                return True
    return False
