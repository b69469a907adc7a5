"""Builds an index of all fingerprints of a corpus once, keeps it in a folder, and looks evaluation texts up in it.

<number>.npy   uint64, in order, each once: fingerprints whose first bits are `number`, of BUCKETS
index.json     what the corpus was (a digest of each file), how much text, and how fingerprints were taken

It is made as a recipe: a task reads a part of the corpus and sorts its fingerprints into buckets, another joins a bucket. So a run
that was killed goes on, any number of workers makes the same bytes, and memory holds one part's or one bucket's fingerprints. All
of them take about 4 bytes for each letter of the corpus, fewer where text repeats.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import DataError
from pinisi.base.files import new_folder, write_whole
from pinisi.base.lock import only_one
from pinisi.base.made import check_ours, mark
from pinisi.data.inputs import documents_in, inputs_of
from pinisi.data.shards import INDEX as SHARDS_INDEX
from pinisi.data.shards import TOKENIZER, TokenShards
from pinisi.data.text_parts import TextPart, cut
from pinisi.evaluate import fingerprints
from pinisi.evaluate.fingerprints import Fingerprints
from pinisi.recipe import (
    ExecutorSettings,
    RecipeStage,
    RecipeTask,
    StageRunner,
    TaskExecutor,
    begin,
    remove_others,
    stage_folders,
)

INDEX, COUNTS, FORMAT = "index.json", "counts.json", 1
WHAT = "an index of fingerprints"
BUCKETS, BITS = 64, 6
GATHERED = 2**21  # fingerprints of a part that wait in memory before they are made unique
BATCH = 256  # documents of shards decoded at once

Report = Callable[[str], None]


class CorpusIndex:
    """An index that `build_index` made, opened without reading it. Raises DataError for a folder that is none."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.facts = read_facts(self.folder)
        self._buckets: dict[int, np.ndarray] = {}

    @property
    def digest(self) -> str:
        return str(self.facts["digest"])

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Tells of fingerprints [n], in any order, which the corpus has, bool [n]."""
        found = np.zeros(len(values), bool)
        buckets = values >> np.uint64(64 - BITS)
        for number in np.unique(buckets).tolist():
            here = np.flatnonzero(buckets == number)
            known = self._bucket(number)
            if len(known):
                places = np.minimum(np.searchsorted(known, values[here]), len(known) - 1)
                found[here] = known[places] == values[here]
        return found

    def _bucket(self, number: int) -> np.ndarray:
        if number not in self._buckets:
            path = self.folder / _name(number)
            try:
                self._buckets[number] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise DataError(
                    f"{path} is missing or torn ({error}): make the index again from its corpus"
                ) from None
        return self._buckets[number]


def read_facts(folder: Path) -> dict[str, Any]:
    """Reads index.json. Raises DataError."""
    try:
        facts = json.loads((folder / INDEX).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{folder} is no index of a corpus ({error}): make one with `pinisi contamination {folder} --corpus TEXT`"
        ) from None
    if not isinstance(facts, dict) or facts.get("how") != how():
        raise DataError(f"{folder} is an index of another format or none: make it again from its corpus")
    return facts


def how() -> dict[str, int]:
    """What a fingerprint depends on besides the text."""
    return {
        "format": FORMAT,
        "fingerprints": fingerprints.FORMAT,
        "window": fingerprints.WINDOW,
        "han": fingerprints.LENGTH_HAN,
        "unspaced": fingerprints.LENGTH_UNSPACED,
        "marked": fingerprints.LENGTH_MARKED,
        "other": fingerprints.LENGTH_OTHER,
    }


def build_index(
    corpora: Sequence[str | Path], out: str | Path, *, workers: int = 1, report: Report = print
) -> CorpusIndex:
    """Makes the index, unless it is there and of the same text.

    corpora: each a folder of text or token shards, a file or a pattern. Raises DataError for what can't be read, and where `out`
    holds something else.
    """
    out = Path(out)
    digest, tasks_of = _parts(corpora, report)
    if (out / INDEX).is_file() and _same(out, digest):
        report(f"the index in {out} is up to date")
        return CorpusIndex(out)
    check_ours(out, WHAT, "INDEX")
    work = out.with_name(f".{out.name}.parts")
    stages = stage_folders(work, [RecipeStage("read", [how(), digest]), RecipeStage("join", [])])
    with (
        only_one(out, work / "lock", "INDEX"),
        TaskExecutor(
            ExecutorSettings(workers=workers), name="contamination", section="--workers"
        ) as executor,
    ):
        begin(stages, report, "the corpus")
        remove_others(stages)
        runner = StageRunner(executor, work / "logs", report)
        read = tasks_of(stages["read"])
        runner.run(read)
        parts = [task.folder for task in read]
        buckets = [stages["join"] / f"{number:02}" for number in range(BUCKETS)]
        runner.run(
            [RecipeTask("join", join_bucket, (number, parts, each)) for number, each in enumerate(buckets)]
        )
        _put(out, parts, buckets, digest)
        shutil.rmtree(work)
    index = CorpusIndex(out)
    report(f"{index.facts['fingerprints']:,} fingerprints of {index.facts['documents']:,} documents: {out}")
    return index


def _same(out: Path, digest: str) -> bool:
    try:
        return read_facts(out)["corpus"] == digest
    except (DataError, KeyError):
        return False


def _parts(corpora: Sequence[str | Path], report: Report) -> tuple[str, Callable[[Path], list[RecipeTask]]]:
    """A digest of the text, and the tasks that read it into a folder."""
    known: list[Any] = []
    todo: list[tuple[Callable[..., None], Any]] = []
    for corpus in corpora:
        if (Path(corpus) / SHARDS_INDEX).is_file() and (Path(corpus) / TOKENIZER).is_file():
            shards = TokenShards(corpus)
            known.append(shards.fingerprint)
            todo += [(read_shards, (str(corpus), language)) for language in shards.languages]
            continue
        text = cut(inputs_of(corpus, report))
        known.append(text.digests)
        todo += [(read_part, part) for part in text.parts]

    def tasks_of(folder: Path) -> list[RecipeTask]:
        return [
            RecipeTask("read", function, (what, folder / f"{number:05}"))
            for number, (function, what) in enumerate(todo)
        ]

    return digests.of_value(known), tasks_of


def read_part(part: TextPart, folder: Path) -> None:
    """Writes the fingerprints of a part of the text, by buckets."""
    _write(folder, (document.text for each in part.inputs for document in documents_in(each)))


def read_shards(which: tuple[str, str], folder: Path) -> None:
    """Writes those of a language of token shards, (their folder, language), whose documents are decoded."""
    _write(folder, decoded_documents(*which))


def decoded_documents(folder: str | Path, language: str) -> Iterator[str]:
    """The documents of a language of token shards as text."""
    from tokenizers import Tokenizer

    tokenizer, shards = Tokenizer.from_file(str(Path(folder) / TOKENIZER)), TokenShards(folder)
    waiting: list[list[int]] = []
    for tokens in shards.files(language).each():
        begins = shards.bos is not None and tokens[0] == shards.bos
        waiting.append(tokens[int(begins) : -1].tolist())
        if len(waiting) == BATCH:
            yield from tokenizer.decode_batch(waiting, skip_special_tokens=False)
            waiting = []
    yield from tokenizer.decode_batch(waiting, skip_special_tokens=False)


def _write(folder: Path, texts: Iterator[str]) -> None:
    gathered: list[np.ndarray] = []
    waiting = documents = letters = 0
    for text in texts:
        found = Fingerprints(text)
        gathered.append(found.kept())
        waiting, documents, letters = waiting + len(gathered[-1]), documents + 1, letters + found.letters
        if waiting > GATHERED:
            gathered = [np.unique(np.concatenate(gathered))]
            waiting = 0
    values = np.unique(np.concatenate(gathered)) if gathered else np.zeros(0, np.uint64)
    borders = np.searchsorted(values >> np.uint64(64 - BITS), np.arange(BUCKETS + 1))
    with new_folder(folder) as partial:
        for number in range(BUCKETS):
            np.save(partial / _name(number), values[borders[number] : borders[number + 1]])
        (partial / COUNTS).write_text(json.dumps({"documents": documents, "letters": letters}))


def join_bucket(number: int, parts: Sequence[Path], folder: Path) -> None:
    """Joins one bucket of all parts."""
    values = np.unique(np.concatenate([np.load(part / _name(number), allow_pickle=False) for part in parts]))
    with new_folder(folder) as partial:
        np.save(partial / _name(number), values)


def _put(out: Path, parts: Sequence[Path], buckets: Sequence[Path], digest: str) -> None:
    """Gives the joined buckets and the facts their place."""
    counts = [json.loads((part / COUNTS).read_text()) for part in parts]
    total = 0
    with new_folder(out) as partial:
        for number, bucket in enumerate(buckets):
            (bucket / _name(number)).rename(partial / _name(number))
            total += len(np.load(partial / _name(number), mmap_mode="r", allow_pickle=False))
        facts: dict[str, Any] = {"how": how(), "corpus": digest, "fingerprints": total}
        facts |= {key: sum(count[key] for count in counts) for key in ("documents", "letters")}
        write_whole(
            partial / INDEX, json.dumps({**facts, "digest": digests.of_value(facts)}, indent=1) + "\n"
        )
        mark(partial, WHAT)


def _name(number: int) -> str:
    return f"{number:02}.npy"
