"""What near duplicates cost as documents grow, and what that comes to for a crawl.

    python benchmarks/near_scale.py [--sizes 100000,1000000] [--crawl 1e9] [--budget "2 GiB"] [--json FILE]

Signatures are made up: three documents in ten are variants of another with up to 40 % of its numbers drawn anew, one in ten is a
copy. Each size is compared once as one task and once in many (by a budget that cuts it so), in this process; both must say the
same. Printed are processor seconds and bytes a document of each stage of the many, and what these come to for `crawl` documents:
core-hours, disk, tasks. Texts are short here: what is told of those that go takes longer where they are long. What grows faster
than the documents is stated apart: passes over files that every task makes.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pinisi.base.settings import byte_count
from pinisi.curate import records
from pinisi.curate.compared import HASH, ORDER, PAIR, ROW, SETTLED, TOLD, compare_tasks
from pinisi.curate.config import CurateConfig, Near, Run
from pinisi.curate.duplicates.near import bands_for
from pinisi.curate.duplicates.pairs import FILES
from pinisi.curate.duplicates.together import BYTES_PER_DOCUMENT
from pinisi.curate.stages import _STAGES
from pinisi.curate.stages.files import ComparedRow, save
from pinisi.data.documents import Document
from pinisi.data.reading import Source

PART = 20_000  # documents; some 64 MiB of text
LIKE, COPIES, CHANGED = 0.3, 0.1, 0.4
LANGUAGE = "xx"


def make_parts(folder: Path, count: int, permutations: int) -> list[Path]:
    """Parts as the stage `read` writes them."""
    rng, parts = np.random.default_rng(5), []
    before = np.zeros((0, permutations), np.uint32), np.zeros(0, np.uint64)
    for first in range(0, count, PART):
        size = min(PART, count - first)
        signatures = rng.integers(0, 2**32, (size, permutations), dtype=np.uint32)
        keys = rng.integers(0, 2**64, size, dtype=np.uint64)
        if first:
            like = np.flatnonzero(rng.random(size) < LIKE)
            source = rng.integers(0, len(before[1]), len(like))
            fresh = rng.random((len(like), permutations)) < rng.uniform(0, CHANGED, len(like))[:, None]
            signatures[like] = np.where(fresh, signatures[like], before[0][source])
            copies = np.flatnonzero(rng.random(size) < COPIES)
            source = rng.integers(0, len(before[1]), len(copies))
            signatures[copies], keys[copies] = before[0][source], before[1][source]
        chosen = rng.integers(0, size, 2000)
        before = np.concatenate((before[0], signatures[chosen])), np.concatenate((before[1], keys[chosen]))
        parts.append(folder / f"{first // PART:05d}")
        parts[-1].mkdir()
        write_part(parts[-1], first, keys, signatures)
    return parts


def write_part(part: Path, first: int, keys: np.ndarray, signatures: np.ndarray) -> None:
    rows = []
    with records.Writers(part) as writers:
        for row, (key, signature) in enumerate(zip(keys.tolist(), signatures, strict=True), first):
            name, length = f"crawl/{row:012d}", key % 3000  # equal texts are equally long
            writers.write(LANGUAGE, vars(Document(name, "made up", LANGUAGE)))
            rows.append(ComparedRow(key, row, 0, length, 2 * length, name, signature))
    save(part, LANGUAGE, rows)


def compared(work: Path, parts: list[Path], budget: str) -> dict:
    """Processor seconds, bytes written and tasks of each stage, and a hash of what is kept."""
    config = CurateConfig(Run(str(work), budget=budget), [Source(path="none")])
    tools, rows = SimpleNamespace(config=config), {}
    plan = compare_tasks(config, parts, LANGUAGE, {stage: work / stage for stage in ORDER})
    for stage in ORDER:
        busy, tasks = time.process_time(), next(plan)
        for task in tasks:
            task.folder.parent.mkdir(parents=True, exist_ok=True)
            _STAGES[task.stage](tools, *task.arguments)
        if tasks:
            files = [path for task in tasks for path in task.folder.iterdir()]
            rows[stage] = {
                "seconds": time.process_time() - busy,
                "bytes": sum(path.stat().st_size for path in files),
                "tasks": len(tasks),
                "pairs": sum(
                    np.load(path, mmap_mode="r").shape[1] for path in files if path.stem in ("pairs", "alike")
                ),
            }
    keep = np.load(work / "near" / LANGUAGE / "keep.npy")
    drops = Counter(
        record["of"] for path in sorted(work.glob("*/*/drops.jsonl.zst")) for record in records.read(path)
    )
    shutil.rmtree(work)
    return {"stages": rows, "kept": int(keep.sum()), "keep": keep, "of": drops}


def measured(count: int, permutations: int) -> dict:
    folder = Path(tempfile.mkdtemp())
    try:
        parts = make_parts(folder, count, permutations)
        many = compared(folder / "many", parts, f"{max(1, count * 32 // 1024)} KiB")
        one = compared(folder / "one", parts, f"{count * 4 * BYTES_PER_DOCUMENT // 1024} KiB")
        assert (one["keep"] == many["keep"]).all() and one["of"] == many["of"]
        return {
            "documents": count,
            "kept": one["kept"],
            "one_task_seconds": one["stages"]["near"]["seconds"],
            "stages": many["stages"],
            "signature_bytes": 4 * permutations,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    finally:
        shutil.rmtree(folder)


def projected(row: dict, crawl: int, budget: str) -> dict:
    """What a crawl in one language takes, by what this many documents took."""
    half, scale = byte_count(budget) // 2, crawl / row["documents"]
    bands, _ = bands_for(Near.similarity, Near.permutations)
    stages = row["stages"]
    candidates, alike = stages["buckets"]["pairs"] * scale, stages["pairs"]["pairs"] * scale
    ranges, settled = -(-crawl * HASH // half), int(min(crawl, 2 * alike) * SETTLED // half + 1)
    tasks = {
        "bands": -(-crawl * (8 * bands + ROW) // half),
        "buckets": bands * ranges,
        "pairs": int(candidates * PAIR // half + 1),
        "merge": 1,
        "settle": settled,
        "mark": 1,
        "tell": -(-crawl * TOLD // half),
    }
    return {
        "core_hours": {stage: round(of["seconds"] * scale / 3600, 1) for stage, of in stages.items()},
        "terabytes": {
            "signatures": row["signature_bytes"] * crawl / 1e12,
            **{stage: round(of["bytes"] * scale / 1e12, 3) for stage, of in stages.items()},
        },
        "tasks": tasks,
        "memory_of_a_task": f"{budget}, with the signatures of {FILES} pairs",
        "gigabytes_mapped_by_merge": 8 * crawl / 1e9,
        "terabytes_read_in_passes": {
            "merge": round(ranges * 16 * crawl / 1e12, 1),
            "settle": round(settled * (8 * crawl + 18 * alike) / 1e12, 1),
        },
        "signatures_fetched_at_least": round(2 * alike),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="100000,1000000", help="documents, ascending")
    parser.add_argument("--crawl", type=float, default=1e9, help="documents in one language")
    parser.add_argument("--budget", default="2 GiB", help="run.budget of the crawl")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = []
    for size in options.sizes.split(","):
        row = measured(int(size), Near.permutations)
        report.append(row)
        total = sum(of["seconds"] for of in row["stages"].values())
        print(
            f"{row['documents']:10,} documents, {row['kept']:,} kept: one task {row['one_task_seconds']:.1f} s, many "
            f"{total:.1f} s; {row['peak_mb']:.0f} MB"
        )
        for stage, of in row["stages"].items():
            print(
                f"    {stage:8} {of['tasks']:5} tasks {of['seconds']:8.2f} s {1e6 * of['seconds'] / row['documents']:8.2f} us "
                f"{of['bytes'] / row['documents']:8.1f} bytes a document"
            )
    crawl = projected(report[-1], int(options.crawl), options.budget)
    print(f"{options.crawl:.0e} documents: {json.dumps(crawl, indent=1)}")
    if options.json:
        options.json.write_text(json.dumps({"rows": report, "crawl": crawl}, indent=1))


if __name__ == "__main__":
    main()
