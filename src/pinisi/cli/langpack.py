"""`pinisi langpack`: makes a language pack of clean text."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    langpack = commands.add_parser(
        "langpack", help="make a language pack of clean text: what curate has to know of a language"
    )
    langpack.add_argument("language", metavar="LANG", help="its code, such as jv")
    langpack.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="TEXT",
        help="a file, a folder or a pattern of text, JSON lines, Parquet or WARC",
    )
    langpack.add_argument("--out", required=True, help="the pack's folder")
    langpack.add_argument("--name", help="the language's name in English")
    langpack.add_argument("--licence", help="the text's; the pack keeps it")
    langpack.add_argument(
        "--overwrite", action="store_true", help="put it in the place of a pack that is there"
    )
    langpack.set_defaults(run=_langpack)


def _langpack(options: argparse.Namespace, _: list[str]) -> int:
    from pinisi.curate.fit import with_limits
    from pinisi.curate.packs import langpack

    langpack(
        options.language,
        options.source,
        options.out,
        name=options.name,
        licence=options.licence,
        overwrite=options.overwrite,
        build=with_limits,
    )
    return 0
