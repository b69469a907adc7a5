"""Fingerprints against a plain loop over strings, and text that differs in nothing but spaces, case and normal form."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest

from pinisi.evaluate import fingerprints
from pinisi.evaluate.fingerprints import Fingerprints, folded, run_hashes

TEXTS = {
    "th": "น้ำท่วมหนักที่สุดในรอบสิบปี ชาวบ้านอพยพขึ้นที่สูง",
    "lo": "ນ້ຳຖ້ວມໜັກທີ່ສຸດໃນຮອບສິບປີ ຊາວບ້ານຍ້າຍຂຶ້ນບ່ອນສູງ",
    "km": "ទឹកជំនន់ធំបំផុតក្នុងរយៈពេលដប់ឆ្នាំ ប្រជាជនផ្លាស់ទីទៅកន្លែងខ្ពស់",
    "my": "ဆယ်နှစ်အတွင်း အကြီးမားဆုံး ရေကြီးမှု ဖြစ်ပွားခဲ့သည်",
    "zh": "十年来最严重的洪水，居民迁往高处避难",
    "vi": "Trận lũ lớn nhất trong mười năm, người dân phải sơ tán lên vùng cao",
    "en": "The worst flood in ten years: people moved to higher ground, 3,000 of them",
}


def plain_runs(text: str) -> list[str]:
    """Runs as strings, of the length that the script of their first letter has, up to the first that the end cuts."""
    found = []
    for start, letter in enumerate(text):
        name = unicodedata.name(letter, "").split(" ")[0]
        if name == "CJK":
            length = fingerprints.LENGTH_HAN
        elif name in ("MYANMAR", "KHMER"):
            length = fingerprints.LENGTH_MARKED
        else:
            length = fingerprints.LENGTH_UNSPACED if name in ("THAI", "LAO") else fingerprints.LENGTH_OTHER
        if start + length > len(text):
            break
        found.append(text[start : start + length])
    return found


def test_hashes_are_equal_where_runs_are_and_nowhere_else() -> None:
    draw = random.Random(0)
    letters = "ab中กမ"
    text = "".join(draw.choice(letters) for _ in range(60)) * 2 + "".join(
        draw.choice(letters) for _ in range(400)
    )
    runs = plain_runs(text)
    hashes = run_hashes(np.frombuffer(text.encode("utf-32-le"), np.uint32)).tolist()
    assert len(hashes) == len(runs)
    assert len(set(runs)) < len(runs)  # some come twice
    by_run = dict(zip(runs, hashes, strict=True))
    assert [by_run[run] for run in runs] == hashes and len(set(hashes)) == len(set(runs))


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_spaces_case_and_normal_form_change_nothing(language: str) -> None:
    text = TEXTS[language]
    plain = Fingerprints(text)
    assert len(plain.windows)
    changed = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    changed += [
        text.upper(),
        text.replace(" ", ""),
        text.replace(" ", " \n\u200b "),
        "\u200b".join(text),
        f"“{text}”.",
    ]
    for other in changed:
        assert np.array_equal(Fingerprints(other).windows, plain.windows), other


def test_thai_and_lao_am_is_one_however_it_is_typed() -> None:
    for texts in (("น้ำ", "นํ้า", "น้ํา"), ("ນ້ຳ", "ນໍ້າ", "ນ້ໍາ")):
        assert len({folded(text).tobytes() for text in texts}) == 1


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_a_text_is_found_wherever_it_stands(language: str) -> None:
    """What windows hold is kept by any text around them; the text's own borders lose nothing."""
    text = TEXTS[language]
    around = Fingerprints(f"Halaman 7: {text}{text[::-1]}").kept()
    assert np.isin(Fingerprints(text).windows, around).all()
    other = Fingerprints(TEXTS["zh" if language != "zh" else "th"]).windows
    assert not np.isin(other, around).any()


def test_a_short_text_has_no_window() -> None:
    assert (
        len(Fingerprints("Ya.").windows)
        == len(Fingerprints("").windows)
        == len(Fingerprints("  \u200b ").windows)
        == 0
    )
    assert Fingerprints("Ya, 12").letters == 4
