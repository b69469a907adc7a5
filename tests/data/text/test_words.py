"""Words against the standard's rules, applied one by one, over drawn text; and against the regex package on real text."""

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pinisi.data.text.segmentation import has_spaces, words
from tests.data.conftest import TEXTS

BOUNDARIES = regex.compile(r"(?w)\b(?:.|\n)+?\b")


def reference(text: str) -> list[str]:
    """Segments between Unicode's boundaries that hold a letter or a digit."""
    return [segment for segment in BOUNDARIES.findall(text) if any(map(str.isalnum, segment))]


# the classes of the standard's table, for the characters that are drawn; no class: a boundary on both sides
CLASSES = {
    **dict.fromkeys("abZénđЖωאبकनமক한", "letter"),
    **dict.fromkeys("0123459٣", "digit"),
    **dict.fromkeys(":\u00b7", "between letters"),
    **dict.fromkeys(",;", "between digits"),
    **dict.fromkeys(".'\u2019", "between both"),
    "_": "joins",
    **dict.fromkeys("\u0301\u093f\u094d\u0bbf\u09be\u0651\u200d", "mark"),
}


def by_the_rules(text: str) -> list[str]:
    """UAX 29, table 3a and rules WB4 to WB13b, one pair of neighbours after the other."""
    units: list[tuple[str, str]] = []  # WB4: a character and the marks on it count as one
    for character in text:
        kind = CLASSES.get(character, "other")
        if kind == "mark" and units:
            units[-1] = (units[-1][0] + character, units[-1][1])
        else:
            units.append((character, kind))
    kinds = ["", *(kind for _, kind in units), "", ""]

    def joined(at: int) -> bool:
        """Whether unit `at` goes on in the next one; `kinds` counts from 1."""
        before, a, b, after = kinds[at], kinds[at + 1], kinds[at + 2], kinds[at + 3]
        for own, mid in (("letter", "between letters"), ("digit", "between digits")):
            if a == own and b in (mid, "between both") and after == own:
                return True  # WB6, WB12
            if before == own and a in (mid, "between both") and b == own:
                return True  # WB7, WB11
        return a in ("letter", "digit", "joins") and b in (
            "letter",
            "digit",
            "joins",
        )  # WB5, 8, 9, 10, 13a, 13b

    segments, begun = [], ""
    for at, (unit, _) in enumerate(units):
        begun += unit
        if not joined(at):
            segments.append(begun)
            begun = ""
    return [segment for segment in segments if any(map(str.isalnum, segment))]


LETTERS = [
    "a",
    "b",
    "Z",
    "é",
    "n\u0301",
    "đ",
    "Ж",
    "ω",
    "א",
    "ب\u0651",
    "क\u093f",
    "न\u094d",
    "மி",
    "কা",
    "한",
    "b\u200d",
]
SIGNS = list(" .,:;_-\u2019'\u00b7!?/()\n\t0159٣")


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(LETTERS + SIGNS), max_size=14).map("".join))
@example("3.14 1,000 a.b. a,b 1:2 a:b b.1 1.b .a 1. a' 'a a''a a_.a")
@example("n\u0301\u2019n\u0301 _a_ __ a_b 1_a")
def test_words_are_those_between_unicodes_boundaries(text):
    assert words(text) == by_the_rules(text)


@pytest.mark.parametrize("language", ["id", "vi", "ceb", "en"])
def test_words_of_real_text(language):
    for text in TEXTS[language]:
        assert words(text) == reference(text) and len(words(text)) >= len(text.split()) - 2


def test_apostrophes():
    """The regex package cuts an apostrophe from a vowel behind it (l'objectif); the standard does not."""
    assert words("l\u2019objectif isn't 'quoted' o'clock rock'n'roll") == [
        "l\u2019objectif",
        "isn't",
        "quoted",
        "o'clock",
        "rock'n'roll",
    ]


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_spaces_by_script(language):
    assert has_spaces(TEXTS[language]) == (language not in ("th", "lo", "km", "my", "zh"))


def test_spaces_of_mixed_and_empty_text():
    assert has_spaces([]) and has_spaces(["", "123 ..."])
    assert has_spaces(["한국어는 띄어 쓴다", "हिन्दी में", "Kapal ກ"])
    assert not has_spaces(["これは日本語です。 PC"])
    assert has_spaces(["a" * 100_000, "ກ" * 300_000])  # the beginning decides
