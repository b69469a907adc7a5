"""`pinisi contamination`: finds the evaluation texts that a corpus holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    contamination = commands.add_parser(
        "contamination", help="find evaluation texts that a corpus or token shards hold"
    )
    contamination.add_argument("index", metavar="INDEX", help="the folder of the corpus' index, made once")
    contamination.add_argument(
        "--corpus",
        action="append",
        default=[],
        metavar="TEXT",
        help="makes the index: a folder of text or token shards, a file or a pattern; again for more",
    )
    contamination.add_argument("--workers", type=int, default=1, help="processes that make the index")
    contamination.add_argument(
        "--task", action="append", default=[], metavar="FORMAT:LANGUAGE:FILE", help="such as xcopa:th:FILE"
    )
    contamination.add_argument("--tasks", metavar="TOML", help="a file of [[tasks]], as for evaluate")
    contamination.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="<language>.jsonl files, by document",
    )
    contamination.add_argument("--json", metavar="FILE", help="the same for programs; - is standard output")
    contamination.set_defaults(run=_contamination)


def _contamination(options: argparse.Namespace, _: list[str]) -> int:
    import json

    from pinisi.base.errors import ConfigError
    from pinisi.base.results import write_result
    from pinisi.evaluate.contamination import ContaminationReport, contamination_of, item_texts
    from pinisi.evaluate.corpus_index import CorpusIndex, build_index
    from pinisi.evaluate.table import contamination_table
    from pinisi.evaluate.tasks import AskedTask, parse_task, read_tasks

    if options.workers < 1:
        raise ConfigError(f"--workers {options.workers}: needed at least 1")
    tasks = read_tasks(options.tasks) if options.tasks else []
    asked = [AskedTask(task) for task in (*tasks, *map(parse_task, options.task))]
    if not (asked or options.text or options.corpus):
        raise ConfigError(
            "nothing is asked: give --corpus to make the index, --task, --tasks or --text to look up"
        )
    index = (
        build_index(options.corpus, options.index, workers=options.workers)
        if options.corpus
        else CorpusIndex(options.index)
    )
    found: dict[str, ContaminationReport] = {
        each.task.title: contamination_of(index, ((item.id, item_texts(item)) for item in each.items))
        for each in asked
    }
    for name, language, documents in _texts(options.text):
        found[f"{name}/{language}"] = contamination_of(index, documents)
    sets = {name: report.to_json() for name, report in found.items()}
    result = {"index": index.digest, "sets": sets}
    if found:
        print(contamination_table(sets))
    if options.json:
        write_result(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


def _texts(given: list[str]) -> Any:
    """(component, language, (id, texts) of each document) of folders."""
    from pinisi.data import corpus_files, read_documents

    for text in given:
        name, _, folder = text.partition("=")
        for language, file in corpus_files(folder or name).items():
            documents = ((document.id, {"text": [document.text]}) for document in read_documents(file))
            yield (name if folder else Path(name).name), language, documents
