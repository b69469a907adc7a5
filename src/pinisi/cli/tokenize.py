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
    tokenize.add_argument(
        "--workers", type=int, help="processes, of one core each; one that uses all cores if left out"
    )
    tokenize.add_argument(
        "--held-out",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="put this share of documents, such as 0.001, into shards of their own, by a hash of the text",
    )
    tokenize.add_argument(
        "--held-out-folder", metavar="FOLDER", help="of those shards; OUT-held-out if left out"
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
        workers=options.workers,
        held_out=options.held_out,
        held_out_folder=options.held_out_folder,
    )
    return 0
