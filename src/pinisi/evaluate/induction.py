"""Makes few-shot items of words alone: what a model that attends to its context answers without knowing anything.

Perplexity hides that a model has forgotten how to learn from its context: training on without a language's text hardly moves it and
ruins answers to examples (arXiv 2506.00288). "copy" repeats a row of words up to one that is asked for; "pattern" shows four rows
by one rule (A B A, or A B B) and asks for the end of a fifth. All choices stand in the prompt, so that no word's own likelihood
helps; chance is a quarter. Words are the vocabulary's own, of the language's script, so no data set is needed; a list of words in a
file, or one that is handed in, makes them the language's.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.base.json_text import read_utf8
from pinisi.data.text.scripts import COMMON, LETTER, classes, script_table
from pinisi.data.text.segmentation import codes
from pinisi.evaluate.examples import ChoiceItem

SCRIPTS = {"km": "KHMER", "lo": "LAO", "my": "MYANMAR", "th": "THAI", "zh": "CJK"}
LATIN = "LATIN"
SHORTEST = {LATIN: 3, "CJK": 1}  # letters of a word; two elsewhere
WORDS, FEWEST = 400, 40  # taken from a vocabulary; with fewer, words are made of two letters
ROW, SHOTS, CHOICES, ITEMS = 8, 4, 4, 100
Rules = Callable[[random.Random, Sequence[str]], tuple[str, list[str], str]]


def made_items(kind: str, language: str, words: Sequence[str], count: int = ITEMS) -> list[ChoiceItem]:
    """Items of a kind, "copy" or "pattern"; the same for the same words."""
    draw = random.Random(f"{kind} {language}")
    items = []
    for number in range(count):
        prompt, wrong, right = KINDS[kind](draw, words)
        choices = [right, *wrong]
        draw.shuffle(choices)
        items.append(ChoiceItem(f"{number}", "", prompt, tuple(choices), choices.index(right)))
    return items


def _copy(draw: random.Random, words: Sequence[str]) -> tuple[str, list[str], str]:
    row = draw.sample(words, ROW)
    place = draw.randrange(1, ROW)
    wrong = draw.sample(
        [word for number, word in enumerate(row) if number not in (place, place - 1)], CHOICES - 1
    )
    return f"{' '.join(row)}\n{' '.join(row[:place])}", wrong, row[place]


def _pattern(draw: random.Random, words: Sequence[str]) -> tuple[str, list[str], str]:
    chosen = draw.sample(words, 2 * SHOTS + 2)
    pairs = list(zip(chosen[::2], chosen[1::2], strict=True))
    last = draw.randrange(2)  # A B A or A B B
    shots = [f"{a} {b} {(a, b)[last]}" for a, b in pairs[:-1]]
    a, b = pairs[-1]
    wrong = [(a, b)[1 - last], *draw.sample(chosen[:-2], CHOICES - 2)]
    return "\n".join([*shots, f"{a} {b}"]), wrong, (a, b)[last]


KINDS: dict[str, Rules] = {"copy": _copy, "pattern": _pattern}


def words_of_file(path: str | Path) -> list[str]:
    """A list of words, one a line, each once. Raises DataError for too few."""
    words = list(dict.fromkeys(line.strip() for line in read_utf8(Path(path)).split("\n") if line.strip()))
    if len(words) < FEWEST:
        raise DataError(f"{path} has {len(words)} words, one a line; needed are at least {FEWEST}")
    return words


def vocabulary_words(tokenizer: Any, language: str) -> list[str]:
    """Words of the language's script that are entries of a vocabulary, the first ones; two letters each where it has too few.

    tokenizer: of transformers.
    """
    script = SCRIPTS.get(language, LATIN)
    backend = tokenizer.backend_tokenizer
    found: dict[str, None] = {}
    for id in range(backend.get_vocab_size(with_added_tokens=False)):
        word = backend.decode([id], skip_special_tokens=True).strip().lower()
        if _is_word(word, script):
            found.setdefault(word)
            if len(found) == WORDS:
                break
    return list(found) if len(found) >= FEWEST else _spelled(script, random.Random(script))


def _is_word(text: str, script: str) -> bool:
    if len(text) < SHORTEST.get(script, 2) or unicodedata.category(text[0])[0] != "L":
        return False
    names, of = script_table()
    found = codes(text)
    scripts = of[found]
    own = (scripts == names.index(script)) | (scripts == names.index(COMMON))
    return bool((classes()[found] == LETTER).all() and own.all() and scripts[0] == names.index(script))


def _spelled(script: str, draw: random.Random) -> list[str]:
    """Words of two letters that stand by themselves."""
    names, of = script_table()
    letters = [chr(code) for code in np.flatnonzero(of == names.index(script)).tolist()]
    alone = [
        letter for letter in letters if unicodedata.category(letter) == ("Ll" if script == LATIN else "Lo")
    ][:40]
    return sorted({"".join(draw.sample(alone, 2)) for _ in range(4 * WORDS)})[:WORDS]
