"""Seconds and memory of `pinisi curate` as the input grows.

    python benchmarks/curation_scale.py TEXT [--sizes 10,50,200] [--budget "2 GiB"] [--json FILE]

TEXT: a folder as `pinisi corpus fetch` makes it. Its documents are made more by giving each copy other words in a third of the
places, drawn from its language, and a known share of exact copies of whole documents among them. Short lines come back by chance,
and oftener the more is drawn from the same texts: with_frequent_lines counts the documents that lose some and are judged again.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pinisi.data.documents import Document, corpus_files, read_documents, write_documents

COPIES = 0.2  # of the documents
CHANGED = 0.35  # of the words, or of the characters where there are no spaces
SPACELESS = ("th", "lo", "km", "my", "zh")


def grown(texts: dict[str, list[str]], size: int, seed: int = 0) -> Iterator[Document]:
    """Documents of about `size` bytes in all, copies among them."""
    draw, made, number, before = random.Random(seed), 0, 0, []  # type: ignore[var-annotated]
    units = {
        language: sorted(
            {unit for text in of[:300] for unit in (text if language in SPACELESS else text.split(" "))}
        )
        for language, of in texts.items()
    }
    languages = sorted(texts)
    shares = [len(texts[language]) for language in languages]
    while made < size:
        if before and draw.random() < COPIES:
            language, text = draw.choice(before)
        else:
            language = draw.choices(languages, shares)[0]
            space = "" if language in SPACELESS else " "
            words = draw.choice(texts[language])
            parts = list(words) if not space else words.split(" ")
            text = space.join(
                draw.choice(units[language]) if draw.random() < CHANGED else part for part in parts
            )
            if len(before) < 20_000:
                before.append((language, text))
        made += len(text.encode())
        number += 1
        yield Document(str(number), text, language, f"https://example.org/{number}")


def measured(texts: dict[str, list[str]], size: int, workers: int, budget: str) -> dict[str, object]:
    folder = Path(tempfile.mkdtemp())
    try:
        count = write_documents(folder / "raw" / "all.jsonl", grown(texts, size))
        config = folder / "curate.toml"
        config.write_text(
            f'[run]\nfolder = "{folder}/out"\nworkers = {workers}\nbudget = "{budget}"\n'
            f'[[sources]]\npath = "{folder}/raw/all.jsonl"\n'
            "[alarm]\nshare = 1.0\n[rules]\npreset = 'wide'\noff = ['variety', 'stop_words', 'language']\noutliers = 0.0\n"
        )
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pinisi", "curate", str(config)],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.monotonic() - start
        stages = {
            line.split(":")[0]: line.split(" tasks in ")[1].split(";")[0]
            for line in done.stdout.splitlines()
            if " tasks in " in line
        }
        table = json.loads((folder / "out" / "report.json").read_text())["languages"].values()
        bytes_ = (folder / "raw" / "all.jsonl").stat().st_size
        return {
            "megabytes": bytes_ / 1e6,
            "budget": budget,
            "documents": count,
            "duplicates": sum(of["drops"].get("near/near duplicate", 0) for of in table),
            "with_frequent_lines": sum(of["touched"].get("frequent lines", 0) for of in table),
            "seconds": seconds,
            "stages": stages,
            "peak_mb_of_a_process": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        }
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--sizes", default="10,50,200", help="megabytes, ascending")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--budget", default="2 GiB", help="run.budget")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts = {
        language: [document.text for document in read_documents(path) if len(document.text) > 300]
        for language, path in corpus_files(options.text).items()
    }
    rows = []
    for size in options.sizes.split(","):
        row = measured(texts, int(float(size) * 1e6), options.workers, options.budget)
        rows.append(row)
        print(
            f"{row['megabytes']:7.1f} MB {row['documents']:8,} documents: {row['seconds']:7.1f} s, "
            f"{row['megabytes'] / row['seconds']:.2f} MB/s, {row['peak_mb_of_a_process']:.0f} MB in the largest process, "  # type: ignore[operator]
            f"{row['duplicates']:,} duplicates, {row['with_frequent_lines']:,} judged again; {row['stages']}",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps({"workers": options.workers, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
