"""Compares the bits of a language's documents: where its head, middle and tail lie, and what is an outlier in its source."""

import json
from collections.abc import Sequence
from pathlib import Path

from pinisi.base.files import new_folder
from pinisi.curate.counts import Counts
from pinisi.curate.scores import Bits, Cuts, cuts
from pinisi.curate.stages.files import write_stats
from pinisi.curate.tools import Tools

CUTS = "cuts.json"


def bits_file(folder: Path, language: str) -> Path:
    """Returns where a part's bits of a language are counted."""
    return folder / f"{language}.bits.json"


def write_bits(folder: Path, language: str, bits: Bits) -> None:
    bits_file(folder, language).write_text(json.dumps(bits.table(), ensure_ascii=False), "utf-8")


def score_language(tools: Tools, parts: Sequence[Path], language: str, out: Path) -> None:
    """Writes the cuts of a language."""
    tables = (
        json.loads(path.read_text("utf-8")) for part in parts if (path := bits_file(part, language)).exists()
    )
    found = cuts(tables, tools.config.rules.outliers)
    with new_folder(out) as folder:
        (folder / CUTS).write_text(json.dumps(found._asdict(), ensure_ascii=False), "utf-8")
        write_stats(folder, Counts(tools.config.run.seed))


def read_cuts(folder: Path) -> Cuts:
    return Cuts(**json.loads((folder / CUTS).read_text("utf-8")))
