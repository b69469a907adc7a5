"""Measures against plain Python on drawn texts; limits from a preset, a pack and a configuration; the first broken rule."""

import itertools
import math
import random
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pinisi.curate.rules import LEAST_VARIETY, ORDER, SAILCRAFT, Text, fitted, limits_of, measures, verdict


@dataclass
class Plain:
    language: str = "en"
    segmentation: str = "spaces"
    stop_words: frozenset = frozenset({"the", "of"})
    limits: dict = field(default_factory=dict)

    def words(self, text):
        return text.lower().split() if self.segmentation == "spaces" else [c for c in text if not c.isspace()]

    def bits_per_character(self, text):
        return 2.0


def text_of(text, probability=1.0, flagged=(), **pack):
    return Text(text, Plain(**pack), probability, frozenset(flagged))


def repeated_characters(text, width):
    counts = sorted(
        Counter(text[at : at + width] for at in range(len(text) - width + 1)).values(), reverse=True
    )
    top = min(int(math.sqrt(len(counts))), sum(count > 1 for count in counts))
    return sum(counts[:top]) / sum(counts) if counts else 0.0


def repeated_words(words, width):
    counts = Counter(tuple(words[at : at + width]) for at in range(len(words) - width + 1))
    total = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / total if total else 0.0


def variety(words, width):
    """Of stretches of so many words; what is left behind the last joins no other if it is half of one or less."""
    stretches = [words[at : at + width] for at in range(0, len(words), width)]
    if len(stretches) > 1 and len(stretches[-1]) <= width // 2:
        stretches.pop()
    return sum(len(set(part)) / len(part) for part in stretches) / len(stretches) if words else 1.0


def between_signs(text):
    """What stands between spaces and signs."""
    groups = itertools.groupby(text, lambda c: unicodedata.category(c)[0] in "LM" or c.isdigit())
    return ["".join(group) for letters, group in groups if letters]


@pytest.mark.parametrize("seed", range(20))
def test_measures_are_those_of_plain_python(seed):
    draw = random.Random(seed)
    words = ["the", "of", "kata", "ภาษา", "កម្ពុជា", "x1", "—", "314", "\U0001f600", "e\u0301"]
    text = " ".join(draw.choices(words[: draw.randrange(1, 11)], k=draw.randrange(0, 520)))
    for language, segmentation, width, grams in (
        ("en", "spaces", 10, 5),
        ("th", "characters", 10, 10),
        ("zh", "characters", 3, 10),
    ):
        of = text_of(text, 0.75, {"kata"}, language=language, segmentation=segmentation)
        found = measures(of)
        own = of.pack.words(text)
        assert found["words"] == len(own)
        assert found["character_repetition"] == pytest.approx(repeated_characters(text, width))
        assert found["word_repetition"] == pytest.approx(repeated_words(own, grams))
        seen = [c for c in text if not c.isspace()]
        other = sum(unicodedata.category(c)[0] not in "LM" for c in seen)
        assert found["special"] == pytest.approx(other / len(seen) if seen else 1.0)
        assert found["stop_words"] == pytest.approx(
            sum(w in ("the", "of") for w in own) / len(own) if own else 0.0
        )
        assert found["flagged"] == pytest.approx(sum(w == "kata" for w in own) / len(own) if own else 0.0)
        units = own if segmentation == "spaces" else between_signs(text)
        assert found["variety"] == pytest.approx(variety(units, 200))
        assert found["language"] == 0.75


@pytest.mark.parametrize(
    "script", ["一二三四五六七八九十百千", "กขคงจฉชซญฐดต", "កខគឃងចឆជឈញដឋ", "abcdefghijkl"]
)
def test_lists_of_search_words_have_less_variety_than_running_text_in_any_script(script):
    draw = random.Random(script)
    segmentation = "spaces" if script.isascii() else "characters"
    entries = ["".join(draw.choices(script, k=draw.randrange(3, 9))) for _ in range(300)]
    of_few, of_many = (" ".join(draw.choices(entries[:count], k=300)) for count in (15, 300))
    of = [measures(text_of(text, segmentation=segmentation))["variety"] for text in (of_few, of_many)]
    assert of[0] < LEAST_VARIETY < of[1] / 2
    if segmentation == "characters":  # a space of no width says where words end, in some texts
        parted = of_many.translate({ord(letter): f"{letter}\u200b" for letter in script})
        assert measures(text_of(parted, segmentation=segmentation))["variety"] == of[1]


def test_the_first_broken_rule_in_order():
    text = text_of("the cat sat on the mat !!! ???")
    found = measures(text)
    assert verdict(text, {}) is None
    assert verdict(text, {name: found[name] for name in ORDER}) is None  # a limit itself is kept
    broken = {"special": found["special"] - 0.01, "words": found["words"] + 1, "bits": 1.0}
    assert verdict(text, broken) == ("words", found["words"], found["words"] + 1)
    assert verdict(text, {"special": broken["special"], "bits": 1.0}).rule == "special"
    assert verdict(text, {"bits": 1.0, "language": 0.9}).rule == "bits"


def test_where_limits_come_from():
    pack = Plain(language="lo", limits={"words": 3.0, "bits": 4.0})
    assert limits_of(pack, "sailcraft", {}, []) == SAILCRAFT["lo"]
    fit = limits_of(pack, "fitted", {}, [])
    assert fit["words"] == 3.0 and fit["bits"] == 4.0 and "language" in fit
    own = {"all": {"words": 7.0, "special": 0.2}, "lo": {"words": 9.0}, "th": {"words": 1.0}}
    found = limits_of(pack, "fitted", own, ["bits"])
    assert found["words"] == 9.0 and found["special"] == 0.2 and "bits" not in found
    assert limits_of(Plain(language="war", limits={"words": 5.0}), "sailcraft", {}, [])["words"] == 5.0


def test_fitted_limits_keep_what_they_were_fitted_to():
    draw = random.Random(5)
    vocabulary = [f"w{n}" for n in range(500)] + ["the", "of"] * 40
    texts = [text_of(" ".join(draw.choices(vocabulary, k=draw.randrange(30, 300)))) for _ in range(200)]
    limits = fitted(texts)
    assert sum(verdict(text, limits) is not None for text in texts) <= 2
    junk = [text_of("w1 w2 w3 w4 w5 w6 " * 40), text_of("| 12 | 13 | 14 | 15 | " * 30), text_of("w7")]
    assert all(verdict(text, limits) is not None for text in junk)
    assert fitted([]) == {}


@pytest.mark.parametrize("segmentation", ["spaces", "characters"])
def test_few_texts_that_differ_much_leave_the_least_variety(segmentation):
    """Otherwise their tail reaches so far down that no list of search words is below."""
    draw = random.Random(2)
    entries = [f"一{chr(0x4E00 + n)}" for n in range(400)]
    texts = [
        text_of(" ".join(draw.choices(entries[:n], k=200)), segmentation=segmentation) for n in (40, 90, 400)
    ]
    assert fitted(texts)["variety"] == LEAST_VARIETY
