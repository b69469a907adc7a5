"""Small made-up languages: words drawn from syllables, so that tests need no text of others."""

import random
from pathlib import Path

from pinisi.data.documents import Document

SYLLABLES = {
    "aa": ["ka", "ta", "na", "ma", "pa", "la", "ra", "sa", "nga", "bu", "du", "gu"],
    "bb": ["ki", "ti", "ne", "me", "po", "lo", "ro", "so", "ngi", "bi", "di", "gu", "an", "en"],
    "cc": ["kra", "sto", "vel", "min", "dur", "gan", "pol", "est", "ing"],
    "tt": ["กา", "ตี", "นู", "แม", "เร", "ลำ", "สั", "ที่", "ไป", "ว่า"],
    "kk": ["កា", "ត្រ", "នី", "ម៉ែ", "រូ", "ល្អ", "សំ", "ហ៊ុ"],
}


def words(language: str, count: int, seed: int = 0) -> list[str]:
    """Words of a language; short ones are frequent."""
    drawn = random.Random(f"{language} {seed}")
    lexicon = random.Random(language)
    known = [
        "".join(lexicon.choices(SYLLABLES[language], k=lexicon.choice([1, 2, 2, 3]))) for _ in range(300)
    ]
    return [known[min(int(drawn.expovariate(1 / 60)), 299)] for _ in range(count)]


def documents(language: str, count: int = 40, seed: int = 0, length: int = 60) -> list[str]:
    gap = "" if language in ("tt", "kk") else " "
    found = []
    for number in range(count):
        of = words(language, length, seed * 1000 + number)
        lines = [gap.join(of[start : start + 7]).capitalize() + "." for start in range(0, length, 7)]
        found.append(f"\n{number}, ".join(lines))
    return found


def write(path: Path, texts: list[str]) -> Path:
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        path.write_text("\n\n".join(texts) + "\n")
    return path


def as_documents(language: str, texts: list[str]) -> list[Document]:
    return [Document(f"{language}/{number}", text, language) for number, text in enumerate(texts)]
