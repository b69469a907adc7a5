"""Digests what a project's commands have written, so that two checkouts can be compared without their files.

Content is digested, not files: tokens and bounds by language, documents unpacked, tensors by name.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zstandard


def digest(*parts: bytes) -> str:
    """SHA-256 of all parts after one another, in hexadecimal digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def of_folder(folder: Path) -> str:
    """One digest of the names and bytes of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest(*(part for f in files for part in (str(f.relative_to(folder)).encode(), f.read_bytes())))


def shards(folder: Path) -> dict[str, Any]:
    """{language: documents, and the digests of its tokens, its bounds and its documents' names}."""
    index = json.loads((folder / "index.json").read_text("utf-8"))
    return {language: _shard(folder, _stems(index, language)) for language in sorted(index["languages"])}


def _stems(index: dict[str, Any], language: str) -> list[str]:
    """A language's files without their endings, in the index's order: one named like the language, or several whose names begin
    so."""
    names = (name.removesuffix(".tokens") for name in index["files"] if name.endswith(".tokens"))
    return [name for name in names if re.split(r"[^A-Za-z]", name)[0] == language]


def _shard(folder: Path, stems: list[str]) -> dict[str, Any]:
    """Several files of a language count as one: bounds run on from each to the next."""
    bounds = array("q", [0])
    for stem in stems:
        own = array("q", (folder / f"{stem}.documents").read_bytes())
        last = bounds[-1]
        bounds.extend(last + bound for bound in own[1:])
    return {
        "documents": len(bounds) - 1,
        "tokens": digest(*((folder / f"{stem}.tokens").read_bytes() for stem in stems)),
        "bounds": digest(bounds.tobytes()),
        "names": digest(*((folder / f"{stem}.names").read_bytes() for stem in stems)),
    }


def curated(folder: Path) -> dict[str, dict[str, Any]]:
    """{documents, top, dropped: {language: lines and digest}}, unpacked; files of one language after one another."""
    return {kind: _by_language((folder / kind).glob("*.zst")) for kind in ("documents", "top", "dropped")}


def _by_language(paths: Iterable[Path]) -> dict[str, Any]:
    found: dict[str, bytes] = {}
    for path in sorted(paths):
        with zstandard.ZstdDecompressor().stream_reader(
            io.BytesIO(path.read_bytes()), read_across_frames=True
        ) as file:
            language = path.name.partition(".")[0]
            found[language] = found.get(language, b"") + file.read()
    return {name: {"lines": data.count(b"\n"), "sha256": digest(data)} for name, data in found.items()}


def tensors(folder: Path) -> dict[str, str]:
    """{name: dtype, shape and digest} of all tensors in a folder's safetensors files."""
    return {name: told for path in sorted(folder.rglob("*.safetensors")) for name, told in _tensors(path)}


def _tensors(path: Path) -> Iterable[tuple[str, str]]:
    """The form: 8 bytes with the header's length, the header in JSON, then the data that its offsets count in."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for name, told in sorted(json.loads(data[8:begin]).items()):
        if name != "__metadata__":
            first, stop = (begin + offset for offset in told["data_offsets"])
            yield name, f"{told['dtype']} {told['shape']} {digest(data[first:stop])}"


# Of a line of metrics.jsonl: what does not depend on time, nor on how much was sent.
NUMBERS = ("loss", "total_loss", "gradient_norm", "learning_rate", "tokens", "losses", "extra_head_losses")


def metrics(path: Path) -> dict[str, Any]:
    """{"step 1": losses and norm, ..., "evaluation 3": ...}, floats as hexadecimal ones, which lose no bit."""
    found: dict[str, Any] = {}
    for text in path.read_text("utf-8").splitlines():
        line = json.loads(text)
        if "evaluation" in line:
            found[f"evaluation {line['step']}"] = exact(line["evaluation"])
        else:
            found[f"step {line['step']}"] = {key: exact(line[key]) for key in NUMBERS if key in line}
    return found


def exact(value: Any) -> Any:
    """Floats as hexadecimal text, all the way down."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return value.hex() if isinstance(value, float) else value
