"""`pinisi inspect`: shows what token shards hold, a token's document, or which tokens of a chat are trained."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError
from pinisi.base.files import write_whole
from pinisi.base.progress import is_terminal


def add(commands: Any) -> None:
    """Adds the command."""
    inspect = commands.add_parser(
        "inspect",
        help="show what token shards hold, or the document that a token belongs to, or compare digests with --verify; "
        "chat FILE [LINE] --tokenizer FOLDER: which tokens of a chat are trained",
    )
    inspect.add_argument(
        "folder",
        metavar="FOLDER|chat",
        help="of token shards; with --verify also a run or one of its checkpoints; or the word chat",
    )
    inspect.add_argument(
        "language",
        metavar="LANGUAGE|FILE",
        nargs="?",
        help="and POSITION: show that token's document; after chat a file of chats",
    )
    inspect.add_argument(
        "position",
        metavar="POSITION|LINE",
        type=int,
        nargs="?",
        help="of the token in its language, from 0; after chat the line of a chat, the first one that can be trained if left out",
    )
    inspect.add_argument("--tokenizer", metavar="FOLDER", help="after chat: whose template writes it")
    inspect.add_argument(
        "--train",
        choices=("answers", "last", "all"),
        default="answers",
        help="after chat: what is trained, as task.train has it (default: %(default)s)",
    )
    inspect.add_argument(
        "--think",
        choices=("train", "mask", "drop"),
        default="train",
        help="after chat: think blocks, as task.think has it (default: %(default)s)",
    )
    inspect.add_argument("--html", metavar="FILE", help="after chat: a page instead of colours")
    inspect.add_argument("--verify", action="store_true", help="read every file and compare its digest")
    inspect.add_argument("--json", action="store_true", help="for programs")
    inspect.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace, _: list[str]) -> int:
    if options.folder == "chat" and options.language is not None:
        return _show_chat(options)
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


def _show_chat(options: argparse.Namespace) -> int:
    """Shows a chat of a file; an error names the reason where the chat is rejected."""
    from pinisi.data.conversations.encode import ChatEncoder, MaskRule
    from pinisi.data.conversations.find import chat_at
    from pinisi.data.conversations.show import in_terminal, stretches, told_of

    if options.tokenizer is None:
        raise ConfigError("needed --tokenizer FOLDER: its chat template says what a chat looks like")
    encoder = ChatEncoder(options.tokenizer, MaskRule(options.train, options.think))
    place, chat = chat_at(options.language, options.position, encoder)
    told = told_of(chat)
    if options.json:
        print(json.dumps({"place": place, "tokens": chat.tokens, "trained": chat.trained}))
    elif options.html is not None:
        from pinisi.report.chats import chat_page

        page = chat_page(place, told, stretches(encoder.tokenizer, chat))
        print(write_whole(options.html, page))
    else:
        print(
            f"{place}: {told}",
            in_terminal(encoder.tokenizer, chat, colours=is_terminal(sys.stdout)),
            sep="\n",
        )
    return 0
