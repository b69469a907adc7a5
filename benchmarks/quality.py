"""Whether the best share by quality is what was named as good: python benchmarks/quality.py TEXT [--json FILE].

TEXT: a folder as `pinisi corpus fetch` makes it. For each language with both, the pool is every document of interface strings and
a quarter as many of connected prose (LibreOffice's help); 300 other prose documents are named as good. A whole `pinisi curate`
grades the pool, with the best 20 % asked for, so precision and recall would both be 1 for a perfect grader. Beside it, how well
the pack's own language model (bits per character, low is good) would have told the two apart. Prose of one source is easier to
know again than good text of any: these are figures of the method, not of quality.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.curate import records
from pinisi.curate.measures import excerpt
from pinisi.curate.packs import Packs
from pinisi.curate.quality.classifier import area
from pinisi.curate.run import curate
from pinisi.data.documents import Document, corpus_files, read_documents, write_documents

GOOD, SHARE = 300, 0.2


def pools(text: Path) -> dict[str, tuple[list[Document], list[Document]]]:
    """{language: (good texts, the pool)}, the prose of the pool under another name than the strings."""
    found = {}
    for language, path in corpus_files(text).items():
        prose, strings = [], []
        for document in read_documents(path):
            (prose if document.source.startswith("libreoffice-help") else strings).append(document)
        random.Random(0).shuffle(prose)
        hidden = round(len(strings) * SHARE / (1 - SHARE))
        if len(strings) >= 100 and len(prose) >= GOOD + hidden:
            found[language] = prose[:GOOD], [*strings, *prose[GOOD : GOOD + hidden]]
    return found


def measured(text: Path, folder: Path) -> list[dict[str, Any]]:
    of = pools(text)
    for language, (good, pool) in of.items():
        write_documents(folder / "good" / f"{language}.jsonl", good)
        write_documents(folder / "raw" / f"{language}.jsonl", pool)
    positives = ", ".join(f'{language} = "{folder}/good/{language}.jsonl"' for language in of)
    config = folder / "curate.toml"
    config.write_text(
        f'urls = false\n[run]\nfolder = "{folder}/out"\n[[sources]]\npath = "{folder}/raw"\n[near]\non = false\n'
        f"[exact]\non = false\n[lines]\non = false\n[quality]\nshare = {SHARE}\npositives = {{{positives}}}\n"
    )
    report = curate(config)
    packs, rows = Packs.load(), []
    for language in of:
        documents = list(records.read_documents(folder / "out" / "documents" / f"{language}.jsonl.zst"))
        prose = np.array([document.source.startswith("libreoffice-help") for document in documents])
        best = np.array([document.metadata["quality"]["top"] for document in documents])
        score = np.array([document.metadata["quality"]["score"] for document in documents])
        bits = np.array(
            [packs[language].bits_per_character(excerpt(document.text)) for document in documents]
        )
        rows.append(
            {
                "language": language,
                "documents": len(documents),
                "prose": int(prose.sum()),
                "precision": float((prose & best).sum() / best.sum()),
                "recall": float((prose & best).sum() / prose.sum()),
                "area": area(score[prose], score[~prose]),
                "area_of_language_model": area(-bits[prose], -bits[~prose]),
                "facts": report["quality"][language],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(options.text, Path(folder))
    for row in rows:
        print(
            f"{row['language']:4} {row['documents']:5} documents, {row['prose']:4} of prose: precision {row['precision']:.3f}, "
            f"recall {row['recall']:.3f}, told apart {row['area']:.3f} (language model {row['area_of_language_model']:.3f})"
        )
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
