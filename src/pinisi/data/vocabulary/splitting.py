"""Joins what a tokenizer's own splitting cuts within letters and their marks, where its old merges are none the wiser.

Byte-level tokenizers split text by a pattern that takes \\p{L}+ as a word, so that scripts whose vowels are marks are cut at every
mark, and no token can be longer. `joined` puts neighbouring stretches of such a script together. A boundary goes only where no old
merge could ever join what stands on its sides, so all text is still cut into the same old tokens; none is added anywhere.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from pinisi.data.text.scripts import COMMON, LETTER, classes, script_table
from pinisi.data.vocabulary.bpe_file import BpeFile
from pinisi.data.vocabulary.words import Texts

JOINERS = "\u200c\u200d"  # within a cluster
LEAST_MARKS = 0.02  # of a script's letters and marks: below, its words are hardly cut at marks
LEAST_LETTERS = 100  # of a script in the texts
# what a byte-level pre-tokenizer splits by that has no pattern of its own (GPT-2's)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def joined(tokenizer: BpeFile, texts: Texts) -> BpeFile:
    """The same tokenizer, for whose splitting letters and marks of the texts' scripts belong together.

    The very same where its splitting isn't a single pattern, or the texts have no script with marks.
    """
    split = _pattern(tokenizer.data.get("pre_tokenizer")) if tokenizer.byte_level else None
    letters = _letters(marked_scripts(texts)) if split else ""
    if not split or not letters:
        return tokenizer
    pattern, level = split
    never = unsafe_pairs(tokenizer, letters)
    pre_tokenizer = {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": joining_pattern(pattern, letters, never)},
                "behavior": "Isolated",
                "invert": False,
            },
            {**level, "use_regex": False},
        ],
    }
    return replace(tokenizer, data={**tokenizer.data, "pre_tokenizer": pre_tokenizer})


def _pattern(pre_tokenizer: Any) -> tuple[str, dict[str, Any]] | None:
    """The one pattern that text is split by, and the ByteLevel beside it; None where there is more to it."""
    if not isinstance(pre_tokenizer, dict):
        return None
    steps = pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]
    kinds = [step["type"] for step in steps]
    if steps[-1].get("add_prefix_space"):
        return None
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return GPT2, steps[0]
    if kinds != ["Split", "ByteLevel"] or steps[1].get("use_regex", True):
        return None
    split = steps[0]
    if split.get("behavior") != "Isolated" or split.get("invert") or "Regex" not in split["pattern"]:
        return None
    return split["pattern"]["Regex"], steps[1]


def marked_scripts(texts: Texts) -> list[str]:
    """The scripts of texts that write a good part of their sounds as marks."""
    names, script = script_table()
    letters: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for language in texts:
        for text in texts[language]():
            counts.update(text)
    for letter, count in counts.items():
        code = ord(letter)
        if classes()[code] == LETTER:
            letters[names[script[code]]] += count
            marks[names[script[code]]] += count * unicodedata.category(letter).startswith("M")
    return sorted(
        name
        for name, count in letters.items()
        if name != COMMON and count >= LEAST_LETTERS and marks[name] >= LEAST_MARKS * count
    )


def _letters(scripts: Iterable[str]) -> str:
    """All letters and marks of scripts, and the joiners, in the order of their codes."""
    names, script = script_table()
    wanted = [names.index(name) for name in scripts]
    if not wanted:
        return ""
    return "".join(map(chr, np.flatnonzero(np.isin(script, wanted)).tolist())) + JOINERS


def unsafe_pairs(tokenizer: BpeFile, letters: str) -> dict[str, set[str]]:
    """{letter: those behind it} between which an old merge could join something, or an old piece has them side by side."""
    of = {letter: letter.encode() for letter in letters}
    starts = {code[:1] for code in of.values()}
    found: defaultdict[str, set[str]] = defaultdict(set)
    apart = {each["content"] for each in tokenizer.added}
    content = {piece: tokenizer.bytes_of(piece) for piece in tokenizer.pieces if piece not in apart}
    seen: set[tuple[bytes, bytes]] = set()
    for left, right in tokenizer.merges:
        one, two = content.get(left, b"")[-4:], content.get(right, b"")[:4]
        if two[:1] in starts and one[-1:] >= b"\x80":
            seen.add((one, two))
    for one, two in seen:
        if lefts := [each for each, code in of.items() if one.endswith(code) or code.endswith(one)]:
            rights = {each for each, code in of.items() if two.startswith(code) or code.startswith(two)}
            for each in lefts:
                found[each] |= rights
    for whole in content.values():
        for left, right in pairwise(whole.decode("utf-8", "replace")):
            if left in of and right in of:
                found[left].add(right)
    return dict(found)


def joining_pattern(pattern: str, letters: str, never: Mapping[str, set[str]]) -> str:
    """A pattern that takes what the old one takes, and goes on where two letters meet that may be joined.

    never: pairs of letters between which the old boundary stays.
    """
    groups: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for letter in letters:
        groups[frozenset(never.get(letter, ()))].append(letter)
    meets = []
    for banned, lefts in groups.items():
        if rights := [letter for letter in letters if letter not in banned]:
            meets.append(f"(?<={_class(lefts)})(?={_class(rights)})")
    return f"(?>{pattern})(?:(?:{'|'.join(meets)})(?>{pattern}))*"


def _class(letters: Iterable[str]) -> str:
    """A class of letters as ranges of codes."""
    codes = sorted(map(ord, letters))
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(_code(a) if a == b else f"{_code(a)}-{_code(b)}" for a, b in ranges) + "]"


def _code(code: int) -> str:
    return f"\\u{code:04X}" if code < 0x10000 else chr(code)
