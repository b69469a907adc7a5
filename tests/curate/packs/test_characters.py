"""Words and scripts against the `unicodedata` of each character, over drawn Unicode."""

import sys
import unicodedata

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.curate.packs import characters
from pinisi.curate.packs.characters import words_by_characters, words_by_spaces
from pinisi.data.scripts import ASSIGNED, SELECTORS, UNSPACED, classes, script_table

SOME = (
    "abZé\u0301İŁß 9٣\u0e01\u0e33\u0e34\u0e49เ\u0ea5\u0eb3ក\u17d2ម\u17bb\u200bက\u1039ခ\u1031\u103a中あカ한"
    "\u00ad\u200d\ufeff,.\n$🙂\U0001e000\U000e0100"
)
TEXT = st.text(st.one_of(st.sampled_from(SOME), st.characters(exclude_categories=())), max_size=60)
JOINERS = "\u00ad\u200c\u200d\u2060\ufeff"


def kind(character: str) -> str:
    category = unicodedata.category(character)
    return category[0] if category[0] in "LM" else "N" if category == "Nd" else "-"


def script(character: str) -> str:
    names, of = script_table()
    return names[of[ord(character)]]


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower())


def slow_spaces(text: str) -> list[str]:
    words, word = [], ""
    for character in normal(text):
        if character in JOINERS and not text.isascii():
            continue
        if kind(character) == "-":
            words, word = [*words, word], ""
        else:
            word += character
    return [word for word in [*words, word] if word]


def slow_characters(text: str) -> list[str]:
    """One pass with a rule for each pair of neighbours: is there a cut between them?"""
    words: list[str] = []
    before = ""
    for character in normal(text):
        if character in JOINERS + "\u200b":
            continue
        own = kind(character)
        if own == "-":
            before = ""
            continue
        unspaced = own == "L" and script(character) in UNSPACED
        glued = bool(before) and (
            own == "M"
            or (unspaced and before in characters.STACKERS and after_unspaced(words[-1]))
            or (not unspaced and not after_unspaced(words[-1]) and not only_marks(words[-1]))
        )
        words = [*words[:-1], words[-1] + character] if glued else [*words, character]
        before = character
    return words


def after_unspaced(word: str) -> bool:
    return kind(word[0]) == "L" and script(word[0]) in UNSPACED


def only_marks(word: str) -> bool:
    return all(kind(character) == "M" for character in word)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_words_are_runs_of_letters_marks_and_digits(text):
    assert words_by_spaces(text) == slow_spaces(text)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_clusters_are_never_cut_at_a_mark(text):
    found = words_by_characters(text)
    assert found == slow_characters(text)
    kept = [c for c in normal(text) if kind(c) != "-"]
    assert "".join(found) == "".join(kept)


def test_clusters_of_five_scripts():
    assert words_by_characters("ខ្មែរ ស្ត្រី") == ["ខ្មែ", "រ", "ស្ត្រី"]
    assert words_by_characters("မြန်မာ က္ကေ") == ["မြ", "န်", "မာ", "က္ကေ"]
    assert words_by_characters("ที่นี่ ກຳ") == ["ที่", "นี่", "ກ", "ຳ"]
    assert words_by_characters("中国 Linux 5.10版") == ["中", "国", "linux", "5", "10", "版"]
    assert words_by_characters("ក\u200b្ម") == ["ក្ម"]


def test_each_code_point_has_the_class_of_its_category():
    kinds = classes()
    for code in range(0, sys.maxunicode + 1, 7):
        category = unicodedata.category(chr(code))
        expected = {"L": 1, "M": 1}.get(category[0], {"Nd": 2, "Cf": 3}.get(category, 0))
        assert kinds[code] == expected, hex(code)


def test_all_letters_are_below_the_last_assigned_code_point():
    for code in range(ASSIGNED, sys.maxunicode + 1):
        assert unicodedata.category(chr(code))[0] not in "LM" or code in SELECTORS


def test_scripts_of_letters():
    expected = {
        "a": "LATIN",
        "ệ": "LATIN",
        "ｱ": "KATAKANA",
        "Ａ": "LATIN",
        "я": "CYRILLIC",
        "ក": "KHMER",
        "ີ": "LAO",
    }
    expected |= {
        "ျ": "MYANMAR",
        "我": "CJK",
        "𠮷": "CJK",
        "한": "HANGUL",
        "ა": "GEORGIAN",
        "\u0301": "",
        "ᥐ": "TAI LE",
    }
    assert {character: script(character) for character in expected} == expected


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_code_points_are_the_normal_text_without_format_characters(text):
    expected = [
        ord(c)
        for c in normal(text).encode("utf-32-le", "replace").decode("utf-32-le")
        if unicodedata.category(c) != "Cf"
    ]
    found = characters.code_points(text)
    assert found.tolist() == expected
    assert found.dtype == np.uint32
