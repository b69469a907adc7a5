"""Mending: damage goes, clean text of any script stays as it is."""

import html
import random
import unicodedata

import pytest

from pinisi.curate.repair import repaired

CLEAN = {
    "en": "If a < b and b > c, then AT&T's “quotes” stay — as they are; x <= y.\nSecond line.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. Ấy là đã đủ.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ น้ำ",
    "km": "មនុស្សទាំងអស់\u200bកើតមក\u200bមានសេរីភាព និងសមភាព",
    "my": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်လည်းကောင်း",
    "lo": "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະສະເໝີໜ້າກັນ",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，（并应以兄弟关系的精神相对待）。",
    "fr": "Été, café, «naïve», œuvre, 10 €, À bientôt.",
}


@pytest.mark.parametrize("language", CLEAN)
def test_clean_text_stays(language):
    assert repaired(CLEAN[language]) == (CLEAN[language], [])


@pytest.mark.parametrize("language", [language for language in CLEAN if language not in ("en", "fr")])
@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_utf_8_read_as_another_encoding(language, wrong):
    text = CLEAN[language]
    try:
        damaged = text.encode("utf-8").decode(wrong)
    except UnicodeDecodeError:
        damaged = text.encode("utf-8").decode("latin-1")
    mended, done = repaired(damaged)
    assert mended == text and "encoding" in done


@pytest.mark.parametrize("language", CLEAN)
def test_markup_and_entities(language):
    lines = CLEAN[language].split("\n")
    inside = "".join(f'<p class="a"><b>{html.escape(line)}</b></p>' for line in lines)
    head = "<!-- x --><html><head><title>t</title><style>p{}</style></head>"
    page = f"{head}<body>{inside}<script>if (a<b) {{}}</script></body></html>"
    mended, done = repaired(page)
    assert mended == "\n".join(lines) or mended == "\n\n".join(lines)
    assert "markup" in done
    assert repaired(page, markup=False)[0].startswith("<!--")


def test_control_characters_and_white_space():
    draw = random.Random(3)
    for text in CLEAN.values():
        damaged = "".join(
            c + draw.choice(["", "", "", "\x00", "\x1b", "\ufeff", "\u202e", "\u00ad", "\ud83d"])
            for c in text
        )
        assert repaired(damaged)[0] == text
    assert repaired("a \t\u00a0b \r\n\r\n\r\n\r\n c\u2028d ") == ("a b\n\nc\nd", ["newlines", "space"])


def test_the_result_is_nfc_with_single_spaces():
    draw = random.Random(4)
    alphabet = "aé<>&; \n\u0301\u1ea5\u17d2\u200b\x07Ã©â€œ" + "".join(CLEAN.values())
    for _ in range(300):
        text = "".join(draw.choices(alphabet, k=draw.randrange(60)))
        once = repaired(text)[0]
        assert unicodedata.is_normalized("NFC", once)
        assert "  " not in once and "\n\n\n" not in once and once == once.strip()
