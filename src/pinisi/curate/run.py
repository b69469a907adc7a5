"""`pinisi curate`: the stages one after the other, resumed where they stopped, watched by the alarm.

    read     a task for each part of the input: mend, identify, judge; signatures of what is kept
    score    a task for each language: which bits are many here, and what is an outlier in its source
    near     a task for each language: near duplicates and documents with one URL; many for one that is too large (compared.py)
    finish   a task for each stretch of a language that fits into memory: repeated passages, frequent lines, rules again
    learn    a task for each language with good texts: a classifier of these against the language's own
    grade    a task for each of their stretches: scores, and which documents are the best

Then the stretches are put together: FOLDER/documents/<language>.jsonl.zst, FOLDER/top/<language>.jsonl.zst of graded ones,
FOLDER/dropped/all.jsonl.zst.
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.base.lock import only_one
from pinisi.base.settings import load
from pinisi.curate import records
from pinisi.curate.alarm import check_alarm
from pinisi.curate.compared import ORDER, SCRATCH, compare_tasks
from pinisi.curate.config import CurateConfig
from pinisi.curate.counts import BEST, Counts
from pinisi.curate.estimate import check_before
from pinisi.curate.executors import Executor
from pinisi.curate.flagged import LIST
from pinisi.curate.made import Made, result_of
from pinisi.curate.packs.content import content
from pinisi.curate.places import check_output, check_places, publish
from pinisi.curate.quality.stages import FACTS, check
from pinisi.curate.stages import Task
from pinisi.curate.stages.files import DROPS, ERRORS, FINISH, GRADE, LEARN, NEAR, READ, SCORE, STATS, TELL
from pinisi.curate.stages.finish import buckets
from pinisi.curate.told import told
from pinisi.curate.tools import Tools
from pinisi.data.reading import Part, Source, fingerprint, parts_of
from pinisi.report.curation import write_curation_report
from pinisi.report.numbers import duration

FORMAT = 5  # raise it when the same configuration gives other documents
EVERY = 5.0  # seconds between two lines of progress
Report = Callable[[str], None]


def curate(path: str | Path, overrides: Sequence[str] = (), report: Report = print) -> dict[str, Any]:
    """Curate what a TOML file describes; returns what report.json holds.

    Raises ConfigError and DataError with what to do; the same command then goes on where it stopped.
    """
    config = load(path, overrides, into=CurateConfig)
    parts = parts_of(config.sources)
    check_places(config, parts)
    tools = Tools(config)  # packs and lists that can't be read are errors before any work
    made, names = Made(Path(config.run.folder)), result_of(tools.wanted, config.quality.positives)
    made.check(names)
    check_output(config, names)
    good = _good_parts(tools)
    folder = Path(config.run.folder)
    with only_one(folder, folder / "work" / "lock", "run.folder"), Executor(config) as executor:
        stages = _folders(tools, parts, good)
        _begin(stages, report)
        if not stages[READ].exists():  # else it is under way
            check_before(tools, parts, report)
        table = _stages(_Run(tools, stages, executor, report, made), tools, parts, good)
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


def _stages(
    run: "_Run", tools: Tools, parts: Sequence[Part], good: Mapping[str, Sequence[Part]]
) -> dict[str, Any]:
    at, start = run.folders, time.monotonic()
    read = [Task(READ, (part, at[READ] / f"{number:05d}")) for number, part in enumerate(parts)]
    counts = run.stage(read)
    if run.config.run.on_error == "stop" and counts.errors:  # of an earlier run that skipped them
        raise DataError(f"{next(iter(counts.errors))}; run.on_error = 'skip' goes on with the rest")
    folders = [task.folder for task in read]
    languages = sorted(language for language in counts.languages if _has(folders, language))
    score = {language: Task(SCORE, (folders, language, at[SCORE] / language)) for language in languages}
    run.stage(list(score.values()))
    near = {language: at[NEAR] / language for language in languages}
    compared = _compare(run, folders, languages)
    finish = {
        language: [
            Task(
                FINISH,
                (
                    folders,
                    language,
                    score[language].folder,
                    near[language],
                    bucket,
                    at[FINISH] / f"{language}-{number:05d}",
                ),
            )
            for number, bucket in enumerate(buckets(tools, near[language]))
        ]
        for language in languages
    }
    run.stage([task for tasks in finish.values() for task in tasks])
    stretches = {language: [task.folder for task in tasks] for language, tasks in finish.items()}
    learn = {
        language: Task(LEARN, (good[language], stretches[language], language, at[LEARN] / language))
        for language in languages
        if language in good
    }
    run.stage(list(learn.values()))
    grade = {
        language: [
            Task(GRADE, (task.folder, stretch, language, at[GRADE] / stretch.name))
            for stretch in stretches[language]
        ]
        for language, task in learn.items()
    }
    run.stage([task for tasks in grade.values() for task in tasks])
    for language in sorted(good.keys() - learn.keys()):
        run.report(f"quality.positives.{language}: no documents in {language} are left to be graded")
    written = stretches | {language: [task.folder for task in tasks] for language, tasks in grade.items()}
    quality = {
        language: json.loads((task.folder / FACTS).read_text("utf-8")) for language, task in learn.items()
    }
    drops = [*folders, *compared, *(each for of in stretches.values() for each in of)]
    return _gather(run, written, drops, quality, time.monotonic() - start)


def _compare(run: "_Run", folders: Sequence[Path], languages: Sequence[str]) -> list[Path]:
    """Find what is dropped as a duplicate; returns the folders that tell of it."""
    plans = [compare_tasks(run.config, folders, language, run.folders) for language in languages]
    told: list[list[Path]] = [[] for _ in plans]
    for stage in ORDER:
        tasks = [next(plan) for plan in plans]
        run.stage([task for of in tasks for task in of])
        if stage not in SCRATCH:
            for own, of in zip(told, tasks, strict=True):
                own += [task.folder for task in of]
    for stage in SCRATCH:
        shutil.rmtree(run.folders[stage], ignore_errors=True)
    return [folder for own in told for folder in own]


def _has(folders: Sequence[Path], language: str) -> bool:
    return any((folder / f"{language}.npz").exists() for folder in folders)


def _folders(tools: Tools, parts: list[Part], good: Mapping[str, list[Part]]) -> dict[str, Path]:
    """Each stage's folder. Its name changes with all that the stage's result depends on, so what is there can be used, and a
    change of a late stage leaves the early ones done."""
    config, work = tools.config, Path(tools.config.run.folder) / "work"
    packs, known = [content(pack) for pack in tools.packs], work / "digests.json"
    flagged = sorted(tools.all_flagged().items())
    shared = [FORMAT, fingerprint(parts, known), packs, flagged, config.languages, config.run.seed]
    depends = {
        READ: [
            *shared,
            config.sources,
            config.repair,
            config.personal,
            replace(config.rules, outliers=0.0),
            config.near.on,
            config.near.permutations,
        ],
        SCORE: [config.rules.outliers],
        NEAR: [config.near.similarity, config.urls],
        FINISH: [config.exact, config.lines, config.run.budget],
        LEARN: [config.quality, [(language, fingerprint(files, known)) for language, files in good.items()]],
        GRADE: [],
    }
    folders: dict[str, Path] = {}
    before = ""
    for stage, values in depends.items():
        before = hashlib.sha256((before + repr(values)).encode()).hexdigest()
        folders[stage] = work / f"{stage}-{before[:12]}"
        if stage == NEAR:
            folders |= {other: work / f"{other}-{before[:12]}" for other in (*SCRATCH, TELL)}
    return folders


def _begin(folders: dict[str, Path], report: Report) -> None:
    """Remove what a killed run had begun to write, and say what can't be used again."""
    for folder in folders.values():
        for begun in folder.glob(".*.partial"):
            shutil.rmtree(begun)
    for stage, folder in folders.items():
        if not folder.exists() and any(folder.parent.glob(f"{stage}-*")):
            report(
                f"{stage} and what follows is done anew: the configuration, the packs or the input changed"
            )
            return


def _remove_others(folders: Mapping[str, Path]) -> None:
    """Delete the stages' folders that an earlier configuration left: those with a name such as `_folders` gives."""
    for stage, folder in folders.items():
        for path in folder.parent.glob(f"{stage}-*"):
            if path != folder and path.is_dir() and re.fullmatch(f"{stage}-[0-9a-f]{{12}}", path.name):
                shutil.rmtree(path)


class _Run:
    """Stages, their progress, and the counts so far."""

    def __init__(
        self, tools: Tools, folders: dict[str, Path], executor: Executor, report: Report, made: Made
    ) -> None:
        self.config, self.folders, self.executor, self.report = tools.config, folders, executor, report
        self.made = made
        self.tools, self.wanted = tools, tools.wanted
        self.flagged = {language: len(phrases) for language, phrases in tools.all_flagged().items()}
        self.work = folders[READ].parent
        self.counts = Counts(self.config.run.seed)
        self.seconds: dict[str, float] = {}

    def stage(self, tasks: Sequence[Task]) -> Counts:
        """Do the tasks; returns what all stages together have counted. Raises DataError for an alarm."""
        if not tasks:
            return self.counts
        name, start, shown = tasks[0].stage, time.monotonic(), time.monotonic()
        resumed = sum(task.folder.exists() for task in tasks)
        finished: list[Task] = []

        def done(task: Task) -> None:
            nonlocal shown
            finished.append(task)
            now = time.monotonic()
            new = len(finished) - resumed
            if new > 0 and now - shown > EVERY and len(finished) < len(tasks):
                shown = now
                left = (now - start) / new * (len(tasks) - len(finished))
                self.report(f"{name}: {len(finished)} of {len(tasks)} tasks, ETA {duration(left)}")

        self.executor.run(tasks, self.work / "logs" / name, done)
        self.seconds[name] = time.monotonic() - start
        for task in tasks:  # in the order of the tasks, not in that in which they ended
            self.counts.add(json.loads((task.folder / STATS).read_text("utf-8")))
        again = f", {resumed} done before" if resumed else ""
        self.report(
            f"{name}: {len(tasks)} tasks in {duration(self.seconds[name])}{again}; {self._kept(name)}"
        )
        check_alarm(
            self.config.alarm, self.counts.languages, self.wanted, f"{self.work}/*/*/{DROPS}.jsonl.zst"
        )
        return self.counts

    def _kept(self, stage: str) -> str:
        total = sum(of["documents"] for of in self.counts.languages.values())
        gone = sum(sum(of["drops"].values()) for of in self.counts.languages.values())
        return f"{total - gone:,} of {total:,} documents so far"


def _gather(
    run: _Run,
    written: Mapping[str, Sequence[Path]],
    drops: Sequence[Path],
    quality: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Put together what the stages left in the folders `written`, by language, and in the folders of `drops`."""
    out, table = Path(run.config.run.folder), {**run.counts.table(), "quality": quality}
    for what, times in table.pop("skipped").items():
        table["errors"][what] = table["errors"].get(what, 0) + times
    table["rules"] = told(run.tools, table["languages"])
    if run.flagged:
        lists = [LIST] if run.config.rules.flagged_list else []
        table["flagged"] = {"lists": lists, "words": run.flagged}
    names = result_of(written, quality)
    try:
        run.made.begin(names)
        (out / "documents").mkdir(exist_ok=True)
        for name, languages in (("documents", written), ("top", quality)):
            for language in languages:
                paths = (folder / f"{name}.jsonl.zst" for folder in written[language])
                records.joined(paths, out / name / f"{language}.jsonl.zst")
        for name, file in ((DROPS, "all"), (ERRORS, "unreadable")):
            paths = (folder / f"{name}.jsonl.zst" for folder in drops)
            records.joined(paths, out / "dropped" / f"{file}.jsonl.zst")
        write_whole(out / "report.json", json.dumps(table, ensure_ascii=False, indent=1))
        page = write_curation_report(table, out / "report.html", title=out.name)
        run.made.remove_others(names)
    except OSError as error:
        raise DataError(
            f"cannot write {out}: {error.strerror or error}; free some space and run again"
        ) from error
    _remove_others(run.folders)
    kept = sum(of["kept"] for of in table["languages"].values())
    run.report(f"{kept:,} documents in {len(written)} languages, {duration(seconds)}: {out / 'documents'}")
    if quality:
        best = sum(of["graded"].get(BEST, 0) for of in table["languages"].values())
        run.report(f"{best:,} of them are the best by quality: {out / 'top'}")
    run.report(f"report: {page}")
    return table
