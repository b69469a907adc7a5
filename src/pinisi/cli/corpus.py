"""`pinisi corpus fetch`: gets the sample corpus and a tokenizer, or evaluation sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    corpus = commands.add_parser(
        "corpus", help="fetch the sample corpus: real text in fifteen languages, and a tokenizer"
    )
    corpus.add_argument("action", choices=["fetch"])
    corpus.add_argument(
        "folder", help="where to put it: FOLDER/text and FOLDER/tokenizer, or FOLDER/evaluation"
    )
    corpus.add_argument("--small", action="store_true", help="less text per language")
    corpus.add_argument(
        "--tokenizer-only",
        action="store_true",
        help="no text: for a text of your own, FOLDER/tokenizer alone",
    )
    corpus.add_argument(
        "--evaluation",
        action="store_true",
        help="instead: evaluation sets from their public addresses, with a file of tasks that asks them",
    )
    corpus.add_argument("--sets", metavar="NAME,...", help="with --evaluation: only these sets")
    corpus.add_argument("--languages", metavar="CODE,...", help="with --evaluation: only these languages")
    corpus.set_defaults(run=_corpus)


def _corpus(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.base.errors import ConfigError

    if options.evaluation:
        if options.small or options.tokenizer_only:
            raise ConfigError(
                "--evaluation fetches no text and no tokenizer: leave --small and --tokenizer-only out"
            )
        return _evaluation_sets(options)
    if options.sets or options.languages:
        raise ConfigError("--sets and --languages choose evaluation sets: give --evaluation, too")
    from pinisi.data.sample.corpus import fetch

    fetch(Path(options.folder), small=options.small, tokenizer_only=options.tokenizer_only)
    return 0


def _evaluation_sets(options: argparse.Namespace) -> int:
    """Fetches, then reads each task once, so that a set that has changed its form is seen now."""
    from pinisi.base.errors import DataError
    from pinisi.data.sample.evaluation_sets import TASKS, fetch_sets
    from pinisi.evaluate.formats import read_items_of
    from pinisi.evaluate.tasks import read_tasks

    folder = Path(options.folder) / "evaluation"
    fetch_sets(folder, sets=_names(options.sets), languages=_names(options.languages))
    faults = 0
    for task in read_tasks(folder / TASKS):
        try:
            items, skipped = read_items_of(task.format, task.file, source=task.source, target=task.language)
            print(f"{task.title}: {len(items)} items" + (f", {skipped} left out" if skipped else ""))
        except DataError as error:
            faults += 1
            print(f"{task.title} can't be read: {error}")
    print(f"pinisi evaluate MODEL --tasks {folder / TASKS}")
    return 1 if faults else 0


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
