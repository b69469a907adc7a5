"""Reads and writes a tokenizer's files as data: pieces, merges, added tokens and every place that names an id."""

import copy
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinisi.base import json_text
from pinisi.base.errors import DataError
from pinisi.data.tokenizer import settings_of
from pinisi.data.tokenizer_source import ALPHABET

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
# Files that name no id and no piece, and so go along as they are.
BESIDE = ("special_tokens_map.json", "*.jinja", "chat_template*.json", "additional_chat_templates/*.jinja")
SPACE = "▁"  # how SentencePiece writes a space
BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # how it writes a byte of a character that is no piece
BYTE_OF = {letter: byte for byte, letter in enumerate(ALPHABET)}
GENERIC = "PreTrainedTokenizerFast"  # the class that takes tokenizer.json as it is

Pair = tuple[str, str]


@dataclass
class BpeFile:
    """A byte-pair tokenizer as its folder describes it.

    data: tokenizer.json without vocabulary and merges. pieces: {piece: id}, added tokens only where the file has them among
    its pieces too. merges: pairs of pieces, the first to be merged first. added: added tokens as the file has them.
    settings: tokenizer_config.json. folder: where it was read.
    """

    data: dict[str, Any]
    pieces: dict[str, int]
    merges: list[Pair]
    added: list[dict[str, Any]]
    settings: dict[str, Any]
    folder: Path

    @property
    def byte_level(self) -> bool:
        """Whether pieces are written in the alphabet of 256 letters that stand for bytes."""
        return '"ByteLevel"' in json.dumps([self.data.get("pre_tokenizer"), self.data.get("decoder")])

    @property
    def names(self) -> dict[int, str]:
        """{id: piece or content} of all tokens; an added token's content counts where it is a piece too."""
        return {id: piece for piece, id in self.pieces.items()} | {
            each["id"]: each["content"] for each in self.added
        }

    @property
    def added_ids(self) -> set[int]:
        return {each["id"] for each in self.added}

    @property
    def size(self) -> int:
        """One more than the highest id."""
        return max(self.names, default=-1) + 1

    def bytes_of(self, piece: str) -> bytes:
        """The bytes that a piece stands for in a text."""
        if self.byte_level:
            return bytes(BYTE_OF[letter] for letter in piece)
        if match := BYTE.fullmatch(piece):
            return bytes([int(match[1], 16)])
        return piece.replace(SPACE, " ").encode("utf-8", "surrogatepass")

    def alphabet(self) -> set[str]:
        """The pieces without which some text couldn't be written: one for each byte, and the unknown piece."""
        letters = set(ALPHABET) if self.byte_level else {f"<0x{byte:02X}>" for byte in range(256)}
        return (letters | {self.data["model"].get("unk_token") or ""}) & self.pieces.keys()


def read_bpe(folder: str | Path) -> BpeFile:
    """Reads a tokenizer's folder. Raises DataError for one that is missing, broken or makes its pieces in another way."""
    folder = Path(folder)
    path = folder / TOKENIZER
    try:
        data = json_text.parse(path.read_text("utf-8"))
        model = data["model"]
        kind = model.get("type") or ("BPE" if "merges" in model else None)
    except FileNotFoundError:
        raise DataError(
            f"no tokenizer in {folder}: {TOKENIZER} is missing; give a folder that has it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no tokenizer's file ({error!r}); copy it again") from None
    if kind != "BPE":
        raise DataError(
            f"{path} is a {kind} tokenizer; only byte-pair encoding (BPE) can be trimmed and extended, since its merges say "
            "how every piece comes about"
        )
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise DataError(
                f"{path} has a {key} ({model[key]!r}), which is not supported here; give a byte-level tokenizer"
            )
    merges = [_pair(each) for each in model.pop("merges")]
    added = data.pop("added_tokens", None) or []
    return BpeFile(data, model.pop("vocab"), merges, added, settings_of(folder), folder)


def _pair(merge: Any) -> Pair:
    """Older files write a pair as one text with a space between."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def json_of(tokenizer: BpeFile) -> str:
    """Returns tokenizer.json as text.

    Added tokens are put among the pieces: else they would be numbered anew behind the pieces when the file is read.
    """
    data = copy.copy(tokenizer.data)
    pieces = tokenizer.pieces | {each["content"]: each["id"] for each in tokenizer.added}
    ordered = dict(sorted(pieces.items(), key=lambda item: item[1]))
    data["added_tokens"] = sorted(tokenizer.added, key=lambda each: each["id"])
    data["model"] = {
        **data["model"],
        "type": "BPE",
        "vocab": ordered,
        "merges": list(map(list, tokenizer.merges)),
    }
    return json.dumps(data, ensure_ascii=False) + "\n"


def write_bpe(tokenizer: BpeFile, out: Path) -> None:
    """Writes tokenizer.json, tokenizer_config.json and the chat templates into a folder that is there. Raises OSError."""
    (out / TOKENIZER).write_text(json_of(tokenizer), "utf-8")
    settings = json.dumps(_settings(tokenizer), indent=2, ensure_ascii=False) + "\n"
    (out / SETTINGS).write_text(settings, "utf-8")
    for pattern in BESIDE:
        for path in sorted(tokenizer.folder.glob(pattern)):
            target = out / path.relative_to(tokenizer.folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)


def _settings(tokenizer: BpeFile) -> dict[str, Any]:
    """tokenizer_config.json for the new ids, for the class that builds nothing anew.

    That class would give models token_type_ids, which decoders refuse.
    """
    settings = {**tokenizer.settings, "tokenizer_class": GENERIC}
    settings.setdefault("model_input_names", ["input_ids", "attention_mask"])
    for key in ("auto_map", "vocab_file", "merges_file", "name_or_path"):
        settings.pop(key, None)
    if "added_tokens_decoder" in settings:
        keys = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
        by_id = sorted(tokenizer.added, key=lambda each: each["id"])
        settings["added_tokens_decoder"] = {
            str(each["id"]): {key: each.get(key, False) for key in keys} for each in by_id
        }
    return settings


def renumbered(data: Any, new_id: Mapping[int, int]) -> Any:
    """A post-processor's description in which special tokens have their new ids."""
    if isinstance(data, list):
        return [renumbered(each, new_id) for each in data]
    if not isinstance(data, dict):
        return data
    found = {key: renumbered(value, new_id) for key, value in data.items()}
    if isinstance(data.get("ids"), list):
        found["ids"] = [new_id[id] for id in data["ids"]]
    for key in ("sep", "cls"):  # BertProcessing and RobertaProcessing: [content, id]
        if isinstance(data.get(key), list) and len(data[key]) == 2 and isinstance(data[key][1], int):
            found[key] = [data[key][0], new_id[data[key][1]]]
    return found


def ids_in(data: Any) -> Iterable[int]:
    """The ids that a post-processor's description names."""
    for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from ids_in(each)
    if isinstance(data, dict):
        if isinstance(data.get("ids"), list):
            yield from data["ids"]
        for key in ("sep", "cls"):
            if isinstance(data.get(key), list) and len(data[key]) == 2 and isinstance(data[key][1], int):
                yield data[key][1]
