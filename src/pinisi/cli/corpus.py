"""`pinisi corpus fetch`: gets the sample corpus and a tokenizer."""

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
    corpus.add_argument("folder", help="where to put it: FOLDER/text and FOLDER/tokenizer")
    corpus.add_argument("--small", action="store_true", help="less text per language")
    corpus.add_argument(
        "--tokenizer-only",
        action="store_true",
        help="no text: for a text of your own, FOLDER/tokenizer alone",
    )
    corpus.set_defaults(run=_corpus)


def _corpus(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.data.sample.corpus import fetch

    fetch(Path(options.folder), small=options.small, tokenizer_only=options.tokenizer_only)
    return 0
