"""Two thousand languages under 256 file handles: run by itself, since a limit is of a process."""

import itertools
import json
import resource
import string
import sys
from pathlib import Path

from pinisi.curate import records
from pinisi.data import Sampler, TokenShards, eval_batches, tokenize

COUNT = 2000


def codes() -> list[str]:
    every = itertools.product(string.ascii_lowercase, repeat=3)
    return ["".join(code) for code in itertools.islice(every, 0, 8 * COUNT, 8)]


def curated(folder: Path) -> None:
    """Records of all languages in turn, and some with much text."""
    folder.mkdir()
    with records.Writers(folder) as writers:
        for turn in range(3):
            for code in codes():
                writers.write(code, {"text": f"{code} {turn}", "more": "x" * (40_000 if code < "b" else 0)})
    for code in codes():
        found = [record["text"] for record in records.read(folder / f"{code}.jsonl.zst")]
        assert found == [f"{code} {turn}" for turn in range(3)], code


def main(folder: Path, tokenizer: Path) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    curated(folder / "curated")
    (folder / "text").mkdir()
    with (folder / "text" / "all.jsonl").open("w") as file:
        for turn in range(2):
            for code in codes():
                file.write(
                    json.dumps({"text": f"teks {turn} {code}", "language": code, "id": f"{code}/{turn}"})
                    + "\n"
                )
    tokenize(folder / "text", tokenizer, folder / "shards", report=lambda line: None)
    shards = TokenShards(folder / "shards")
    assert list(shards.languages) == codes()
    sampler = Sampler(shards, sequence=16, batch=8, seed=0, temperature=1e9)
    seen = {int(row[0]) for _ in range(100) for batch in sampler.step(4) for row in batch.languages}
    assert len(seen) > 0.7 * COUNT
    for language in codes()[::9]:
        assert sum(
            batch.target_count for batch in eval_batches(shards, sequence=32, batch=1, language=language)
        ) == (shards.counts(language)["tokens"] - 2)
        assert shards.name(language, 1)[0] == f"{language}/1"
    assert shards.damage() is None
    print("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
