"""Bounds of sentences and lines against marked texts, and the signs against Unicode's own list."""

import time

import pytest

from pinisi.data.text.sentences import STRONG, WEAK, bounds

# `|` stands where white space between sentences or lines begins and ends; the text's ends are bounds without a mark.
MARKED = [
    "Kapal itu berlayar.| |Layarnya tujuh!| |Siapa nakhodanya?| |Entah…| |Besok pulang.",
    'He said: "We sail."| |She stayed (for now.)| |And so on.',
    "Dr. Smith met Mr. J. Brown at St. Mary on Jl. Sudirman No. 5, e.g. on 3. May, vol. 2 of the U.S. Navy.",
    "The PT. Maju office, i.e. the old one, costs Rp. 5.000 or 3.5 percent.| |Cheap!",
    "It rose by 12%.| |In 2016.| |Then it fell to 2.5. so they said.",
    "It was us vs. Germany on jl. Sudirman, see vol. Two and hlm. Akhir.",
    "Bahan:\n\nTepung|\n\n|Gula,\n\nGaram",
    "One item of it\n    Under it\n\tAnd more|\n|Two",
    "1. Cut the wood. 2. Bend it.",
    "What? he said.| |Wait... so.| |Wait...| |Now.",
    "Tàu rời bến hôm qua.| |Hôm nay tàu về.",
    "人人生而自由。||他说：“走吧。”他走了！||真的吗？|\n|好。",
    "ក្មេងទៅសាលា។| |គាត់អានសៀវភៅ ក្រដាស ។ល។ ហើយគាត់ទៅ៕| |ចប់",
    "သူလာသည်။| |သူမပြန်ပါ။||နောက်နေ့",
    "राम आया।| |वह गया॥| |फिर",
    "ذهب الولد؟| |عاد.",
    "เด็กชายเดินทางไปโรงเรียนทุกวันตอนเช้า| |เด็กหญิงอยู่บ้านช่วยแม่ทำงานตลอดวัน",
    "เด็กชายเดินทางไปโรงเรียนทุกวันตอนเช้า และเด็กหญิงอยู่บ้านช่วยแม่ทำงานตลอดวัน",  # and
    "พ่อของเด็กชายคนนั้นบอกกับเราทุกคนว่า เด็กหญิงอยู่บ้านช่วยแม่ทำงานตลอดวัน",  # that
    "เด็กชาย ข้าว เด็กหญิงอยู่บ้านช่วยแม่ทำงานตลอดวัน 20 คน พ.ศ. 2560",
    "ເດັກຊາຍຍ່າງໄປໂຮງຮຽນທຸກມື້ຕອນເຊົ້າ| |ແມ່ຢູ່ເຮືອນເຮັດວຽກໝົດທັງມື້ບໍ່ໄດ້ພັກຜ່ອນ",
    "Berita|\n|Layar baru|\n\n|Kapal itu\nberlayar,\nPak Amir ikut.",
    "Judul|\n|Isi berita.|\n|isi lagi",
    "Bahan:\nTepung|\n|Gula",
    "This line was broken at a fixed width, as mails and old\nBooks have it, and goes on in the next one without a\nSign.",
    "A heading of a chapter that is as long as some lines that are broken are|\n|It is followed by one that was not broken, since "
    "it is as long as what the writer had to say, and more than any page is wide.",
    "def run():\n    go()\n    stay()",
    "a.b is no end",
    "Is it ?| |Yes .| |No",
    "",
    "Satu",
]


def split(marked: str) -> tuple[str, set[int]]:
    text, places = "", set()
    for part in marked.split("|"):
        text += part
        places.add(len(text))
    return text, places | {0, len(text)}


@pytest.mark.parametrize("marked", MARKED)
def test_bounds_are_where_a_reader_sees_them(marked):
    text, places = split(marked)
    found = {at for at, safe in enumerate(bounds(text)) if safe}
    shown = "".join(
        ("|" if at in found and 0 < at < len(text) else "") + sign for at, sign in enumerate(text)
    )
    assert found == places, shown


def test_signs_are_unicodes():
    regex = pytest.importorskip("regex")
    terminal = regex.compile(r"\p{Sentence_Terminal}")
    for sign in set(STRONG + WEAK) - set("…༎๚๛៚"):  # signs of ends of sections, and one that may end nothing
        assert terminal.match(sign), sign


def test_long_texts_take_linear_time():
    for unit in (" ", "\n", ".", ". ", "a", "aA. ", "ก ", ".)", "a\n", "a \n ", "。"):
        start = time.process_time()
        bounds(unit * 1000)
        small = time.process_time() - start
        start = time.process_time()
        bounds(unit * 100_000)
        assert time.process_time() - start < 400 * small + 0.5, unit
