"""Counts what `pinisi curate` loses of clean prose: python benchmarks/curation_prose.py FOLDER [--json FILE].

FOLDER: JSON lines with id, source, language and text, all of it clean text. The whole default pipeline runs over it twice, with the
language as declared and with language = "auto". A false drop is a document that is absent, or short of more than 1 % of its
characters; near duplicates and pages of one URL are no false drops and not counted. By language and source, with Wilson's 95 %
intervals. In `auto`, a document that stays under another language is counted apart ("moved").
"""

import argparse
import json
import sys
import tempfile
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from intervals import wilson

from pinisi.curate import records
from pinisi.curate.run import curate

SHORT = 0.99  # of a document's characters that must be left
DUPLICATES = ("near duplicate", "same URL")


class Original(NamedTuple):
    """A document as it was given."""

    language: str
    source: str
    size: int  # characters that are no white space


def size_of(text: str) -> int:
    return len("".join(unicodedata.normalize("NFC", text).split()))


def originals(folder: Path) -> dict[str, Original]:
    """Returns each document by the place that curation notes: FOLDER/file:line."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            if line.strip():
                record = json.loads(line)
                place = f"{folder.resolve().name}/{path.name}:{number}"
                found[place] = Original(record["language"], record["source"], size_of(record["text"]))
    return found


def run(folder: Path, out: Path, language: str, overrides: list[str]) -> None:
    config = out / "curate.toml"
    out.mkdir(parents=True)
    config.write_text(
        f'[run]\nfolder = "{out}/out"\n[[sources]]\npath = "{folder.resolve()}/"\nlanguage = "{language}"\n'
        "[alarm]\nshare = 1.0\n"
    )
    curate(config, overrides, report=lambda line: None)


def losses(of: dict[str, Original], out: Path) -> Iterator[tuple[Original, str, str]]:
    """Yields each document that counts with why it is lost ("" if it isn't) and the language under which it stays."""
    dropped = {record["input"]: record for record in records.read(out / "dropped" / "all.jsonl.zst")}
    kept = {
        document.metadata["input"]: document
        for path in sorted((out / "documents").glob("*.jsonl.zst"))
        for document in records.read_documents(path)
    }
    for place, original in of.items():
        if place in dropped:
            rule = dropped[place]["rule"]
            if rule not in DUPLICATES:
                yield original, rule, ""
        elif place not in kept:
            yield original, "lost", ""
        else:
            short = size_of(kept[place].text) < SHORT * original.size
            notes = kept[place].metadata.get("lineage", [])
            why = next(
                (note.split(":")[0] + ": " + note.split()[-3] for note in notes if note.startswith("cut")),
                "short",
            )
            yield original, why if short else "", kept[place].language


def table(of: dict[str, Original], out: Path) -> dict[str, Any]:
    """Returns by language, by source and pooled: documents, false drops, by what, moved to another language."""
    groups: dict[tuple[str, str], dict[str, Any]] = defaultdict(
        lambda: {"documents": 0, "lost": 0, "moved": 0, "by": Counter()}
    )
    for original, why, language in losses(of, out):
        for key in (("all", ""), (original.language, ""), (original.language, original.source)):
            row = groups[key]
            row["documents"] += 1
            row["lost"] += bool(why)
            row["by"].update([why] if why else [])
            row["moved"] += bool(language) and language != original.language
    for row in groups.values():
        row["share"] = row["lost"] / row["documents"]
        row["low"], row["high"] = wilson(row["lost"], row["documents"])
    return {f"{language} {source}".strip(): row for (language, source), row in sorted(groups.items())}


def show(result: dict[str, dict[str, Any]]) -> None:
    for name, rows in result.items():
        print(f"\n{name:32} documents   lost  share  95 % interval   moved  by")
        for key, row in rows.items():
            by = ", ".join(f"{rule} {count}" for rule, count in row["by"].most_common())
            print(
                f"  {key:30} {row['documents']:9} {row['lost']:6} {row['share']:6.3f}  {row['low']:.3f} to {row['high']:.3f}"
                f"  {row['moved']:5}  {by}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the curation's configuration")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    of = originals(options.folder)
    result = {}
    with tempfile.TemporaryDirectory() as work:
        for name, language in (("declared", ""), ("auto", "auto")):
            run(options.folder, Path(work) / name, language, options.overrides)
            result[name] = table(of, Path(work) / name / "out")
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
