"""Makes the language packs that ship with Pinisi: python benchmarks/packs.py TEXT_FOLDER [--out FOLDER].

TEXT_FOLDER is what `pinisi corpus fetch` writes: <language>.jsonl and SOURCES.json, from which a pack takes its
sources and their licences. eval/ is not read. The same text gives the same bytes.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pinisi.curate.fit import with_limits
from pinisi.curate.packs.identify import SHIPPED
from pinisi.data.documents import Document, corpus_files, read_documents
from pinisi.data.languages import LANGUAGES


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    known = json.loads((arguments.folder / "SOURCES.json").read_text())["sources"]
    total = 0
    for language, path in corpus_files(arguments.folder).items():
        begin = time.perf_counter()
        documents = list(read_documents(path))
        pack = with_limits(
            language, documents, name=LANGUAGES.get(language, language), sources=sources(documents, known)
        )
        folder = pack.save(arguments.out / language)
        size = sum(file.stat().st_size for file in folder.iterdir())
        total += size
        print(
            f"{language:4} {pack.sizes['characters']:>9,} characters, {len(pack.ngrams):,} n-grams, "
            f"{len(pack.stop_words)} stop words, {size:,} bytes, {time.perf_counter() - begin:.1f} s"
        )
    print(f"{total:,} bytes in {arguments.out}")
    return 0


def sources(documents: list[Document], known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Where the text comes from: name, version, licence and characters of each source, the largest first."""
    characters: Counter[str] = Counter()
    for document in documents:
        characters[document.source] += len(document.text)
    return [
        {
            "name": name,
            "version": known[name]["version"],
            "licence": known[name]["licence"],
            "characters": count,
        }
        for name, count in sorted(characters.items(), key=lambda item: (-item[1], item[0]))
    ]


if __name__ == "__main__":
    sys.exit(main())
