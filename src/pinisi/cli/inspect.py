"""`pinisi inspect`: shows what token shards hold, or the document of a token, or compares digests."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError


def add(commands: Any) -> None:
    """Adds the command."""
    inspect = commands.add_parser(
        "inspect",
        help="show what token shards hold, or the document that a token belongs to, or compare digests with --verify",
    )
    inspect.add_argument(
        "folder", metavar="FOLDER", help="of token shards; with --verify also a run or one of its checkpoints"
    )
    inspect.add_argument(
        "language", metavar="LANGUAGE", nargs="?", help="and POSITION: show that token's document"
    )
    inspect.add_argument(
        "position", metavar="POSITION", type=int, nargs="?", help="of the token in its language, from 0"
    )
    inspect.add_argument("--verify", action="store_true", help="read every file and compare its digest")
    inspect.add_argument("--json", action="store_true", help="for programs")
    inspect.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace, _: list[str]) -> int:
    if options.verify:
        from pinisi.train.verify_files import verify_files

        return verify_files(Path(options.folder))
    if options.language is None:
        from pinisi.data.contents import contents, contents_lines

        held = contents(options.folder)
        print(json.dumps(held, ensure_ascii=False) if options.json else "\n".join(contents_lines(held)))
        return 0
    if options.position is None:
        raise ConfigError(
            "got LANGUAGE without POSITION: give the position of a token too, from 0, or neither"
        )
    from pinisi.data import trace

    found = trace(options.folder, options.language, options.position)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if options.json else found)
    return 0
