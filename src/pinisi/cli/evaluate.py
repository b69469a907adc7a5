"""`pinisi evaluate`: measures what a model can do in each language, and how sure that is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pinisi.cli.served import add_served, served_of


def add(commands: Any) -> None:
    """Adds the command."""
    evaluate = commands.add_parser(
        "evaluate", help="measure a model: loss by language, choices, answers, translations, with intervals"
    )
    evaluate.add_argument("model", metavar="MODEL", help="a Hugging Face folder, a run or a checkpoint")
    evaluate.add_argument(
        "--task", action="append", default=[], metavar="FORMAT:LANGUAGE:FILE", help="such as xcopa:th:FILE"
    )
    evaluate.add_argument("--tasks", metavar="TOML", help="a file of [[tasks]]")
    evaluate.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="<language>.jsonl files: their loss",
    )
    evaluate.add_argument(
        "--shards",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="token shards of `pinisi tokenize`, made with the model's tokenizer: their loss",
    )
    evaluate.add_argument(
        "--held-out",
        action="store_true",
        help="of a run: the loss on its own held-out shards (data.evaluation)",
    )
    evaluate.add_argument("--documents", type=int, help="only so many documents of each language's loss")
    evaluate.add_argument(
        "--probe",
        action="append",
        default=[],
        metavar="LANGUAGE,...",
        help="rows of words to copy, and patterns of them to go on with, made without data",
    )
    evaluate.add_argument(
        "--contamination",
        metavar="INDEX",
        help="of a corpus, by `contamination`: scores without what it holds, too",
    )
    _add_harness(evaluate)
    _add_how(evaluate)
    evaluate.add_argument("--seed", type=int, default=0, help="of the intervals")
    evaluate.add_argument(
        "--out", metavar="FILE", help="the result as JSON, with what is needed to repeat it"
    )
    evaluate.add_argument("--items", metavar="FILE", help="what was found of each item, as JSON lines")
    evaluate.add_argument("--as-rank", metavar="FOLDER", help=argparse.SUPPRESS)
    evaluate.set_defaults(run=_evaluate)


def _add_harness(evaluate: argparse.ArgumentParser) -> None:
    """Adds options that name others' tasks."""
    evaluate.add_argument(
        "--harness",
        action="append",
        default=[],
        metavar="TASK",
        help="a task of lm-evaluation-harness, by its name (the extra `harness`)",
    )
    evaluate.add_argument(
        "--sea-helm",
        action="append",
        default=[],
        metavar="CONFIG[:TASK[:LANGUAGE]]",
        help="tasks of a config.yaml of SEA-HELM on local files, through the harness",
    )
    evaluate.add_argument("--harness-path", metavar="FOLDER", help="of further tasks' YAML for --harness")


def _add_how(evaluate: argparse.ArgumentParser) -> None:
    """Adds options that say how it is asked and how the model runs."""
    asking = evaluate.add_argument_group("how tasks given with --task are asked")
    asking.add_argument("--examples", metavar="FILE", help="of the same form, for --shots")
    asking.add_argument("--shots", type=int, default=0, help="how many examples stand before each item")
    asking.add_argument(
        "--style", help="letters, cloze, premise or whole-premise; the form's usual one if left out"
    )
    asking.add_argument("--chat", action="store_true", help="through the model's chat template")
    asking.add_argument("--new-tokens", type=int, default=64, help="that an answer may have")
    asking.add_argument("--limit", type=int, help="only so many items of each task")
    running = evaluate.add_argument_group("how the model runs")
    running.add_argument("--step", type=int, help="of a run: which checkpoint; the newest if left out")
    running.add_argument("--tokenizer", help="a folder with a tokenizer; the model's own if left out")
    running.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16", "float64"], help="the model's own"
    )
    running.add_argument("--longest", type=int, help="tokens that the model reads at once; its own limit")
    running.add_argument("--ranks", type=int, default=1, help="processes that the model is split over")
    running.add_argument("--threads", type=int, help="of each rank")
    running.add_argument("--row-tokens", type=int, default=1024, help="tokens that are computed together")
    running.add_argument(
        "--batch-size", type=int, default=8, help="rows in the pipeline, or prompts answered, at once"
    )
    add_served(evaluate, "of a server of the same model, which writes the answers of tasks that need some")


def _evaluate(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.base.errors import ConfigError
    from pinisi.base.files import write_whole
    from pinisi.evaluate.comparison import result_text
    from pinisi.evaluate.likelihood import check_ranks, score_here, score_on_ranks, work_as_rank
    from pinisi.evaluate.model_source import open_model
    from pinisi.evaluate.run import Evaluator
    from pinisi.evaluate.table import tables

    model = open_model(options.model, step=options.step, dtype=options.dtype, tokenizer=options.tokenizer)
    how = {"row": options.row_tokens, "at_once": options.batch_size}
    if options.as_rank:
        return work_as_rank(model, Path(options.as_rank), **how)
    check_ranks(model, options.ranks)
    if options.threads is not None and options.threads < 1:
        raise ConfigError(f"--threads {options.threads}: needed at least 1")
    evaluator = Evaluator(model, _settings(options), _looks(options))

    def score(items: Any) -> Any:
        if options.ranks == 1:
            return score_here(model, items, **how)
        return score_on_ranks(_again(options, str(model.path)), items, options.ranks, options.threads)

    generator = _generator(options, model) if evaluator.generates else None
    found = evaluator.evaluate(score, generator)
    if found.result["tasks"] or found.result["losses"]:
        print(tables(found.result))
        ranks = "1 rank" if options.ranks == 1 else f"{options.ranks} ranks"
        print(f"{found.tokens} tokens in {found.seconds:.1f} s on {ranks}, {model.kind} {model.path}")
    for task in found.result["tasks"]:
        for name, signature in task.get("signatures", {}).items():
            print(f"{task['name']} {name}: {signature}")
    if options.harness or options.sea_helm:
        _ask_harness(options, model, found)
    if options.out:
        write_whole(options.out, result_text(found.result))
    if options.items:
        lines = [
            json.dumps({"task": task, **record}, ensure_ascii=False, default=str)
            for task, records in found.records.items()
            for record in records
        ]
        write_whole(options.items, "".join(line + "\n" for line in lines))
    return 0


def _generator(options: argparse.Namespace, model: Any) -> Any:
    """Who writes answers: a server, the ranks, or transformers on one device."""
    if options.at:
        from pinisi.evaluate.served.generator import ServedGenerator

        return ServedGenerator(served_of(options, options.at))
    if options.ranks > 1:
        from pinisi.evaluate.model_ranks import ModelRanks, RanksGenerator

        how = {"row": options.row_tokens, "at_once": options.batch_size}
        return RanksGenerator(
            ModelRanks(model, ranks=options.ranks, threads=options.threads, **how), options.longest
        )
    from pinisi.evaluate.generation import TransformersGenerator

    return TransformersGenerator(model, batch_size=options.batch_size, longest=options.longest)


def _ask_harness(options: argparse.Namespace, model: Any, found: Any) -> None:
    """Adds what lm-evaluation-harness's tasks give."""
    from pinisi.evaluate.harness_run import HarnessTasks, run_tasks
    from pinisi.evaluate.sea_helm import sea_helm_tasks

    local = [task for given in options.sea_helm for task in sea_helm_tasks(given, options.shots)]
    tasks = HarnessTasks(
        [*options.harness, *local],
        options.harness_path,
        options.shots if options.harness and options.shots else None,
        options.limit,
        options.chat,
    )
    how = {
        name: getattr(options, name) for name in ("ranks", "threads", "row_tokens", "batch_size", "longest")
    }
    harness = run_tasks(model, tasks, **how)
    found.result["harness"] = harness.result
    found.records |= harness.samples
    print(harness.table)


def _looks(options: argparse.Namespace) -> Any:
    """What knows languages and corpora: from other rooms than the evaluation's."""
    from pinisi.curate.packs.answer import LineJudge
    from pinisi.evaluate.corpus_index import CorpusIndex
    from pinisi.evaluate.run import EvaluationLooks

    index = CorpusIndex(options.contamination) if options.contamination else None
    judge = LineJudge()
    return EvaluationLooks(judge, judge.words, index)


def _settings(options: argparse.Namespace) -> Any:
    from pinisi.base.errors import ConfigError
    from pinisi.evaluate.model_source import held_out_shards
    from pinisi.evaluate.run import EvaluationSettings
    from pinisi.evaluate.tasks import parse_task, read_tasks

    asked = {
        key: getattr(options, key) for key in ("examples", "shots", "style", "chat", "limit", "new_tokens")
    }
    tasks = read_tasks(options.tasks) if options.tasks else []
    tasks += [parse_task(text, **asked) for text in options.task]
    probed = [language for text in options.probe for language in text.split(",")]
    tasks += [
        parse_task(f"{form}:{language}", limit=options.limit)
        for language in probed
        for form in ("copy", "pattern")
    ]
    texts, shards = _named(options.text), _named(options.shards)
    if options.held_out:
        shards["held-out"] = held_out_shards(options.model)
    if options.documents is not None and options.documents < 1:
        raise ConfigError(f"--documents {options.documents}: needed at least 1")
    if not (tasks or texts or shards or options.harness or options.sea_helm):
        raise ConfigError(
            "nothing is asked of the model: give --task, --tasks, --probe, --text, --shards or --held-out"
        )
    if twice := set(texts) & set(shards):
        raise ConfigError(
            f"text and shards are both called {min(twice)}: give one another name, as NAME=FOLDER"
        )
    return EvaluationSettings(tasks, texts, shards, options.documents, options.longest, options.seed)


def _named(given: list[str]) -> dict[str, str]:
    """{name: folder} of [NAME=]FOLDER; the folder's name where none is given."""
    from pinisi.base.errors import ConfigError

    found: dict[str, str] = {}
    for text in given:
        name, folder = (Path(text).name, text) if "=" not in text else text.split("=", 1)
        if name in found:
            raise ConfigError(f"two folders are called {name}: give one a name of its own, as NAME=FOLDER")
        found[name] = folder
    return found


def _again(options: argparse.Namespace, path: str) -> list[str]:
    """The arguments by which a rank opens the same model: by its checkpoint's own path, should a newer one appear."""
    given = [path, "--row-tokens", str(options.row_tokens), "--batch-size", str(options.batch_size)]
    for name in ("dtype", "tokenizer"):
        if (value := getattr(options, name)) is not None:
            given += [f"--{name}", value]
    return given
