"""Drawn numbers that are no one's: prices, dates, hours, statistics, ISBN and barcodes, in sentences of each language."""

import random

import pytest
import stdnum.ean
import stdnum.isbn

from pinisi.curate.personal import find

DRAWS = 1500
SENTENCES = {
    "id": "Nilainya {} menurut laporan itu.",
    "jv": "Regane {} ing pasar.",
    "ms": "Nilainya {} mengikut laporan.",
    "vi": "Giá trị là {} theo báo cáo.",
    "th": "ค่าคือ {} ตามรายงาน",
    "lo": "ຄ່າແມ່ນ {} ຕາມລາຍງານ",
    "km": "តម្លៃគឺ {} តាមរបាយការណ៍",
    "my": "တန်ဖိုးမှာ {} ဖြစ်သည်",
    "tl": "Ang halaga ay {} ayon sa ulat.",
    "zh": "数值是{}，见报告。",
    "en": "The value is {} in the report.",
}


def ean(draw: random.Random) -> str:
    number = (
        draw.choice(["885", "893", "899", "978", "955", "480", "400", "690"]) + f"{draw.randrange(10**9):09d}"
    )
    return number + stdnum.ean.calc_check_digit(number)


def isbn(draw: random.Random) -> str:
    number = f"{draw.randrange(10**9):09d}"
    return number + stdnum.isbn._calc_isbn10_check_digit(number)


def day(draw: random.Random) -> tuple[int, int, int]:
    return draw.randrange(1, 32), draw.randrange(1, 13), draw.randrange(1900, 2035)


def hour(draw: random.Random, sign: str) -> str:
    return f"{draw.randrange(24):02d}{sign}{draw.choice((0, 15, 30, 45)):02d}"


NUMBERS = {
    "thousands by dots": lambda draw: f"{draw.randrange(10 ** draw.randrange(4, 13)):,}".replace(",", "."),
    "thousands by commas": lambda draw: f"{draw.randrange(10 ** draw.randrange(4, 13)):,}.{draw.randrange(100):02d}",
    "thousands by spaces": lambda draw: f"{draw.randrange(10 ** draw.randrange(4, 11)):,}".replace(",", " "),
    "rupiah": lambda draw: f"Rp {draw.randrange(10 ** draw.randrange(4, 12)):,}".replace(",", "."),
    "dong": lambda draw: f"{draw.randrange(10**11, 10**12):,} đồng".replace(",", "."),
    "bare": lambda draw: str(draw.randrange(10 ** draw.randrange(1, 15))),
    "decimal": lambda draw: f"{draw.random() * 10 ** draw.randrange(-4, 5):.{draw.randrange(1, 13)}f}",
    "decimal comma": lambda draw: f"{draw.random():.{draw.randrange(1, 13)}f}".replace(".", ","),
    "date": lambda draw: "{:02d}-{:02d}-{}".format(*day(draw)),
    "date by slashes": lambda draw: "{}/{}/{}".format(*day(draw)),
    "date by dots": lambda draw: "{:02d}.{:02d}.{}".format(*day(draw)),
    "ISO date": lambda draw: "{2}-{1:02d}-{0:02d}".format(*day(draw)),
    "compact date": lambda draw: "{2}{1:02d}{0:02d}".format(*day(draw)),
    "dates": lambda draw: "{:02d}-{:02d}-{} - {:02d}-{:02d}-{}".format(*day(draw), *day(draw)),
    "hours": lambda draw: f"{hour(draw, '.')}-{hour(draw, '.')}",
    "hours apart": lambda draw: f"{hour(draw, ':')} - {hour(draw, ':')}",
    "years": lambda draw: f"{draw.randrange(1800, 2030)}-{draw.randrange(1800, 2030)}",
    "scores": lambda draw: " ".join(f"{draw.randrange(30)}-{draw.randrange(30)}" for _ in range(4)),
    "rows": lambda draw: " ".join(str(draw.randrange(10 ** draw.randrange(1, 5))) for _ in range(6)),
    "ISBN-10": lambda draw: "ISBN " + isbn(draw),
    "ISBN-10 with a sign": lambda draw: "ISBN-10: " + isbn(draw),
    "ISBN-13": lambda draw: (lambda e: f"{e[:3]}-{e[3]}-{e[4:8]}-{e[8:12]}-{e[12]}")(ean(draw)),
    "barcode": ean,
    "place": lambda draw: f"{draw.uniform(-90, 90):.6f}, {draw.uniform(-180, 180):.6f}",
    "version": lambda draw: ".".join(str(draw.randrange(20)) for _ in range(draw.randrange(2, 5))),
    "law": lambda draw: f"No. {draw.randrange(1, 999):03d}/SK/{draw.randrange(1950, 2030)}",
    "ratio": lambda draw: f"{draw.randrange(100)}:{draw.randrange(100)}:{draw.randrange(100)}",
}  # fmt: skip
# Of 1,500. A number of twelve digits in groups by dots may be an IP address as well.
MOST = 6


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_are_no_ones(kind):
    draw, alarms = random.Random(kind), []
    for _ in range(DRAWS):
        language = draw.choice(list(SENTENCES))
        text = SENTENCES[language].format(NUMBERS[kind](draw))
        alarms += [(language, one.kind, text[one.start : one.end]) for one in find(text, language)]
    print(kind, len(alarms), "of", DRAWS)
    assert len(alarms) <= MOST, alarms
