"""Deduplication: what is found, and how fast: python benchmarks/deduplicate.py TEXT_FOLDER [--json FILE]

TEXT_FOLDER holds <language>.jsonl (`pinisi corpus fetch`).

- near: real paragraphs recombined into documents, a variant of each second one with characters edited or paragraphs dropped and
  shuffled at drawn rates. Precision: of the documents that go, those whose Jaccard with the one that stays for them, computed
  exactly from the shingles' sets, is .7. Recall: of the pairs of Jaccard .7, those of which one goes.
- windows: the same of 25 windows of one text, each 16 words on, which a chain of pairs joins from end to end.
- exact: passages of 160 to 800 units copied between such documents (a unit is a letter, an ideograph three). What is cut is
  compared with a set of all windows of 140 units: precision is the share of it that they cover, recall the share of what they
  cover that was cut, less than all since no sentence is torn. A planted passage is found if part of one of its copies went; those
  that hold whole sentences or lines of half of 140 units are counted apart, as what can be cut.
- speed: documents of pieces of real text of about 45 bytes, so that nothing repeats but what is planted (a tenth near
  duplicates, a tenth with a copied passage), 10, 50 and 200 MB, each in a process of its own; beside datatrove's MinHash
  blocks, where installed, on the languages with spaces. These get words from str.split, which is faster than the tokenizers
  they come with. Up to 50 MB repeated passages are also looked for in a budget less than most of the texts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.curate.duplicates.exact import repeated
from pinisi.curate.duplicates.lines import count, frequent, merge, passages, without
from pinisi.curate.duplicates.near import bands_for, shingles, signature
from pinisi.curate.duplicates.pieces import Pieces
from pinisi.curate.duplicates.settle import LIKE, STAYS, Texts, by_priority
from pinisi.curate.duplicates.spans import cut
from pinisi.curate.duplicates.together import find
from pinisi.curate.duplicates.weights import weights
from pinisi.data.text.segmentation import borders, codes
from pinisi.data.text.sentences import bounds

NO_SPACES = ("km", "lo", "my", "th", "zh")
THRESHOLD = 0.7
STRICT = 0.71  # half a standard error more, for precision
LEAST = 140  # units
DOCUMENTS = 260  # a draw, before variants
ROUNDS = 6  # draws a language
PASSAGES = 150
SMALL = 48 << 20  # bytes: a budget less than most of the texts


def paragraphs(folder: Path, language: str) -> list[str]:
    """Distinct paragraphs of 60 bytes or more."""
    texts = (json.loads(line)["text"] for line in (folder / f"{language}.jsonl").open(encoding="utf-8"))
    return list(dict.fromkeys(p for text in texts for p in text.split("\n") if 60 <= len(p.encode()) <= 3000))


def languages(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".jsonl") for path in folder.glob("*.jsonl"))


def documents(pool: list[str], rng: np.random.Generator) -> list[str]:
    """Documents of 4 to 9 paragraphs, each paragraph used once."""
    order, made, at = rng.permutation(len(pool)), [], 0
    while at < len(order) - 4 and len(made) < DOCUMENTS:
        size = int(rng.integers(4, 10))
        made.append("\n".join(pool[i] for i in order[at : at + size]))
        at += size
    return made


def variant(text: str, rng: np.random.Generator) -> str:
    """Characters replaced at a rate of .0005 to .02, or paragraphs dropped and shuffled and one added."""
    if rng.random() < 0.5:
        rate = 10 ** rng.uniform(np.log10(0.0005), np.log10(0.02))
        letters = list(text)
        for place in np.flatnonzero(rng.random(len(text)) < rate):
            letters[place] = letters[int(rng.integers(len(letters)))]
        return "".join(letters)
    kept = [line for line in text.split("\n") if rng.random() > rng.uniform(0, 0.3)]
    rng.shuffle(kept)
    return "\n".join(kept)


def exact_jaccard(sets: list[np.ndarray]) -> np.ndarray:
    """[N, N] from the sets; only shingles of two documents or more enter the product."""
    _, where, times = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    document = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    column = np.cumsum(times > 1) - 1
    shared = times[where] > 1
    member = np.zeros((len(sets), int(column[-1]) + 1), np.float32)
    member[document[shared], column[where[shared]]] = 1
    both = member @ member.T
    sizes = np.array([len(s) for s in sets])
    return both / np.maximum(1, sizes[:, None] + sizes[None] - both)


def share(part: int, whole: int) -> dict:
    """part / whole with its 95 % interval (Wilson 1927)."""
    if not whole:
        return {"share": None, "of": 0}
    p, z = part / whole, 1.96
    middle, scale = p + z * z / (2 * whole), 1 + z * z / whole
    half = z * sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole))
    return {
        "share": round(p, 4),
        "of": whole,
        "interval": [round((middle - half) / scale, 4), round((middle + half) / scale, 4)],
    }


def greedy(jaccard: np.ndarray, order: np.ndarray, least: float) -> np.ndarray:
    """Which documents stay, going through them in this order: those of no Jaccard of `least` with one that stays."""
    stays = np.zeros(len(order), bool)
    for document in order:
        stays[document] = not (stays & (jaccard[document] >= least)).any()
    return stays


def near_round(pool: list[str], language: str, seed: int) -> Counter[str]:
    """Counts of documents of one draw that go, at two thresholds, and of those that may go: have an original of the Jaccard."""
    rng = np.random.default_rng(seed)
    texts = documents(pool, rng)
    originals = len(texts)
    source = [i for i in range(originals) if rng.random() < 0.5]
    texts += [variant(texts[i], rng) for i in source]
    return near_counts(texts, language, source)


def near_counts(texts: list[str], language: str, source: Sequence[int] = ()) -> Counter[str]:
    sets = [shingles(text, spaces=language not in NO_SPACES) for text in texts]
    columns = texts_of(texts)
    signatures = Pieces([np.stack([signature(s) for s in sets])])
    jaccard = exact_jaccard(sets)
    np.fill_diagonal(jaccard, 0)
    root = np.array([*range(len(texts) - len(source)), *source])
    planted = root[:, None] == root[None]
    sums: Counter[str] = Counter(documents=len(texts))
    order = by_priority(columns)
    sums["true"] = (~greedy(jaccard, order, THRESHOLD)).sum()
    for name, threshold in (("", THRESHOLD), ("strict_", STRICT)):
        settled = find(signatures, columns, threshold=threshold)
        gone = np.flatnonzero(settled.reason == LIKE)
        of = jaccard[gone, settled.stays[gone]]
        sums[name + "gone"] = len(gone)
        sums[name + "right"] = (of >= THRESHOLD).sum()
        sums[name + "nearly"] = (of >= THRESHOLD - 0.05).sum()
        sums[name + "planted"] = ((of >= THRESHOLD) | planted[gone, settled.stays[gone]]).sum()
        # A pair is dealt with if one of the two goes; both may stay only where they are unlike.
        stays = settled.reason == STAYS
        for least, of_pairs in ((THRESHOLD, "pairs"), (THRESHOLD + 0.05, "sure_pairs")):
            pairs = np.triu(jaccard >= least)
            sums[name + of_pairs] = pairs.sum()
            sums[f"{name}{of_pairs}_parted"] = (pairs & ~(stays[:, None] & stays[None])).sum()
    return Counter({name: int(value) for name, value in sums.items()})


def texts_of(texts: list[str]) -> Texts:
    keys = np.array([text_key(text) for text in texts], np.uint64)
    none = np.zeros(len(keys), np.uint64)
    return Texts(keys, np.array([len(text) for text in texts]), none, none)


def near_quality(pool: list[str], language: str) -> dict:
    total: Counter[str] = Counter()
    for seed in range(ROUNDS):
        total += near_round(pool, language, seed)
    return near_shares(total)


def near_shares(total: Counter[str]) -> dict:
    return {
        "documents": total["documents"],
        "gone_by_all_pairs": total["true"],
        "gone": total["gone"],
        "precision": share(total["right"], total["gone"]),
        "precision_to_0.65": share(total["nearly"], total["gone"]),
        "precision_planted_or_true": share(total["planted"], total["gone"]),
        "recall": share(total["pairs_parted"], total["pairs"]),
        "recall_from_0.75": share(total["sure_pairs_parted"], total["sure_pairs"]),
        f"precision_at_{STRICT}": share(total["strict_right"], total["strict_gone"]),
        f"recall_at_{STRICT}": share(total["strict_pairs_parted"], total["strict_pairs"]),
    }


def window_quality(pool: list[str], language: str) -> dict:
    """25 windows of 160 words of one text, each 16 words on: every one is like the next and unlike those further away."""
    rng, total = np.random.default_rng(7), Counter()  # type: ignore[var-annotated]
    for _ in range(12):
        words = " ".join(pool[i] for i in rng.permutation(len(pool))[:60]).split()[: 160 + 24 * 16]
        if language not in NO_SPACES and len(words) == 160 + 24 * 16:
            total += near_counts([" ".join(words[16 * n : 16 * n + 160]) for n in range(25)], language)
    return near_shares(total)


def units(text: str) -> tuple[list[int], np.ndarray]:
    """Its code points, each as often as it weighs, and where each character begins in them."""
    of = codes(text)
    weight = weights()[of]
    return np.repeat(of, weight).tolist(), np.concatenate([[0], np.cumsum(weight, dtype=np.int64)])


def marked_by_windows(texts: list[str], keys: np.ndarray) -> dict[int, np.ndarray]:
    """Which units stand in a window of LEAST that occurred before, from a plain set."""
    seen: set[tuple[int, ...]] = set()
    marks = {}
    for number in np.argsort(keys).tolist():
        data, _ = units(texts[number])
        marks[number] = np.zeros(len(data), bool)
        for at in range(len(data) - LEAST + 1):
            window = tuple(data[at : at + LEAST])
            if window in seen:
                marks[number][at : at + LEAST] = True
            seen.add(window)
    return marks


def holds_sentences(passage: str) -> bool:
    """Whether whole sentences or lines of half of LEAST stand in it, wherever it is copied to."""
    inner = np.flatnonzero(bounds(f"x{passage}x")[2:-2]) + 1
    _, offsets = units(passage)
    return len(inner) > 1 and 2 * int(offsets[inner[-1]] - offsets[inner[0]]) >= LEAST


def exact_quality(pool: list[str]) -> dict:
    """Each passage is copied from one document into another, so that one of the two loses it: whichever key is greater."""
    rng = np.random.default_rng(2)
    texts = documents(pool, rng)[:120]
    planted = []
    for _ in range(min(PASSAGES, len(texts) // 2)):
        source, target = rng.choice(len(texts), 2, replace=False).tolist()
        safe = np.flatnonzero(borders(texts[source]))
        first = int(rng.choice(safe))
        size = int(rng.integers(LEAST + 20, 800))
        inner = [int(i) for i in safe if i > first and len(units(texts[source][first:i])[0]) <= size]
        if inner and len(units(texts[source][first : inner[-1]])[0]) >= LEAST + 20:
            passage = texts[source][first : inner[-1]]
            place = int(rng.choice(np.flatnonzero(borders(texts[target]))))
            texts[target] = texts[target][:place] + "\n" + passage + "\n" + texts[target][place:]
            planted.append(passage)
    keys = np.array([text_key(text) for text in texts], np.uint64)
    spans = repeated(texts, keys, least=LEAST)
    marks = marked_by_windows(texts, keys)
    cut_units = right = 0
    for number, found in enumerate(spans):
        _, offsets = units(texts[number])
        for start, end in found:
            cut_units += int(offsets[end] - offsets[start])
            right += int(marks[number][offsets[start] : offsets[end]].sum())
    after = "\n\n".join(cut(text, own) for text, own in zip(texts, spans, strict=True))
    before_all = "\n\n".join(texts)
    whole = [
        passage for passage in planted if before_all.count(passage) > 1
    ]  # no later one was planted within it
    gone = [after.count(passage) <= 1 for passage in whole]
    can = [holds_sentences(passage) for passage in whole]
    wanted = sum(int(mark.sum()) for mark in marks.values())
    return {
        "documents": len(texts),
        "units": sum(len(mark) for mark in marks.values()),
        "precision_in_units": share(right, cut_units),
        "recall_in_units": share(right, wanted),
        "planted_passages_cut": share(sum(gone), len(whole)),
        "planted_sentences_cut": share(sum(g for g, c in zip(gone, can, strict=True) if c), sum(can)),
    }


def pieces(folder: Path, chosen: list[str]) -> dict[str, list[str]]:
    """Real text in pieces of about 45 bytes."""
    made: dict[str, list[str]] = {}
    for language in chosen:
        own = made.setdefault(language, [])
        for paragraph in paragraphs(folder, language):
            at = 0
            for place in np.flatnonzero(borders(paragraph)).tolist():
                if len(paragraph[at:place].encode()) >= 42:
                    own.append(paragraph[at:place].strip())
                    at = place
        own[:] = list(dict.fromkeys(own))
    return made


def recombined(folder: Path, megabytes: float, chosen: list[str]) -> list[tuple[str, str]]:
    """(language, text) of documents of 8 to 80 pieces, in the languages' own proportions."""
    rng = np.random.default_rng(3)
    of = pieces(folder, chosen)
    weights = np.array([sum(len(p.encode()) for p in own) for own in of.values()], float)
    made: list[tuple[str, str]] = []
    size = 0
    while size < megabytes * 1e6:
        language = str(rng.choice(list(of), p=weights / weights.sum()))
        joint = "" if language in NO_SPACES else " "
        kind = rng.random()
        if kind < 0.1 and made:
            language, text = made[int(rng.integers(len(made)))]
            text = variant(text, rng)
        else:
            chosen_pieces = rng.integers(0, len(of[language]), int(rng.integers(8, 80)))
            lines = np.array_split(chosen_pieces, max(1, len(chosen_pieces) // 8))
            text = "\n".join(joint.join(of[language][i] for i in line) for line in lines)
            if kind > 0.9 and made:
                other = made[int(rng.integers(len(made)))][1]
                text += "\n" + other[: max(150, len(other) // 3)]
        made.append((language, text))
        size += len(text.encode())
    return made


def peak() -> float:
    """MB this process has held at most; getrusage also counts what its parent held when it started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(int(row.split()[1]) for row in status.read_text().splitlines() if row.startswith("VmHWM"))
            / 1e3
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class Stages:
    """What each stage took; seconds of the processor tell more than the clock's on a machine that others use too."""

    def __init__(self, size: float, documents: int):
        self.size, self.documents = size, documents
        self.rows: dict[str, dict] = {}
        self.before = peak()

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        clock, processor = time.perf_counter(), time.process_time()
        result = work()
        seconds, busy = time.perf_counter() - clock, time.process_time() - processor
        self.rows[name] = {
            "seconds": round(seconds, 3),
            "processor_seconds": round(busy, 3),
            "mb_per_second": round(self.size / busy, 2),
            "documents_per_second": round(self.documents / busy),
            "peak_mb_so_far": round(peak()),
        }
        return result

    def report(self, dropped: int) -> dict:
        return {
            "megabytes": round(self.size, 1),
            "documents": self.documents,
            "dropped": dropped,
            "stages": self.rows,
            "peak_mb_before": round(self.before),
            "peak_mb": round(peak()),
        }


def ours(folder: Path, megabytes: float, chosen: list[str], near_only: bool) -> dict:
    texts = recombined(folder, megabytes, chosen)
    plain = [text for _, text in texts]
    keys = np.array([text_key(text) for text in plain], np.uint64)
    lengths = np.array([len(text) for text in plain])
    shingles("warm up", spaces=True)
    stages = Stages(sum(len(text.encode()) for text in plain) / 1e6, len(texts))

    def signed() -> np.ndarray:
        table = np.empty((len(texts), 256), np.uint32)
        for row, (language, text) in zip(table, texts, strict=True):
            row[:] = signature(shingles(text, spaces=language not in NO_SPACES))
        return table

    more: dict[str, Any] = {}
    if not near_only:
        small = None
        if megabytes <= 50:
            name = f"repeated passages in {SMALL >> 20} MiB"
            small = stages.run(name, lambda: repeated(plain, keys, least=LEAST, budget_bytes=SMALL))
        spans = stages.run("repeated passages", lambda: repeated(plain, keys, least=LEAST))
        more["share_of_characters_cut"] = round(
            sum(b - a for own in spans for a, b in own) / int(lengths.sum()), 4
        )
        more |= {} if small is None else {"same_in_small_budget": spans == small}
        del spans, small
        counts = stages.run("lines counted", lambda: merge(count(passages(text).hashes) for text in plain))
        often = frequent(counts)
        stages.run("lines removed", lambda: [without(text, often) for text in plain])
    signatures = stages.run("shingles and signatures", signed)
    columns = Texts(keys, lengths, np.zeros_like(keys), np.zeros_like(keys))
    found = stages.run("near duplicates", lambda: find(Pieces([signatures]), columns, threshold=THRESHOLD))
    return {**stages.report(int((found.reason == LIKE).sum())), **more}


class Split:
    """Words for datatrove: what it comes with needs spaCy and is slower."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def datatrove(folder: Path, megabytes: float, chosen: list[str]) -> dict:
    from datatrove.data import Document
    from datatrove.pipeline import dedup
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig
    from xxhash import xxh32_intdigest

    texts = recombined(folder, megabytes, chosen)
    data = [Document(text=text, id=str(number)) for number, (_, text) in enumerate(texts)]
    stages = Stages(sum(len(text.encode()) for _, text in texts) / 1e6, len(texts))
    bands, rows = bands_for(THRESHOLD, 256)
    config = MinhashConfig(
        n_grams=5, num_buckets=bands, hashes_per_bucket=rows, hash_config=HashConfig(precision=32)
    )
    with tempfile.TemporaryDirectory() as scratch:
        with patch.object(dedup.minhash, "load_word_tokenizer", lambda language: Split()):
            sign = dedup.MinhashDedupSignature(f"{scratch}/sign", config=config)
        sign._hash_func = lambda words: xxh32_intdigest(words.encode())  # xxhash 4 takes bytes only
        stages.run("shingles and signatures", lambda: sign.run(iter(data), 0, 1))
        bucket = dedup.MinhashDedupBuckets(f"{scratch}/sign", f"{scratch}/buckets", config=config)
        stages.run("buckets", lambda: [bucket.run(None, rank, bands) for rank in range(bands)])
        cluster = dedup.MinhashDedupCluster(f"{scratch}/buckets", f"{scratch}/remove", config=config)
        stages.run("clusters", lambda: cluster.run(None, 0, 1))
        kept = sum(1 for _ in dedup.MinhashDedupFilter(f"{scratch}/remove").run(iter(data), 0, 1))
    return stages.report(len(texts) - kept)


def in_a_process(folder: Path, part: str, megabytes: float) -> dict:
    command = [sys.executable, __file__, str(folder), "--part", part, "--megabytes", str(megabytes)]
    return json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    )


def quality(folder: Path) -> dict:
    rows = {}
    for language in languages(folder):
        pool = paragraphs(folder, language)
        rows[language] = {
            "near": near_quality(pool, language),
            "windows": window_quality(pool, language),
            "exact": exact_quality(pool),
        }
        near, exact, windows = (rows[language][kind] for kind in ("near", "exact", "windows"))
        print(
            f"{language:4} near: precision {near['precision']['share']}, to .65 {near['precision_to_0.65']['share']}, planted "
            f"{near['precision_planted_or_true']['share']}, at {STRICT} {near[f'precision_at_{STRICT}']['share']} and "
            f"{near[f'recall_at_{STRICT}']['share']}; recall {near['recall']['share']} of "
            f"{near['recall']['of']} pairs, from .75 {near['recall_from_0.75']['share']}; windows: {windows['gone']} of "
            f"{windows['documents']} go (all pairs: {windows['gone_by_all_pairs']}), precision {windows['precision']['share']} "
            f"recall {windows['recall']['share']}; exact: precision "
            f"{exact['precision_in_units']['share']} recall {exact['recall_in_units']['share']} of "
            f"{exact['recall_in_units']['of']} units, passages {exact['planted_passages_cut']['share']} of "
            f"{exact['planted_passages_cut']['of']}, with sentences {exact['planted_sentences_cut']['share']} of "
            f"{exact['planted_sentences_cut']['of']}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sizes", type=float, nargs="+", default=[10, 50, 200])
    parser.add_argument("--part", choices=["ours", "ours with spaces", "datatrove"])
    parser.add_argument("--megabytes", type=float)
    given = parser.parse_args()
    chosen = languages(given.folder)
    spaced = [language for language in chosen if language not in NO_SPACES]
    if given.part == "datatrove":
        print(json.dumps(datatrove(given.folder, given.megabytes, spaced)))
    elif given.part:
        with_spaces = given.part == "ours with spaces"
        print(json.dumps(ours(given.folder, given.megabytes, spaced if with_spaces else chosen, with_spaces)))
    else:
        report = {"threshold": THRESHOLD, "least_units": LEAST, "quality": quality(given.folder), "speed": {}}
        parts = ["ours", "ours with spaces", *(["datatrove"] if find_spec("datatrove") else [])]
        for part in parts:
            for megabytes in given.sizes:
                if part == "ours" or megabytes == min(given.sizes):
                    row = in_a_process(given.folder, part, megabytes)
                    report["speed"].setdefault(part, []).append(row)
                    print(part, json.dumps(row), flush=True)
        if given.json:
            given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
