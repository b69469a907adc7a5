"""Clusters and scripts against the `unicodedata` of each character, over drawn Unicode."""

import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.data.text.scripts import ASSIGNED, SELECTORS, UNSPACED, classes, script_table
from pinisi.data.text.segmentation import borders, normal_codes, normal_words, words

SOME = (
    "abZé\u0301İŁß 9٣\u0e01\u0e33\u0e34\u0e49เ\u0ea5\u0eb3ក\u17d2ម\u17bb\u200bက\u1039ခ\u1031\u103a中あカ한"
    "\ua98f\ua9c0\ua9b2\u1b13\u1b44\u1b27\u0f56\u0f7c\u0f51\u0f0b\u00ad\u200d\ufeff!?\n$🙂\U0001e000\U000e0100"
)
TEXT = st.text(st.one_of(st.sampled_from(SOME), st.characters(exclude_categories=())), max_size=60)
BEFORE = "เแโใไເແໂໃໄ\uaab5\uaab6\uaab9\uaabb\uaabc\u19b5\u19b6\u19b7\u19ba"
AFTER = "ะาำๅະາຳ"
STACKERS = "\u17d2\u1039\u1a60\ua9c0\u1b44\u1bab"
MIDDLES = set(
    ":\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a,;\u037e\u0589\uff0c\uff1b'.\u2018\u2019\u2024\ufe52\uff07\uff0e_"
)


def kind(character: str) -> str:
    category = unicodedata.category(character)
    return category[0] if category[0] in "LMN" else "-"


def script(character: str) -> str:
    names, of = script_table()
    return names[of[ord(character)]]


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower())


def solid(character: str) -> bool:
    return kind(character) == "L" and script(character) in UNSPACED and script(character) != "TIBETAN"


def slow_clusters(text: str) -> list[str]:
    """One pass with a rule for each pair of neighbours: is there a cut between them?"""
    found: list[str] = []
    base = before = ""  # the letter or digit that begins this unit's last part; the character before
    for character in normal(text):
        if unicodedata.category(character) == "Cf":
            continue
        own = kind(character)
        if own == "-":
            base = ""
        elif own == "M":
            if base:
                found[-1] += character
        else:
            joined = before in tuple(BEFORE + STACKERS) or character in AFTER
            if base and (joined or not (solid(base) or solid(character))):
                found[-1] += character
            else:
                found.append(character)
            base = character
        before = character
    return found


@settings(max_examples=500, deadline=None)
@given(TEXT.filter(lambda text: not MIDDLES & set(text)))
def test_clusters_against_a_rule_for_each_pair(text):
    assert normal_words(text, spaces=False) == slow_clusters(text)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_no_letter_is_lost_and_no_cluster_is_cut(text):
    for spaces in (True, False):
        found = words(text, spaces=spaces)
        letters = [c for c in text if kind(c) in "LN"]
        assert [c for word in found for c in word if kind(c) in "LN"] == letters
        assert all(kind(word[0]) != "M" for word in found)


def test_clusters_of_many_scripts():
    def clusters(text):
        return normal_words(text, spaces=False)

    assert clusters("ខ្មែរ ស្ត្រី") == ["ខ្មែ", "រ", "ស្ត្រី"]
    assert clusters("မြန်မာ က္ကေ") == ["မြ", "န်", "မာ", "က္ကေ"]
    assert clusters("ที่นี่ ກຳ เก่า ນ້ຳ") == ["ที่", "นี่", "ກຳ", "เก่า", "ນ້ຳ"]
    assert clusters("中国 Linux 5.10版") == ["中", "国", "linux", "5.10", "版"]
    assert clusters("ក\u200b្ម") == ["ក្ម"]
    # One stack each: Javanese nda, Balinese nda, Tai Tham, Sundanese; the copy in near duplicates once lacked these.
    for stack in ("\ua9a4\ua9c0\ua9a2", "\u1b26\u1b44\u1b24", "\u1a37\u1a60\u1a37"):
        assert clusters(stack + stack) == [stack, stack]
        assert not borders(stack)[1:-1].any()


def test_tibetan_words_are_syllables():
    text = "བོད་སྐད་ནི་བོད་པ་ཚོའི་སྐད་ཡིག་ཡིན།"
    syllables = ["བོད", "སྐད", "ནི", "བོད", "པ", "ཚོའི", "སྐད", "ཡིག", "ཡིན"]
    assert words(text, spaces=False) == words(text) == syllables
    cuts = np.flatnonzero(borders(text)).tolist()
    assert all(text[cut - 1] in "་།" or text[cut : cut + 1] in "་།" for cut in cuts[1:-1])


@pytest.mark.parametrize("spaces", [True, False])
def test_words_in_long_text_are_those_of_its_pieces(monkeypatch, spaces):
    text = "Kapal pinisi don't ខ្មែរ 1,000.5 中国 ที่นี่ " * 40
    whole = words(text, spaces=spaces)
    monkeypatch.setattr("pinisi.data.text.segmentation.blocks.__defaults__", (64,))
    assert words(text, spaces=spaces) == whole


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
    found = normal_codes(text)
    assert found.tolist() == expected
    assert found.dtype == np.uint32
