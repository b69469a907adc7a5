"""Runs `pinisi curate`: the stages one after the other, resumed where they stopped, watched by the alarm.

    read     a task for each part of the input: mend, identify, judge; signatures of what is kept
    score    a task for each language: which bits are many here, and what is an outlier in its source
    near     a task for each language: near duplicates and documents with one URL; many for one that is too large (compared.py)
    finish   a task for each stretch of a language that fits into memory: repeated passages, frequent lines, rules again
    learn    a task for each language with good texts: a classifier of these against the language's own
    grade    a task for each of their stretches: scores, and which documents are the best

Then the stretches are put together: FOLDER/documents/<language>.jsonl.zst, FOLDER/top/<language>.jsonl.zst of graded ones,
FOLDER/dropped/all.jsonl.zst.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.base.lock import only_one
from pinisi.base.settings import load
from pinisi.curate.compared import ORDER, SCRATCH, compare_tasks
from pinisi.curate.config import CurateConfig
from pinisi.curate.counted import CountedStages, Report
from pinisi.curate.depends import WORDS, stages_of
from pinisi.curate.estimate import check_before
from pinisi.curate.made import Made, result_of
from pinisi.curate.places import check_output, check_places, publish
from pinisi.curate.quality.stages import FACTS, check
from pinisi.curate.result import Left, write_result
from pinisi.curate.stages import task_of
from pinisi.curate.stages.files import FINISH, GRADE, LEARN, NEAR, READ, SCORE
from pinisi.curate.stages.finish import buckets
from pinisi.curate.tools import Tools
from pinisi.data.reading import Part, Source, parts_of
from pinisi.recipe import Shared, TaskExecutor, begin, remove_others, stage_folders

ByLanguage = dict[str, list[Path]]  # tasks' folders


def curate(path: str | Path, overrides: Sequence[str] = (), report: Report = print) -> dict[str, Any]:
    """Curate what a TOML file describes; returns what report.json holds.

    Raises ConfigError and DataError with what to do; the same command then goes on where it stopped.
    """
    config = load(path, overrides, into=CurateConfig)
    parts = parts_of(config.sources)
    check_places(config, parts)
    tools = Tools(config)  # packs and lists that can't be read are errors before any work
    folder = Path(config.run.folder)
    work, made, names = folder / "work", Made(folder), result_of(tools.wanted, config.quality.positives)
    made.check(names)
    check_output(config, names)
    good = _good_parts(tools)
    executor = TaskExecutor(config.run.tasks, Shared(Tools, config), name="curate")
    with only_one(folder, work / "lock", "run.folder"), executor:
        folders = stage_folders(work, stages_of(tools, parts, good, work / "digests.json"))
        begin(folders, report, WORDS)
        if not folders[READ].exists():  # else it is under way
            check_before(tools, parts, report)
        start, run = time.monotonic(), CountedStages(tools, folders, executor, report)
        left = _stages(run, parts, good)
        table = write_result(run, left, made, time.monotonic() - start)
        remove_others(folders)
        publish(config, made.names, report)
    return table


def _good_parts(tools: Tools) -> dict[str, list[Part]]:
    """The files of good texts, by language."""
    found = {}
    for language, path in sorted(tools.config.quality.positives.items()):
        tools.packs[language]  # raises DataError for a language without a pack
        source = Source(path=path, language=language)
        found[language] = parts_of([source], [f"quality.positives.{language}"])
        check(tools.config, found[language], language)
    return found


def _stages(run: CountedStages, parts: Sequence[Part], good: Mapping[str, Sequence[Part]]) -> Left:
    read, languages = _read(run, parts)
    scored = _score(run, read, languages)
    compared = _compare(run, read, languages)
    finished = _finish(run, read, scored)
    learned = _learn(run, finished, good)
    graded = _grade(run, finished, learned)
    for language in sorted(good.keys() - learned.keys()):
        run.report(f"quality.positives.{language}: no documents in {language} are left to be graded")
    quality = {
        language: json.loads((folder / FACTS).read_text("utf-8")) for language, folder in learned.items()
    }
    drops = [*read, *compared, *(folder for of in finished.values() for folder in of)]
    return Left(finished | graded, drops, quality)


def _read(run: CountedStages, parts: Sequence[Part]) -> tuple[list[Path], list[str]]:
    """Returns each part's folder, and the languages of which they kept documents."""
    out = run.folders[READ]
    tasks = [task_of(READ, part, out / f"{number:05d}") for number, part in enumerate(parts)]
    counts = run.run(tasks)
    if run.config.run.on_error == "stop" and counts.errors:  # of an earlier run that skipped them
        raise DataError(f"{next(iter(counts.errors))}; run.on_error = 'skip' goes on with the rest")
    folders = [task.folder for task in tasks]
    kept = [
        language
        for language in counts.languages
        if any((folder / f"{language}.npz").exists() for folder in folders)
    ]
    return folders, sorted(kept)


def _score(run: CountedStages, read: Sequence[Path], languages: Sequence[str]) -> dict[str, Path]:
    folders = {language: run.folders[SCORE] / language for language in languages}
    run.run([task_of(SCORE, read, language, folder) for language, folder in folders.items()])
    return folders


def _compare(run: CountedStages, read: Sequence[Path], languages: Sequence[str]) -> list[Path]:
    """Find what is dropped as a duplicate; returns the folders that tell of it."""
    plans = [compare_tasks(run.config, read, language, run.folders) for language in languages]
    told: list[list[Path]] = [[] for _ in plans]
    for stage in ORDER:
        tasks = [next(plan) for plan in plans]
        run.run([task for of in tasks for task in of])
        if stage not in SCRATCH:
            for own, of in zip(told, tasks, strict=True):
                own += [task.folder for task in of]
    for stage in SCRATCH:
        shutil.rmtree(run.folders[stage], ignore_errors=True)
    return [folder for own in told for folder in own]


def _finish(run: CountedStages, read: Sequence[Path], scored: Mapping[str, Path]) -> ByLanguage:
    tasks = {}
    for language, cuts in scored.items():
        near, out = run.folders[NEAR] / language, run.folders[FINISH]
        tasks[language] = [
            task_of(FINISH, read, language, cuts, near, bucket, out / f"{language}-{number:05d}")
            for number, bucket in enumerate(buckets(run.tools, near))
        ]
    run.run([task for of in tasks.values() for task in of])
    return {language: [task.folder for task in of] for language, of in tasks.items()}


def _learn(run: CountedStages, finished: ByLanguage, good: Mapping[str, Sequence[Part]]) -> dict[str, Path]:
    folders = {language: run.folders[LEARN] / language for language in finished if language in good}
    run.run(
        [
            task_of(LEARN, good[language], finished[language], language, folder)
            for language, folder in folders.items()
        ]
    )
    return folders


def _grade(run: CountedStages, finished: ByLanguage, learned: Mapping[str, Path]) -> ByLanguage:
    out = run.folders[GRADE]
    tasks = {
        language: [
            task_of(GRADE, folder, stretch, language, out / stretch.name) for stretch in finished[language]
        ]
        for language, folder in learned.items()
    }
    run.run([task for of in tasks.values() for task in of])
    return {language: [task.folder for task in of] for language, of in tasks.items()}
