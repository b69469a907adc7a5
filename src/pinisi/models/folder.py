"""Knows the files of a model's folder: which holds which tensor, and which go along with the weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pinisi.base import json_text
from pinisi.base.errors import ModelError

EXTRA_HEADS = "extra_heads.safetensors"  # beside an exported model
CONFIG, GENERATION = "config.json", "generation_config.json"
NEW_ROWS, NEW_LAYERS = "new_rows.json", "new_layers.json"  # see `new_parts`
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    NEW_ROWS,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "tokenizer.model.v*",
    "tokenizer.vocab",
    "spiece.model",
    "sentencepiece*.model",
    "*.spm",
    "vocab.bpe",
    "tekken.json",
    "*.tiktoken",
    "tokenization_*.py",  # copied, never run
    "*.jinja",
    "chat_template*.json",
    "additional_chat_templates/*.jinja",
    "processor_config.json",
    "preprocessor_config.json",
)
LICENCE_FILES = tuple(
    f"{name}*"
    for word in ("LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY")
    for name in (word, word.capitalize(), word.lower())
)
MODEL_FILES = (NEW_LAYERS, *LICENCE_FILES)  # which go along with the weights
SMALL_FILES = ("*.json", "*.txt", *TOKENIZER_FILES, *MODEL_FILES)


@dataclass(frozen=True)
class Published:
    """The files of a model's folder that stay as they are: the text of its config.json, of its generation_config.json (None:
    it has none), and the folder with the others (None: no longer known)."""

    config: str
    generation: str | None = None
    folder: Path | None = None


def read_published(folder: Path) -> Published:
    """Reads them. Raises ModelError for files that can't be read."""
    generation = folder / GENERATION
    return Published(_text(folder / CONFIG), _text(generation) if generation.exists() else None, folder)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; a model's folder needs a config.json.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from None


def json_object(text: str, path: str | Path) -> dict[str, Any]:
    """The JSON object of a file. Raises ModelError for anything else."""
    try:
        found = json_text.parse(text)
    except ValueError as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds a {type(found).__name__}; it must hold one JSON object.")
    return found


def matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of a folder with such names, each once."""
    found = {path: None for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()}
    return list(found)


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's own files in a folder, chat templates included."""
    return matching(folder, TOKENIZER_FILES)


def local_folder(source: str | os.PathLike[str], patterns: Sequence[str], what: str) -> Path:
    """The folder itself, or, for a hub id, where huggingface_hub keeps its files of such names. Raises ModelError."""
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_absolute() or str(source).startswith((".", "~")) or len(path.parts) > 2:
        raise ModelError(f"{source} is not a folder; give a folder with {what} or a hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=list(patterns)))
    except Exception as error:  # many kinds: network, unknown name, gated model
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{str(source)!r} is neither a folder (relative to the file that names it, else to the working folder) nor a model "
            f"that could be read from the hub ({reason}); check the name and the network, or give a local folder."
        ) from None


def file_of(folder: Path) -> dict[str, Path]:
    """Which safetensors file holds which tensor. Raises ModelError for a file that is missing, torn or outside the folder."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    extra = folder / EXTRA_HEADS
    beside = _names_in(folder, extra) if extra.exists() else {}
    if single.exists():  # transformers takes it, too, where both are there
        return _names_in(folder, single) | beside
    if index.exists():
        return _read_index(folder, index) | beside
    raise ModelError(
        f"{folder} has neither model.safetensors nor model.safetensors.index.json; "
        f"pickled weights are not read."
    )


def _names_in(folder: Path, path: Path) -> dict[str, Path]:
    _check_inside(folder, path, path.name)
    return dict.fromkeys(open_file(path).keys(), path)


def _read_index(folder: Path, index: Path) -> dict[str, Path]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {name: folder / file for name, file in weight_map.items()}
        if any("\0" in file for file in weight_map.values()):
            raise ValueError("a file's name with a zero byte")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is not a safetensors index: {error!r}.") from None
    seen: set[str] = set()
    for name, path in files.items():
        if weight_map[name] in seen:
            continue
        seen.add(weight_map[name])
        _check_inside(folder, path, f"{weight_map[name]}, where {index} says that {name} is,")
        if not path.exists():
            raise ModelError(
                f"{index} says that {name} is in {path.name}, which is missing; fetch the model again."
            )
    return files


def _check_inside(folder: Path, path: Path, what: str) -> None:
    """The hub's cache links a snapshot's files to its blobs beside the snapshots; no other link leads out."""
    root, found = folder.resolve(), path.resolve()
    homes = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    if not any(found.is_relative_to(home) for home in homes):
        raise ModelError(
            f"{what} lies outside the model's folder {folder} (at {found}), so it isn't read; put the file itself into "
            "the folder."
        )


def open_file(path: Path) -> Any:
    """A safetensors file. Raises ModelError for one that is missing or torn."""
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise ModelError(f"{path} is missing although the index names it; fetch the model again.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is truncated or is not a safetensors file ({error}); fetch it again."
        ) from None
