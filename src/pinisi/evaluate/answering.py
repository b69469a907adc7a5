"""Lets a model answer many conversations, keeps what is done, and goes on where it stopped."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pinisi.base import digests
from pinisi.base.durations import duration
from pinisi.base.json_text import parse
from pinisi.base.lock import only_one
from pinisi.evaluate.judge.conversations import Conversation, write_answers
from pinisi.evaluate.prompting import Generated, GenerationSettings, Generator

BLOCK = 64  # conversations between two savings
EVERY = 10.0  # seconds between two lines of progress


def answer_all(
    conversations: Sequence[Conversation],
    generator: Generator,
    settings: GenerationSettings,
    file: str | Path,
    *,
    name: str,
) -> list[Generated]:
    """Writes all answers to `file` when the last one is there; returns them.

    name: of the model, with what tells it from others. Until then they are kept beside the file, and a later call with the same
    name, settings and conversations asks for the others alone.
    """
    path = Path(file)
    partial = path.with_name(f".{path.name}.partial")
    with only_one(path.parent, path.with_name(f".{path.name}.lock"), "file of answers (--out)"):
        keys = [digests.of_value([name, list(settings), list(asked.messages)]) for asked in conversations]
        found = _kept(partial)
        missing = [number for number, key in enumerate(keys) if key not in found]
        began = told = time.monotonic()
        done = 0
        for some in _blocks(missing):
            # a drawn answer's seed goes by its place among all
            drawn = settings._replace(seed=settings.seed + (some[0] if settings.temperature else 0))
            answers = generator.generate([conversations[n].prompt for n in some], drawn)
            with partial.open("a", encoding="utf-8") as out:
                for n, answer in zip(some, answers, strict=True):
                    found[keys[n]] = answer
                    line = {"key": keys[n], **answer._asdict()}
                    out.write(
                        "\n" + json.dumps(line, ensure_ascii=False)
                    )  # in front: a kill may have torn the last
            done += len(some)
            if (now := time.monotonic()) - told > EVERY:
                left = (now - began) / done * (len(missing) - done)
                print(f"answered {done} of {len(missing)}, ETA {duration(left)}", file=sys.stderr, flush=True)
                told = now
        answers = [found[key] for key in keys]
        write_answers(path, conversations, answers, name)
        partial.unlink(missing_ok=True)
    path.with_name(f".{path.name}.lock").unlink(missing_ok=True)
    return answers


def _blocks(numbers: Sequence[int]) -> list[list[int]]:
    """Stretches of numbers that follow each other, of at most BLOCK."""
    found: list[list[int]] = []
    for number in numbers:
        if not found or len(found[-1]) == BLOCK or number != found[-1][-1] + 1:
            found.append([])
        found[-1].append(number)
    return found


def _kept(partial: Path) -> dict[str, Generated]:
    found = {}
    lines = partial.read_text("utf-8", "replace").split("\n") if partial.is_file() else []
    for line in lines:
        try:
            record = parse(line)
            found[str(record["key"])] = Generated(record["text"], record["tokens"], record["ended"])
        except (ValueError, KeyError, TypeError):
            continue  # torn by a kill
    return found
