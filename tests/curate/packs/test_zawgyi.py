"""Burmese in Zawgyi's order, made of Unicode's by the rules of the font."""

import random
import re

import pytest

from pinisi.curate.packs import zawgyi

CONSONANTS = "\u1000\u1001\u1002\u1010\u1014\u1015\u1019\u101c\u101e\u101f"
SHAN = "\u1075\u1076\u1078\u107b\u1081"


def syllable(draw, consonants=CONSONANTS):
    """A syllable as Unicode stores it: consonant, medial, vowel, perhaps a killed consonant or a stacked one."""
    found = draw.choice(consonants) + draw.choice(["", "", "\u103b", "\u103c", "\u103d", "\u103c\u103d"])
    found += draw.choice(["\u102c", "\u102d", "\u1031\u102c", "\u1031", "", "\u102f"])
    ending = draw.choice(["", "", "kill", "stack"])
    if ending:
        found += draw.choice(consonants) + (
            "\u103a" if ending == "kill" else "\u1039" + draw.choice(consonants)
        )
    return found + draw.choice(["", "\u1037", "\u1038"])


def text(seed, size=60, consonants=CONSONANTS):
    draw = random.Random(seed)
    return " ".join(
        "".join(syllable(draw, consonants) for _ in range(draw.randint(2, 6))) for _ in range(size // 4)
    )


def to_zawgyi(unicode):
    """What the font stores: stacked consonants in its own code points, the killer as U+1039, the medial y as U+103A
    and r as U+103B, r and e before the consonant."""
    found = re.sub("\u1039(.)", lambda match: chr(0x1060 + ord(match[1]) - 0x1000), unicode)
    found = found.replace("\u103a", "\u1039").replace("\u103b", "\u103a").replace("\u103c", "\u103b")
    found = re.sub("([\u1000-\u1021])\u103b", "\u103b\\1", found)
    return re.sub("(\u103b?[\u1000-\u1021][\u103a\u103d]*)\u1031", "\u1031\\1", found)


@pytest.mark.parametrize("seed", range(20))
def test_zawgyi_is_named_and_unicode_is_not(seed):
    own = text(seed)
    assert zawgyi.share(own) == 0 and not zawgyi.is_zawgyi(own)
    assert zawgyi.share(to_zawgyi(own)) > 0.2 and zawgyi.is_zawgyi(to_zawgyi(own))


@pytest.mark.parametrize("seed", range(5))
def test_a_text_that_is_half_zawgyi_is_named(seed):
    assert zawgyi.is_zawgyi(text(seed) + "\n" + to_zawgyi(text(seed + 50)))


@pytest.mark.parametrize("seed", range(5))
def test_a_slip_or_a_quotation_is_not(seed):
    assert not zawgyi.is_zawgyi(text(seed, 400) + " \u1031\u1000 " + text(seed + 1, 400) + " \u1031\u1019")
    assert not zawgyi.is_zawgyi("\u1031\u1000")  # one mark says nothing


@pytest.mark.parametrize(
    "sample",
    [
        "\u107d\u1030\u107c\u103a \u1075\u1031\u1083 \u1081\u103c\u1030\u1089 \u101c\u1084\u1088",  # Shan's letters
        "\u105a\u1031\u102c\u105a\u103a \u1010\u105e\u1033 \u1019\u1039\u1002 \u1000\u105f\u1031\u102c",  # Mon's
        "\u1000\u1062\u103a \u1061\u103b\u1031\u1064 \u1010\u1062\u103a\u101f\u1072",  # S'gaw Karen's
        "\u1065\u1031\u1067 \u1066\u103c\u1068 \u106e\u1031",  # of Western Pwo and Geba Karen
        "hello, 123", "", "กา ខ្មែរ",
    ],
)  # fmt: skip
def test_other_languages_of_the_script_are_not_zawgyi(sample):
    assert zawgyi.share(sample * 20) == 0


@pytest.mark.parametrize("seed", range(5))
def test_syllables_of_shan_letters_are_not_zawgyi(seed):
    assert zawgyi.share(text(seed, consonants=SHAN)) == 0
