"""A language compared in many tasks, however it is cut, against the one task: chains, copies, shared URLs, a large bucket."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pinisi.base.files import new_folder
from pinisi.curate import records
from pinisi.curate.compared import ORDER, compare_tasks, cuts
from pinisi.curate.config import CurateConfig, Run
from pinisi.curate.stages import _STAGES
from pinisi.curate.stages.files import ComparedRow, save
from pinisi.data.documents import Document
from pinisi.data.reading import Source

COUNT, PARTS = 420, 5


def drawn_rows(seed: int) -> list[ComparedRow]:
    """Documents of which most are like others: variants of variants, copies, a template's pages; a third have one of 60 URLs."""
    rng = np.random.default_rng(seed)
    signatures = rng.integers(0, 2**32, (COUNT, 256), dtype=np.uint32)
    keys, lengths = rng.integers(0, 2**64, COUNT, dtype=np.uint64), rng.integers(1, 40, COUNT)
    for row in range(60, COUNT):
        source, kind = int(rng.integers(0, row)), rng.random()
        if kind < 0.15:
            signatures[row], keys[row], lengths[row] = signatures[source], keys[source], lengths[source]
        elif kind < 0.6:
            old = rng.random(256) > rng.uniform(0, 0.35)
            signatures[row, old] = signatures[source, old]
        elif kind < 0.85:
            signatures[row, : int(rng.integers(10, 230))] = 7  # of the template
    urls = np.where(rng.random(COUNT) < 0.3, rng.integers(1, 60, COUNT), 0)
    ids = rng.integers(0, 2**64, COUNT, dtype=np.uint64)
    numbers = zip(
        keys, ids, urls, lengths, lengths, map("d\ud800{}".format, range(COUNT)), signatures, strict=True
    )
    return [ComparedRow(*row) for row in numbers]


def parts(folder: Path, rows: list[ComparedRow]) -> list[Path]:
    """As the stage `read` leaves them; one part has none of the language."""
    found = [folder / f"{number}" for number in range(PARTS)]
    for part, own in zip(found, np.array_split(np.arange(len(rows)), PARTS), strict=True):
        with new_folder(part) as out, records.Writers(out) as writers:
            for row in own:
                text = "x" * int(rows[row].length)
                writers.write("xx", vars(Document(rows[row].name, text, "xx")))
            save(out, "xx", [rows[row] for row in own])
    (folder / "empty").mkdir()
    return [found[0], folder / "empty", *found[1:]]


def compared(
    folder: Path, rows: list[ComparedRow], budget: str, urls: bool = True
) -> tuple[dict, set[str], dict[str, int]]:
    """Drops by id, ids of what stays, and how many tasks each stage had."""
    given = parts(folder, rows)
    tools = SimpleNamespace(
        config=CurateConfig(Run(str(folder), budget=budget), [Source(path="none")], urls=urls)
    )
    plan = compare_tasks(tools.config, given, "xx", {stage: folder / stage for stage in ORDER})
    tasks = {}
    for stage in ORDER:
        for task in (of := next(plan)):
            _STAGES[task.stage](tools, *task.arguments)
        tasks[stage] = len(of)
    keep, sizes = (np.load(folder / "near" / "xx" / f"{name}.npy") for name in ("keep", "sizes"))
    assert (sizes == np.where(keep, [row.size for row in rows], 0)).all()
    drops = [record for path in sorted(folder.glob("*/*/drops.jsonl.zst")) for record in records.read(path)]
    stays = {row.name for row, staying in zip(rows, keep, strict=True) if staying}
    assert len(drops) == len({drop["id"] for drop in drops}) == COUNT - len(stays)
    return {drop["id"]: (drop["rule"], drop["value"], drop["of"]) for drop in drops}, stays, tasks


@pytest.mark.parametrize("urls", [True, False])
def test_it_does_not_matter_into_how_many_tasks_a_language_is_cut(tmp_path, urls):
    rows = drawn_rows(int(urls))
    drops, stays, tasks = compared(tmp_path / "one", rows, "1 GiB", urls)
    assert tasks == {stage: int(stage == "near") for stage in ORDER}
    assert 50 < len(stays) < 300 and {drop[0] for drop in drops.values()} == {
        "near duplicate",
        *["same URL"] * urls,
    }
    by_id = {row.name: row for row in rows}
    for name, (
        rule,
        value,
        of,
    ) in drops.items():  # nothing goes for what goes too, or for what it is not like
        assert of in stays
        if rule == "near duplicate":
            same = (by_id[name].signature == by_id[of].signature).mean()
            assert value == pytest.approx(same, abs=1e-6) and same >= 0.71
        else:
            assert by_id[name].url == by_id[of].url > 0
    cut = [("200 KiB", 1, 2), ("48 KiB", 2, 8)]
    for budget, ranges, stretches in cut:
        found = compared(tmp_path / budget, rows, budget, urls)
        assert found[:2] == (drops, stays)
        assert (
            found[2]["buckets"] == 36 * ranges
            and found[2]["bands"] == stretches
            and found[2]["tell"] >= ranges
        )
    order = np.random.default_rng(5).permutation(COUNT)
    assert compared(tmp_path / "order", [rows[n] for n in order], "100 KiB", urls)[:2] == (drops, stays)


def test_cuts_are_whole_and_none_is_too_large():
    rng = np.random.default_rng(2)
    for _ in range(100):
        count, budget, each = (int(rng.integers(1, most)) for most in (50, 1000, 90))
        found = cuts(count, budget, each)
        assert found[0][0] == 0 and found[-1][1] == count
        assert all(one[1] == other[0] for one, other in pairwise(found))
        assert all((stop - first) * each <= budget + each or stop - first == 1 for first, stop in found)
