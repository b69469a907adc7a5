"""Measures against plain Python on drawn texts; limits from a preset, a pack and a configuration; the first broken rule."""

import itertools
import math
import random
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pinisi.curate.flagged import Flagged
from pinisi.curate.measures import ORDER, Text, measures
from pinisi.curate.rules import SAILCRAFT, WIDE, limits_of, loosened, verdict


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
    return Text(text, Plain(**pack), probability, Flagged((word,) for word in flagged))


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
    """Of stretches of so many words, the last of which are the text's last; of a shorter text less than its own."""
    if len(words) < width:
        return len(set(words)) / len(words) * (max(5, len(words)) / width) ** 0.4 if words else 1.0
    stretches = [words[at : at + width] for at in range(0, len(words) - width, width)] + [words[-width:]]
    return sum(len(set(part)) / width for part in stretches) / len(stretches)


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
            sum(w in ("the", "of") for w in own) / len(own) if len(own) >= 100 else 1.0
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
    assert of[0] < WIDE[segmentation]["variety"] < of[1] / 2
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
    pack = Plain(language="lo", segmentation="characters", limits={"special": 0.7})
    assert limits_of(pack, "sailcraft", {}, []) == SAILCRAFT["lo"]
    assert limits_of(pack, "wide", {}, []) == {**WIDE["characters"], "special": 0.7}
    own = {"all": {"words": 7.0, "special": 0.2}, "lo": {"words": 9.0}, "th": {"words": 1.0}}
    found = limits_of(pack, "wide", own, ["variety"])
    assert found["words"] == 9.0 and found["special"] == 0.2 and "variety" not in found
    assert limits_of(Plain(language="war"), "sailcraft", {}, []) == WIDE["spaces"]


def test_a_models_surprise_and_the_edge_of_a_packs_own_text_are_no_limits():
    """They were: a pack made of help pages then dropped nearly all Khmer, Chinese and English news."""
    for limits in WIDE.values():
        assert not {"bits", "character_repetition"} & limits.keys()
    draw = random.Random(5)
    vocabulary = ["".join(draw.choices("abcdefgh", k=6)) for _ in range(500)] + ["the", "of"] * 40
    plain = [text_of(" ".join(draw.choices(vocabulary, k=draw.randrange(100, 300)))) for _ in range(200)]
    assert loosened(plain) == {}  # text with no signs, much variety, many stop words tightens nothing
    assert loosened([]) == loosened(plain[:5]) == {}


def test_a_language_that_needs_wider_limits_gets_them():
    draw = random.Random(5)
    vocabulary = [f"ʔ{n}·'{n}-{n}" for n in range(50)]  # signs within words, as in some orthographies
    texts = [text_of(" ".join(draw.choices(vocabulary, k=draw.randrange(150, 300)))) for _ in range(100)]
    limits = {**WIDE["spaces"], **loosened(texts)}
    assert limits["special"] > 0.75 and limits["stop_words"] == 0.0
    assert sum(verdict(text, limits) is not None for text in texts) <= 1
    junk = [text_of("w1 w2 w3 w4 w5 w6 " * 40), text_of("12 13 14 15 " * 30), text_of("w7")]
    assert all(verdict(text, limits) is not None for text in junk)


def test_the_times_of_subtitles_are_no_signs():
    lines = [f"{n}\n00:00:0{n},000 --> 00:00:0{n},900 align:start\n你确定是这条路吗？" for n in range(1, 9)]
    plain = "\n".join(["你确定是这条路吗？"] * 8)
    for text in ("\n\n".join(lines), "\n\n".join(lines).replace(",", ".")):
        assert measures(text_of(text))["special"] == pytest.approx(measures(text_of(plain))["special"])
    assert measures(text_of("1 --> 2 " * 30 + "\na"))["special"] > 0.9  # arrows that are no times


def test_repetition_variety_and_signs_of_junk_lie_beyond_the_limits():
    draw = random.Random(3)
    entries = ["".join(draw.choices("abcdefghijkl", k=6)) for _ in range(200)]
    junk = {
        "word_repetition": "kapal layar tiang laut angin ombak " * 30,
        "variety": " ".join(" ".join(draw.sample(entries[:20], 3)) for _ in range(100)),
        "special": "\n".join(f"| {draw.choice(entries)} {n} » 12/03/2015 $ {n}.45 »»»" for n in range(30)),
        "stop_words": " ".join(entries),
        "words": "Beranda",
    }
    for rule, text in junk.items():
        assert verdict(text_of(text), WIDE["spaces"]).rule == rule
