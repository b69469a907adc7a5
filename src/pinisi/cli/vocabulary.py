"""`pinisi vocabulary`: train, trim and extend the vocabulary of a model, and report what it costs."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    vocabulary = commands.add_parser("vocabulary", help="train, trim, extend or report on a vocabulary")
    kinds = vocabulary.add_subparsers(dest="kind", required=True, metavar="train|trim|extend|report")
    _add_extend(kinds)


def _languages(text: str) -> list[str]:
    return [language.strip() for language in text.split(",") if language.strip()]


def _add_model(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's folder")
    parser.add_argument("text", metavar="TEXT", help="a folder of text, a file or a pattern")
    parser.add_argument("--tokenizer", help="its tokenizer's folder, if it isn't the model's")
    parser.add_argument("--languages", type=_languages, help="such as my,km,lo; all of the text if left out")
    parser.add_argument("--out", default=out, help=f"the new model's folder ({out})")


def _add_extend(kinds: Any) -> None:
    extend = kinds.add_parser("extend", help="add the tokens that save most over a text, and rows for them")
    _add_model(extend, "model-extended")
    extend.add_argument("--tokens", type=int, required=True, help="how many are added at most")
    extend.add_argument(
        "--temperature",
        type=float,
        default=3.0,
        help="of the balance of languages: 1 takes text as it is (3)",
    )
    extend.add_argument(
        "--start",
        choices=("mean", "random"),
        default="mean",
        help="the new rows: the mean of the pieces (default)",
    )
    extend.add_argument("--seed", type=int, default=0, help="of random rows")
    extend.set_defaults(run=_extend)


def _extend(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.cookbook.vocabulary import ExtendOptions, extend_model, texts_of

    chosen = ExtendOptions(options.tokens, options.temperature, options.start, options.seed)
    texts = texts_of(options.text, options.languages)
    extend_model(options.model, texts, options.out, chosen, tokenizer=options.tokenizer)
    print(f"model: {options.out}")
    return 0
