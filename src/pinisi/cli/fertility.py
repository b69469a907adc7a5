"""`pinisi fertility`: counts how many tokens a tokenizer makes of each language's text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    fertility = commands.add_parser(
        "fertility", help="tokens per word, character and byte by language, and the cost against English"
    )
    fertility.add_argument("text", metavar="TEXT", help="the folder of text")
    fertility.add_argument(
        "--tokenizer", action="append", required=True, metavar="[NAME=]FOLDER", help="one or several"
    )
    fertility.add_argument("--parallel", help="a folder of translations with equal ids; TEXT if left out")
    fertility.add_argument("--limit", type=int, help="characters of each language that are read")
    fertility.add_argument("--out", default="fertility.html", help="the page")
    fertility.add_argument("--json", metavar="FILE", help="the same for programs; - is standard output")
    fertility.set_defaults(run=_fertility)


def _fertility(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.data import fertility
    from pinisi.report.fertility import write_fertility, write_fertility_json

    named = [text.partition("=") for text in options.tokenizer]
    tokenizers = {name if folder else Path(name).name: folder or name for name, _, folder in named}
    result = fertility(options.text, tokenizers, parallel=options.parallel, limit=options.limit)
    if options.json:
        write_fertility_json(result, options.json)
    print(f"report: {write_fertility(result, options.out)}")
    return 0
