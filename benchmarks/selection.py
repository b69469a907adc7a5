"""Judges `pinisi select` on chats made of real text: what it finds of planted faults, and what it loses of clean chats.

    python benchmarks/selection.py PROSE --task xcopa:id:FILE [--task ...] [--seed 0] [--json FILE]

PROSE has <language>.jsonl files with "text". A document's first 60 characters are the question, the rest the answer. Planted, a
tenth as many each: near copies (each --thin-th word left out, another question), answers of another language, and evaluation texts
(whole, between two pieces of a clean answer). Prints found and lost shares with 95 % intervals (Wilson) by language.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from pinisi.cookbook.selection.run import select_chats
from pinisi.cookbook.selection.settings import SelectSettings
from pinisi.evaluate.contamination import item_texts
from pinisi.evaluate.tasks import AskedTask, parse_task

ANSWER = (200, 1500)  # characters
KINDS = {
    "near copy": "like one that is kept",
    "another language": "another language",
    "evaluation text": "an evaluation text",
}
LETTERS = 60  # of an evaluation text that is planted, at least: shorter ones can't be recognised


def clean_chats(folder: Path, language: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in (folder / f"{language}.jsonl").read_text("utf-8").splitlines():
        text = " ".join(json.loads(line)["text"].split())
        if len(text) < ANSWER[0] + 60:
            continue
        question, answer = text[:60], text[60 : 60 + ANSWER[1]]
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        found.append({"messages": turns, "language": language, "kind": "clean"})
        if len(found) == limit:
            break
    return found


def planted(
    chats: dict[str, list[dict[str, Any]]], tasks: dict[str, list[str]], draw: random.Random, thin: int
) -> list[dict[str, Any]]:
    found = []
    for language, own in chats.items():
        others = [other for other in chats if other != language]
        for chat in draw.sample(own, len(own) // 10):
            found.append(_made(chat, language, "near copy", _thinned(chat["messages"][1]["content"], thin)))
        for chat in draw.sample(own, len(own) // 10):
            other = draw.choice(chats[draw.choice(others)])
            made = _made(chat, language, "another language", other["messages"][1]["content"])
            found.append(made | {"from": other["language"]})
        for text in draw.sample(tasks.get(language, []), min(len(own) // 10, len(tasks.get(language, [])))):
            answer = draw.choice(own)["messages"][1]["content"]
            found.append(
                _made(
                    draw.choice(own),
                    language,
                    "evaluation text",
                    f"{answer[100:180]} {text} {answer[180:260]}",
                )
            )
    return found


def _made(chat: dict[str, Any], language: str, kind: str, answer: str) -> dict[str, Any]:
    question = (
        chat["messages"][0]["content"][::-1][:40] if kind == "near copy" else chat["messages"][0]["content"]
    )
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "language": language, "kind": kind}


def _thinned(text: str, thin: int) -> str:
    """A text without each thin-th word, or, where words aren't parted, run of four letters."""
    words = text.split(" ")
    if len(words) > len(text) / 20:
        return " ".join(word for place, word in enumerate(words, 1) if place % thin)
    return "".join(text[n : n + 4] for place, n in enumerate(range(0, len(text), 4), 1) if place % thin)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, hits / count
    middle, width = (
        share + z * z / (2 * count),
        z * (share * (1 - share) / count + z * z / (4 * count**2)) ** 0.5,
    )
    return max(0.0, (middle - width) / (1 + z * z / count)), min(1.0, (middle + width) / (1 + z * z / count))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prose", type=Path)
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--limit", type=int, default=200, help="clean chats of a language")
    parser.add_argument("--similar", type=float)
    parser.add_argument("--thin", type=int, default=10, help="near copies lack each word of this number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    languages = sorted(path.stem for path in options.prose.glob("*.jsonl"))
    chats = {language: clean_chats(options.prose, language, options.limit) for language in languages}
    texts: dict[str, list[str]] = {}
    for task in map(parse_task, options.task):
        for item in AskedTask(task).items:
            first = next(text for part in item_texts(item).values() for text in part if text.strip())
            if len(first) >= LETTERS:
                texts.setdefault(task.language, []).append(first)
    records = [chat for own in chats.values() for chat in own] + planted(chats, texts, draw, options.thin)
    draw.shuffle(records)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chats.jsonl"
        file.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records), "utf-8")
        settings = SelectSettings(str(file), similar=options.similar, tasks=tuple(options.task))
        select_chats(settings, Path(folder) / "out", print)
        dropped = [
            json.loads(line)
            for line in (Path(folder) / "out" / "dropped.jsonl").read_text("utf-8").splitlines()
        ]
    result = judged(records, dropped)
    for line in result["lines"]:
        print(line)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


def judged(records: list[dict[str, Any]], dropped: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by kind and language. A near copy is found where it, or what it is a copy of, is dropped as alike."""
    why = {each["line"]: each for each in dropped}
    counts: Counter[tuple[str, str, bool]] = Counter()
    lost: Counter[tuple[str, str]] = Counter()
    for line, record in enumerate(records, 1):
        kind, language, reason = record["kind"], record["language"], why.get(line, {}).get("reason")
        if kind == "clean":
            # one that a copy of it was kept instead of is no loss
            lost_here = reason is not None and not (
                reason == KINDS["near copy"] and _of_copy(why[line], records)
            )
            counts[kind, language, lost_here] += 1
            if lost_here:
                lost[language, str(reason)] += 1
            continue
        hit = reason == KINDS[kind] or (kind == "near copy" and _copied(line, why))
        counts[kind, language, hit] += 1
    rows, lines = [], []
    for kind in ("clean", *KINDS):
        languages = sorted({language for k, language, _ in counts if k == kind})
        for language in (*languages, "all"):
            own = [language] if language != "all" else languages
            hits, misses = (sum(counts[kind, each, side] for each in own) for side in (True, False))
            low, high = wilson(hits, hits + misses)
            rows.append(
                {
                    "kind": kind,
                    "language": language,
                    "dropped": hits,
                    "of": hits + misses,
                    "low": low,
                    "high": high,
                }
            )
            said = "lost" if kind == "clean" else "found"
            lines.append(
                f"{kind:17} {language:4} {said} {hits:4} of {hits + misses:4}  95 %: {low:.1%} to {high:.1%}"
            )
    reasons = {f"{language}: {reason}": count for (language, reason), count in sorted(lost.items())}
    lines.append(f"clean chats lost by reason: {reasons or 'none'}")
    return {"rows": rows, "lost": reasons, "lines": lines}


def _other(detail: str) -> int:
    return int(detail.rsplit(":", 1)[1])


def _of_copy(drop: dict[str, Any], records: list[dict[str, Any]]) -> bool:
    return records[_other(drop["detail"]) - 1]["kind"] == "near copy"


def _copied(line: int, why: dict[int, dict[str, Any]]) -> bool:
    """Whether another chat was dropped since it is like this one."""
    return any(
        each["reason"] == KINDS["near copy"] and _other(each["detail"]) == line for each in why.values()
    )


if __name__ == "__main__":
    raise SystemExit(main())
