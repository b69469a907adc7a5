"""`pinisi tokenize`: turns text into token shards."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    tokenize = commands.add_parser(
        "tokenize", help="turn text (JSON lines, text, Parquet, WARC; packed or not) into token shards"
    )
    tokenize.add_argument(
        "text", metavar="TEXT", help="a folder such as one with <language>.jsonl files, a file or a pattern"
    )
    tokenize.add_argument("--tokenizer", required=True, help="a folder with a Hugging Face tokenizer")
    tokenize.add_argument("--out", required=True, help="the folder of shards to write")
    tokenize.add_argument(
        "--bos",
        choices=["auto", "yes", "no"],
        default="auto",
        help="begin each document with the tokenizer's BOS; auto: where its post-processor puts one",
    )
    tokenize.add_argument(
        "--end-of-document",
        metavar="TOKEN",
        help="a string or an id; the tokenizer's end of a text if left out",
    )
    tokenize.add_argument(
        "--strict", action="store_true", help="a document that does not decode back to its text is an error"
    )
    tokenize.set_defaults(run=_tokenize)


def _tokenize(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.data import tokenize

    tokenize(
        options.text,
        options.tokenizer,
        options.out,
        strict=options.strict,
        bos=options.bos,
        end_of_document=options.end_of_document,
    )
    return 0
