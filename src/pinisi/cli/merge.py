"""`pinisi merge`: adds up models of one architecture: an average, task arithmetic, a chat vector."""

from __future__ import annotations

import argparse
from typing import Any

from pinisi.cli.described import Commands


def add(commands: Any) -> None:
    """Adds the command."""
    merge = commands.add_parser("merge", help="add up models of one architecture into one")
    kinds = Commands(merge.add_subparsers(dest="kind", required=True, metavar="average|tasks|chat"))
    average = kinds.add_parser("average", help="the mean of models, by weights")
    average.add_argument(
        "models", nargs="+", metavar="MODEL", help="a folder, or a name on the hub; two or more"
    )
    tasks = kinds.add_parser("tasks", help="a model and what others learned that were trained from it")
    tasks.add_argument("base", metavar="BASE", help="the model that all were trained from")
    tasks.add_argument("models", nargs="+", metavar="TUNED", help="a model that was trained from it")
    for each in (average, tasks):
        each.add_argument(
            "--weight",
            type=float,
            action="append",
            default=[],
            metavar="W",
            help="of each model, in their order; 1 if none is given",
        )
    chat = kinds.add_parser(
        "chat", help="a model and what made a chat model of the one that it was trained from"
    )
    chat.add_argument("model", metavar="MODEL", help="the model that is to answer, in your language, say")
    chat.add_argument("--base", required=True, metavar="BASE", help="the model that both were trained from")
    chat.add_argument("--chat", required=True, metavar="CHAT", help="the chat model that was trained from it")
    chat.add_argument("--weight", type=float, default=1.0, metavar="W", help="of the difference (1)")
    for each in (average, tasks, chat):
        each.add_argument("--out", required=True, metavar="FOLDER", help="the merged model's folder")
        each.add_argument(
            "--json", metavar="FILE", help="what was merged, for programs; - is standard output"
        )
        each.set_defaults(run=_merge)


def _merge(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.base.results import write_result
    from pinisi.cookbook.merge import add_chat, add_tasks, as_json, average, merge

    if options.kind == "average":
        recipe = average(options.models, options.weight)
    elif options.kind == "tasks":
        recipe = add_tasks(options.base, options.models, options.weight)
    else:
        recipe = add_chat(options.model, options.base, options.chat, options.weight)
    merged = merge(recipe, options.out)
    print(f"{merged.parameters:,} parameters in {merged.dtype}")
    if options.json:
        write_result(options.json, as_json(merged))
    print(f"model: {options.out}")
    return 0
