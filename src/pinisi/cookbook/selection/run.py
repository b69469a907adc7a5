"""Selects chats as a recipe: a stage's result is a folder that appears when it is whole, so a killed run goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base import digests
from pinisi.base.errors import ConfigError, DataError
from pinisi.base.files import new_folder
from pinisi.base.lock import only_one
from pinisi.base.made import check_ours, mark
from pinisi.cookbook.selection.checks import ChatChecks
from pinisi.cookbook.selection.greedy import select
from pinisi.cookbook.selection.ranks import percentiles, scores
from pinisi.cookbook.selection.records import (
    ChatCandidate,
    DroppedChat,
    beginning,
    read_all,
    read_json_lines,
    text_of,
    write_lines,
)
from pinisi.cookbook.selection.scores import AnswerPerplexity, Reward
from pinisi.cookbook.selection.settings import SelectSettings
from pinisi.cookbook.selection.vectors import ngram_vectors, sentence_model, sentence_vectors
from pinisi.data.conversations.messages import RejectedChat
from pinisi.data.conversations.records import ChatSource, chat_files
from pinisi.evaluate.model_source import open_model
from pinisi.recipe import (
    ExecutorSettings,
    RecipeStage,
    RecipeTask,
    Shared,
    StageRunner,
    TaskExecutor,
    begin,
    remove_others,
    stage_folders,
)
from pinisi.report.selection import selection_page

WHAT, FORMAT = "selected chats", 1
PART = 256  # chats of a task
CHATS, DROPPED, SCORES, PAGE, RESULT = (
    "selected.jsonl",
    "dropped.jsonl",
    "scores.jsonl",
    "select.html",
    "select.json",
)
Report = Callable[[str], None]


def select_chats(settings: SelectSettings, out: str | Path, report: Report = print) -> dict[str, Any]:
    """Writes the selected chats, why the others were dropped, all scores and a page into a folder; returns the figures.

    Raises DataError, ConfigError or ModelError, `out` unchanged.
    """
    out = Path(out)
    check_ours(out, WHAT, "--out")
    work, over = (out.with_name(f".{out.name}.{which}") for which in ("parts", "over"))
    shutil.rmtree(over, ignore_errors=True)
    stages = stage_folders(work, _stages(settings))
    with only_one(out, work / "lock", "--out"):
        for left in out.parent.glob(f".{out.name}.*.partial"):  # by a run that was killed as it wrote there
            shutil.rmtree(left)
        begin(stages, report, "the chats, a model or an option")
        remove_others(stages)
        _each(stages, work, [RecipeTask("read", read_stage, (settings, stages["read"]))], None, report)
        count = json.loads((stages["read"] / "count.json").read_text("utf-8"))["candidates"]
        parts = [range(start, min(start + PART, count)) for start in range(0, count, PART)]
        for name, function, make in _PARTED:
            if name in stages:
                shared = Shared(make, settings)
                tasks = [
                    RecipeTask(name, function, (stages["read"], part, stages[name] / f"{number:06}"))
                    for number, part in enumerate(parts)
                ]
                _each(stages, work, tasks, shared, report)
        _each(
            stages,
            work,
            [RecipeTask("choose", choose_stage, (settings, stages, stages["choose"]))],
            None,
            report,
        )
        result: dict[str, Any] = json.loads((stages["choose"] / RESULT).read_text("utf-8"))
        with new_folder(out) as partial:
            for name in (CHATS, DROPPED, SCORES, PAGE, RESULT):
                shutil.copyfile(stages["choose"] / name, partial / name)
            mark(partial, WHAT)
        # at once, so that a kill leaves no stage that is half there
        work.rename(over)
    shutil.rmtree(over)
    return result


def _stages(settings: SelectSettings) -> list[RecipeStage]:
    files = chat_files(ChatSource(path=settings.chats, language=settings.language))
    sets = [(task, digests.of_file(_file_of(task))) for task in settings.tasks]
    given = [(part.path, digests.of_file(part.path)) for part in files]
    read = [FORMAT, given, settings.language, settings.category]
    stages = [RecipeStage("read", read), RecipeStage("check", [sets, settings.check])]
    if settings.model is not None:
        stages.append(RecipeStage("perplexity", [open_model(settings.model).digest(), settings.sequence]))
    if settings.reward is not None:
        stages.append(RecipeStage("reward", [settings.reward, _digest(settings.reward), settings.sequence]))
    quotas = sorted((settings.quotas or {}).items())
    return [
        *stages,
        RecipeStage("choose", [quotas, settings.familiar, settings.likeness, *_embedder(settings.embed)]),
    ]


def _embedder(model: str | None) -> list[str]:
    """What tells one embedding model from another; loads it, so that a wrong one is said before any work."""
    if model is None:
        return [""]
    sentence_model(model)
    return [model, _digest(model)]


def _file_of(task: str) -> str:
    parts = task.split(":", 2)
    if len(parts) != 3 or not Path(parts[2]).is_file():
        raise ConfigError(
            f"--task {task}: needed FORMAT:LANGUAGE:FILE, such as xcopa:th:FILE, of a file that is there"
        )
    return parts[2]


def _digest(model: str) -> str:
    """Of a folder's files, and of its modules' in folders of their own; of a name on the hub none is known."""
    folder = Path(model)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json"))
    told = {path.relative_to(folder).as_posix(): digests.of_file(path) for path in files}
    return digests.of_value(told) if folder.is_dir() else ""


def _each(
    stages: dict[str, Path], work: Path, tasks: Sequence[RecipeTask], shared: Shared | None, report: Report
) -> None:
    with TaskExecutor(ExecutorSettings(workers=1), shared, name="select", section="--workers") as executor:
        StageRunner(executor, work / "logs", report).run(tasks)


# -- the stages ------------------------------------------------------------------------------------------------------------


def read_stage(settings: SelectSettings, folder: Path) -> None:
    """Reads all chats: candidates, and those whose form is wrong."""
    candidates: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for each in read_all(settings):
        (dropped if isinstance(each, DroppedChat) else candidates).append(each._asdict())
    if not candidates and not dropped:
        raise DataError(f"{settings.chats} holds no record: give a file with chats")
    with new_folder(folder) as partial:
        write_lines(partial / "candidates.jsonl", candidates)
        write_lines(partial / DROPPED, dropped)
        (partial / "count.json").write_text(json.dumps({"candidates": len(candidates)}))


def candidates_of(folder: Path, part: range | None = None) -> list[ChatCandidate]:
    """The candidates that `read_stage` wrote, or a part of them."""
    found = read_json_lines(folder / "candidates.jsonl")
    return [ChatCandidate(**each) for each in (found if part is None else found[part.start : part.stop])]


def check_part(checks: ChatChecks, read: Path, part: range, folder: Path) -> None:
    """Checks a part of the candidates."""
    _write_part(folder, [checks.fault(each) for each in candidates_of(read, part)])


def score_part(scorer: AnswerPerplexity | Reward, read: Path, part: range, folder: Path) -> None:
    """Scores a part of the candidates: a number, or (reason, detail)."""
    found = scorer.score([each.chat for each in candidates_of(read, part)])
    _write_part(
        folder, [(each.reason, each.detail) if isinstance(each, RejectedChat) else each for each in found]
    )


_PARTED: tuple[tuple[str, Callable[..., None], Callable[[Any], Any]], ...] = (
    ("check", check_part, ChatChecks),
    ("perplexity", score_part, AnswerPerplexity),
    ("reward", score_part, Reward),
)


def _write_part(folder: Path, values: list[Any]) -> None:
    with new_folder(folder) as partial:
        (partial / "values.json").write_text(json.dumps(values, ensure_ascii=False), "utf-8")


def _values(folder: Path) -> list[Any]:
    return [
        each
        for part in sorted(folder.iterdir())
        for each in json.loads((part / "values.json").read_text("utf-8"))
    ]


def choose_stage(settings: SelectSettings, stages: dict[str, Path], folder: Path) -> None:
    """Ranks what passed, keeps the best that are not alike, and writes all files."""
    all_of = candidates_of(stages["read"])
    names = [name for name, _, _ in _PARTED if name in stages and all_of]
    told = {name: _values(stages[name]) for name in names}
    why: dict[int, tuple[str, str]] = {}
    for values in told.values():
        for number, value in enumerate(values):
            if isinstance(value, list):
                why.setdefault(number, (value[0], value[1]))
    left = [number for number in range(len(all_of)) if number not in why]
    groups = [(all_of[number].language, all_of[number].category) for number in left]

    def ranked(name: str, turned: bool = False) -> np.ndarray | None:
        if name not in told:
            return None
        return percentiles([-told[name][n] if turned else told[name][n] for n in left], groups)

    def quota(group: Hashable) -> float:
        assert isinstance(group, tuple)
        return settings.quota(*group)

    r, p = ranked("reward"), ranked("perplexity", settings.familiar)
    score = scores(r, p, len(left))
    embedder = sentence_model(settings.embed) if settings.embed else None
    kept: list[int] = []
    for language in sorted({group[0] for group in groups}):
        own = [place for place, group in enumerate(groups) if group[0] == language]
        texts = [text_of(all_of[left[place]].chat) for place in own]
        made = sentence_vectors(texts, embedder) if embedder else ngram_vectors(texts)
        chosen = select(score[own], made, [groups[n] for n in own], quota, settings.likeness)
        for place, refused in chosen.items():
            number = left[own[place]]
            if refused is None:
                kept.append(number)
            elif refused.like is None:
                why[number] = (
                    "no place left",
                    f"{settings.quota(*groups[own[place]]):.0f} of its group are kept",
                )
            else:
                other = all_of[left[own[refused.like]]].where
                why[number] = ("like one that is kept", f"cosine {refused.cosine:.3f} to {other}")
    figures = {
        left[n]: {"r": _number(r, n), "p": _number(p, n), "score": float(score[n])} for n in range(len(left))
    }
    _write(settings, stages, folder, all_of, why, sorted(kept), told, figures)


def _number(values: np.ndarray | None, place: int) -> float | None:
    return None if values is None else float(values[place])


def _write(
    settings: SelectSettings,
    stages: dict[str, Path],
    folder: Path,
    all_of: list[ChatCandidate],
    why: dict[int, tuple[str, str]],
    kept: list[int],
    told: dict[str, list[Any]],
    figures: dict[int, dict[str, Any]],
) -> None:
    dropped = read_json_lines(stages["read"] / DROPPED)
    dropped += [
        DroppedChat(*all_of[n][:4], reason, detail, beginning(all_of[n].value))._asdict()
        for n, (reason, detail) in sorted(why.items())
    ]
    chosen = set(kept)
    rows = list(_score_rows(all_of, told, figures, chosen))
    result = _figures(settings, dropped, rows)
    with new_folder(folder) as partial:
        write_lines(partial / CHATS, [_with_language(all_of[number]) for number in kept])
        write_lines(partial / DROPPED, dropped)
        write_lines(partial / SCORES, rows)
        (partial / RESULT).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (partial / PAGE).write_text(selection_page(result, dropped), "utf-8")


def _with_language(candidate: ChatCandidate) -> dict[str, Any]:
    """The record as it was, with its language where that stood in a file's name alone."""
    if not candidate.language or candidate.value.get("language") or candidate.value.get("lang"):
        return candidate.value
    return {**candidate.value, "language": candidate.language}


def _score_rows(
    all_of: list[ChatCandidate],
    told: dict[str, list[Any]],
    figures: dict[int, dict[str, Any]],
    chosen: set[int],
) -> Iterator[dict[str, Any]]:
    for number, each in enumerate(all_of):
        raw = {
            name: told[name][number] if name in told and isinstance(told[name][number], float) else None
            for name in ("perplexity", "reward")
        }
        ranks = figures.get(number, {"r": None, "p": None, "score": None})
        place = {"file": each.file, "line": each.line, "language": each.language, "category": each.category}
        yield {**place, **raw, **ranks, "kept": number in chosen}


def _figures(
    settings: SelectSettings, dropped: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Counts by group and reason, and medians of what is kept and of all."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}

    def group(of: dict[str, Any]) -> dict[str, Any]:
        key = (of["language"], of["category"])
        return groups.setdefault(
            key, {"language": key[0], "category": key[1], "kept": 0, "dropped": {}, "values": []}
        )

    for each in dropped:
        reasons = group(each)["dropped"]
        reasons[each["reason"]] = reasons.get(each["reason"], 0) + 1
    for row in rows:
        group(row)["kept"] += row["kept"]
        group(row)["values"].append(row)
    found = []
    for key in sorted(groups):
        each = groups[key]
        values = each.pop("values")
        quota = settings.quota(*key)
        each["quota"] = None if quota == float("inf") else quota
        each["read"] = each["kept"] + sum(each["dropped"].values())
        for name in ("perplexity", "reward"):
            each[name] = {"all": _median(values, name, False), "kept": _median(values, name, True)}
        found.append(each)
    options = {
        **{
            name: getattr(settings, name)
            for name in ("chats", "model", "reward", "familiar", "check", "sequence")
        },
        "similar": settings.likeness,
        "vectors": settings.embed or "character n-grams",
        "tasks": list(settings.tasks),
    }
    read, kept = (sum(each[name] for each in found) for name in ("read", "kept"))
    return {"options": options, "read": read, "kept": kept, "groups": found}


def _median(rows: list[dict[str, Any]], name: str, kept: bool) -> float | None:
    values = [row[name] for row in rows if row[name] is not None and (row["kept"] or not kept)]
    return float(np.median(values)) if values else None
