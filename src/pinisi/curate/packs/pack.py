"""Reads and writes a language pack: the statistics of one language in a folder with pack.json and ngrams.npz; no text."""

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.curate.packs.ngrams import NGrams
from pinisi.curate.packs.others import Others
from pinisi.curate.packs.stream import pieces, stream
from pinisi.curate.packs.table import Table
from pinisi.data.languages import is_code
from pinisi.data.text.scripts import classes
from pinisi.data.text.segmentation import normal_codes, normal_words

FORMAT = "pinisi language pack 2"
# Its limits were fitted to the edge of the pack's own text, which took every other kind of text for junk: they are not read.
TIGHT = "pinisi language pack 1"
FACTS, ARRAYS = "pack.json", "ngrams.npz"
SEGMENTATIONS = ("spaces", "characters")
KINDS = {
    "language": str, "name": str, "version": str, "segmentation": str, "scripts": dict, "stop_words": dict,
    "limits": dict, "sources": list, "sizes": dict, "ngrams": dict,
}  # fmt: skip
TYPES = {"keys": np.uint32, "weights": np.int16, "other_codes": np.uint32, "other_logs": np.float64}


@dataclass(frozen=True, eq=False)
class Pack:
    """Statistics of one language.

    language: its code. segmentation: "spaces" or "characters" (see `words`). scripts: {script: share of its
    letters} of the scripts that the language is written in. stop_shares: {stop word: share of all words}.
    limits: of the rules, by rule. sources: {"name", "licence", "characters", ...} each. sizes: what it was made
    from, {"documents", "characters", "words"}. version: a fingerprint of the statistics.
    """

    language: str
    name: str
    version: str
    segmentation: str
    scripts: Mapping[str, float]
    stop_shares: Mapping[str, float]
    limits: Mapping[str, float]
    sources: tuple[Mapping[str, Any], ...]
    sizes: Mapping[str, int]
    ngrams: NGrams = field(repr=False)
    others: Others = field(repr=False)

    @functools.cached_property
    def stop_words(self) -> frozenset[str]:
        return frozenset(self.stop_shares)

    @functools.cached_property
    def _table(self) -> Table:
        return Table([self.ngrams])

    def words(self, text: str) -> list[str]:
        """The words of `text` in lower case: runs of letters, marks and digits. With segmentation "characters"
        each letter of a script without spaces is one, with its combining marks and stacked consonants."""
        return normal_words(text, spaces=self.segmentation == "spaces")

    def bits_per_character(self, text: str) -> float:
        """Bits that the pack's n-gram model needs for a character of `text` (in NFC and lower case, invisible
        characters left out): runs of letters by n-grams, what stands between by single characters. 0 if empty."""
        nats, count = 0.0, 0
        for piece in pieces(text):
            codes = normal_codes(piece)
            kinds = classes()[codes]
            nats -= float(self._table.log_likelihood(stream(codes, kinds))[0])
            nats -= self.others.log_likelihood(codes, kinds)
            count += len(codes)
        return nats / count / float(np.log(2)) if count else 0.0

    def save(self, folder: str | Path) -> Path:
        """Writes pack.json and ngrams.npz to `folder`; the same pack gives the same bytes. Raises DataError if
        that is not possible."""
        folder = Path(folder)
        arrays = _arrays(self)
        facts = {
            "format": FORMAT, "language": self.language, "name": self.name, "version": self.version,
            "segmentation": self.segmentation, "scripts": dict(self.scripts), "stop_words": dict(self.stop_shares),
            "limits": dict(self.limits), "sources": [dict(source) for source in self.sources],
            "sizes": dict(self.sizes),
            "ngrams": {"unknown": self.ngrams.unknown, "other_run": self.ngrams.other_run, "sha256": _digest(arrays)},
        }  # fmt: skip
        text = json.dumps(facts, ensure_ascii=False, indent=1) + "\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / ARRAYS, arrays)
            write_whole(folder / FACTS, text)
        except OSError as error:
            raise DataError(
                f"cannot write the pack {folder}: {error.strerror or error}; free some space or fix the rights"
            ) from error
        return folder

    @staticmethod
    def load(folder: str | Path) -> "Pack":
        """The pack in `folder`. Raises DataError that names the file: missing, torn, or no pack."""
        folder = Path(folder)
        facts = _facts(folder / FACTS)
        path = folder / ARRAYS
        raw = _read(path)
        if _digest(raw) != facts["ngrams"].get("sha256"):
            raise DataError(
                f"{path} is not the file that {FACTS} beside it was written with: it is torn or was replaced; "
                f"make the pack anew with `pinisi langpack {facts['language']}`"
            )
        arrays = _unpacked(path, raw)
        constants = [facts["ngrams"].get(name) for name in ("unknown", "other_run")]
        if not all(isinstance(value, int | float) for value in constants):
            raise DataError(
                f"{folder / FACTS}: 'ngrams' has no numbers 'unknown' and 'other_run'; make the pack anew"
            )
        return Pack(
            facts["language"], facts["name"], facts["version"], facts["segmentation"], facts["scripts"],
            facts["stop_words"], facts["limits"], tuple(facts["sources"]), facts["sizes"],
            NGrams(arrays["keys"], arrays["weights"], *map(float, constants)),
            Others(arrays["other_codes"], arrays["other_logs"]),
        )  # fmt: skip


def _arrays(pack: Pack) -> bytes:
    """The npz file: not compressed, so that the bytes depend on the numbers alone."""
    out = io.BytesIO()
    np.savez(
        out,
        keys=pack.ngrams.keys,
        weights=pack.ngrams.weights,
        other_codes=pack.others.codes,
        other_logs=pack.others.logs,
    )
    return out.getvalue()


def fingerprint(pack: Pack) -> str:
    """A version for a pack: a hash of its arrays and stop words, 12 hexadecimal digits."""
    words = json.dumps(sorted(pack.stop_shares.items()))
    return _digest(_arrays(pack) + words.encode())[:12]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"no language pack: cannot read {path} ({error.strerror or error}); give a folder that "
            "`pinisi langpack` wrote"
        ) from None


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(_read(path).decode())
    except ValueError as error:  # not UTF-8 or not JSON
        raise DataError(
            f"{path} is torn or no language pack ({error}); make it anew with `pinisi langpack`"
        ) from None
    if not isinstance(facts, dict) or facts.get("format") not in (FORMAT, TIGHT):
        got = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
        raise DataError(
            f"{path}: got format {got!r}, needed {FORMAT!r}; make the pack anew with `pinisi langpack`"
        )
    for key, kind in KINDS.items():
        if not isinstance(facts.get(key), kind):
            raise DataError(
                f"{path}: '{key}' is {type(facts.get(key)).__name__}, needed {kind.__name__}; make the pack anew"
            )
    for key in ("scripts", "stop_words", "limits"):
        for name, value in facts[key].items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DataError(
                    f"{path}: '{key}' has {value!r} for '{name}', needed a number; put it right or make the pack anew"
                )
    if facts["format"] == TIGHT:
        facts["limits"] = {}
    if facts["segmentation"] not in SEGMENTATIONS:
        raise DataError(
            f"{path}: segmentation {facts['segmentation']!r} is none of {', '.join(SEGMENTATIONS)}"
        )
    if not is_code(facts["language"]):  # files are named after it
        raise DataError(
            f"{path}: language {facts['language']!r} is no language's code (BCP 47); make the pack anew"
        )
    return facts


def _unpacked(path: Path, raw: bytes) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = {name: file[name] for name in TYPES}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is torn or no language pack ({error}); make it anew with `pinisi langpack`"
        ) from None
    sound = (
        all(arrays[name].dtype == kind and arrays[name].ndim == 1 for name, kind in TYPES.items())
        and len(arrays["keys"]) == len(arrays["weights"]) > 0
        and len(arrays["other_logs"]) == len(arrays["other_codes"]) + 2
        and bool((np.diff(arrays["keys"].astype(np.int64)) > 0).all())
        and bool(np.isfinite(arrays["other_logs"]).all())
    )
    if not sound:
        raise DataError(
            f"{path}: the arrays are not those of a language pack; make it anew with `pinisi langpack`"
        )
    return arrays
