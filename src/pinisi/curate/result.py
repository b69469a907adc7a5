"""Joins the results of all stages: documents, the best of them, drops, and the report of a curation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.durations import duration
from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.curate import records
from pinisi.curate.counted import CountedStages
from pinisi.curate.counts import BEST
from pinisi.curate.flagged import LIST
from pinisi.curate.made import Made, result_of
from pinisi.curate.stages.files import DROPS, ERRORS
from pinisi.curate.told import told
from pinisi.report.curation import write_curation_report


class Left(NamedTuple):
    """Holds the folders that the stages left, and what was learned of quality."""

    written: Mapping[str, Sequence[Path]]  # by language: those with documents, and with the best of them
    drops: Sequence[Path]
    quality: Mapping[str, Any]  # by language with good texts


def write_result(run: CountedStages, left: Left, made: Made, seconds: float) -> dict[str, Any]:
    """Writes the result into run.folder and removes what an earlier run made there; returns what report.json holds.

    seconds: how long it took, to be told. Raises DataError where something can't be written.
    """
    out, table = Path(run.config.run.folder), _table(run, left.quality)
    names = result_of(left.written, left.quality)
    try:
        made.begin(names)
        _join(left, out)
        write_whole(out / "report.json", json.dumps(table, ensure_ascii=False, indent=1))
        page = write_curation_report(table, out / "report.html", title=out.name)
        made.remove_others(names)
    except OSError as error:
        raise DataError(
            f"cannot write {out}: {error.strerror or error}; free some space and run again"
        ) from error
    kept = sum(of["kept"] for of in table["languages"].values())
    languages = len(left.written)
    run.report(f"{kept:,} documents in {languages} languages, {duration(seconds)}: {out / 'documents'}")
    if left.quality:
        best = sum(of["graded"].get(BEST, 0) for of in table["languages"].values())
        run.report(f"{best:,} of them are the best by quality: {out / 'top'}")
    run.report(f"report: {page}")
    return table


def _table(run: CountedStages, quality: Mapping[str, Any]) -> dict[str, Any]:
    table = {**run.counts.table(), "quality": quality}
    for what, times in table.pop("skipped").items():
        table["errors"][what] = table["errors"].get(what, 0) + times
    table["rules"] = told(run.tools, table["languages"])
    flagged = {language: len(phrases) for language, phrases in run.tools.all_flagged().items()}
    if flagged:
        lists = [LIST] if run.config.rules.flagged_list else []
        table["flagged"] = {"lists": lists, "words": flagged}
    return table


def _join(left: Left, out: Path) -> None:
    (out / "documents").mkdir(exist_ok=True)
    for name, languages in (("documents", left.written), ("top", left.quality)):
        for language in languages:
            paths = (folder / f"{name}.jsonl.zst" for folder in left.written[language])
            records.joined(paths, out / name / f"{language}.jsonl.zst")
    for name, file in ((DROPS, "all"), (ERRORS, "unreadable")):
        paths = (folder / f"{name}.jsonl.zst" for folder in left.drops)
        records.joined(paths, out / "dropped" / f"{file}.jsonl.zst")
