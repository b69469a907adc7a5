"""`pinisi select`: selects chats to fine-tune on."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    select = commands.add_parser(
        "select", help="select chats to fine-tune on: clean, good, unlike one another"
    )
    select.add_argument(
        "chats", metavar="CHATS", help="a file, folder or pattern of chats (.jsonl, .json, .parquet)"
    )
    select.add_argument(
        "--out", required=True, metavar="FOLDER", help="selected.jsonl, dropped.jsonl, scores and a page"
    )
    select.add_argument("--model", metavar="MODEL", help="a model whose perplexity of the answers counts")
    select.add_argument(
        "--reward",
        metavar="MODEL",
        help="a sequence-classification model with one label, a folder or a name on the hub",
    )
    select.add_argument(
        "--familiar",
        action="store_true",
        help="answers of little perplexity first, not those that surprise the model",
    )
    select.add_argument(
        "--quota",
        action="append",
        default=[],
        metavar="[LANGUAGE[/CATEGORY]=]N",
        help="chats that are kept of each such group at most; again for more",
    )
    _add_rest(select)
    select.set_defaults(run=_select)


def _add_rest(select: argparse.ArgumentParser) -> None:
    select.add_argument(
        "--category",
        default="category",
        metavar="COLUMN",
        help="the column of a record's category (category)",
    )
    select.add_argument(
        "--language",
        default="",
        metavar="CODE",
        help="of records whose language neither they nor their file's name say",
    )
    select.add_argument(
        "--similar",
        type=float,
        metavar="COSINE",
        help="above which two chats are alike (.4; .6 with --embed)",
    )
    select.add_argument(
        "--embed", metavar="MODEL", help="a sentence-embedding model for that; character n-grams if left out"
    )
    select.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="FORMAT:LANGUAGE:FILE",
        help="an evaluation set that no chat may hold, such as xcopa:th:FILE",
    )
    select.add_argument(
        "--check",
        choices=("answer", "lines", "none"),
        default="answer",
        help="what must be in the chat's language: each answer as a whole, each line of it, nothing (answer)",
    )
    select.add_argument(
        "--sequence", type=int, default=2048, metavar="N", help="tokens that a chat may have (2048)"
    )
    select.add_argument("--json", metavar="FILE", help="the figures, for programs; - is standard output")


def _select(options: argparse.Namespace, _: list[str]) -> int:
    import json

    from pinisi.base.results import write_result
    from pinisi.cookbook.selection.run import select_chats
    from pinisi.cookbook.selection.settings import SelectSettings, quotas_of

    names = (
        "chats",
        "language",
        "category",
        "model",
        "reward",
        "familiar",
        "similar",
        "embed",
        "check",
        "sequence",
    )
    settings = SelectSettings(
        **{name: getattr(options, name) for name in names},
        quotas=quotas_of(options.quota),
        tasks=tuple(options.task),
    )
    result = select_chats(settings, options.out)
    for group in result["groups"]:
        called = "/".join(part for part in (group["language"], group["category"]) if part) or "all"
        dropped = ", ".join(f"{reason} {count:,}" for reason, count in sorted(group["dropped"].items()))
        print(f"{called}: {group['kept']:,} of {group['read']:,} kept" + (f"; {dropped}" if dropped else ""))
    if options.json:
        write_result(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(
        f"{result['kept']:,} of {result['read']:,} chats: {options.out}/selected.jsonl; page: {options.out}/select.html"
    )
    return 0
