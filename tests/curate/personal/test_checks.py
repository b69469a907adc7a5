"""Check digits against python-stdnum, over drawn numbers of which about half are right."""

import random
import string

import pytest
import stdnum.cn.ric
import stdnum.iban
import stdnum.id.nik
import stdnum.luhn
import stdnum.my.nric
import stdnum.th.pin
import stdnum.us.ssn

from pinisi.curate.personal import checks

DRAWS = 3000


def digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices(string.digits, k=count))


def birthday(draw: random.Random) -> str:
    return f"{draw.randrange(100):02d}{draw.randrange(14):02d}{draw.randrange(33):02d}"


def china(draw: random.Random) -> str:
    number = f"11010{draw.randrange(1, 6)}{draw.choice(['19', '20'])}{birthday(draw)}{digits(draw, 3)}"
    return number + (stdnum.cn.ric.calc_check_digit(number) if draw.random() < 0.5 else digits(draw, 1))


def thai(draw: random.Random) -> str:
    number = digits(draw, 12)
    return number + (stdnum.th.pin.calc_check_digit(number) if draw.random() < 0.5 else digits(draw, 1))


def iban(draw: random.Random) -> str:
    country = draw.choice(["GB", "DE", "FR", "NL", "SA", "TR", "XX"])
    length = {"GB": 22, "DE": 22, "FR": 27, "NL": 18, "SA": 24, "TR": 26, "XX": 20}[country]
    account = digits(draw, length - 4 - 4 * (country in ("GB", "NL")))
    account = "".join(draw.choices(string.ascii_uppercase, k=4)) * (country in ("GB", "NL")) + account
    right = stdnum.iban.calc_check_digits(f"{country}00{account}")
    return f"{country}{right if draw.random() < 0.5 else digits(draw, 2)}{account}"


def china_is_right(number: str) -> bool:
    """stdnum also wants a region that was there in the year."""
    try:
        stdnum.cn.ric.get_birth_date(number)
    except ValueError:
        return False
    return stdnum.cn.ric.calc_check_digit(number) == number[-1]


def iban_is_right(number: str) -> bool:
    """stdnum takes check digits that can't come out."""
    given = number[:2] != "XX" and number[2:4] not in ("00", "01", "99")
    return given and stdnum.iban.is_valid(number, check_country=False)


CASES = {
    "luhn": (lambda draw: digits(draw, draw.randrange(12, 20)), checks.luhn, stdnum.luhn.is_valid),
    "china": (china, checks.china, china_is_right),
    "thai": (thai, checks.thai, stdnum.th.pin.is_valid),
    "iban": (iban, checks.iban, iban_is_right),
    "ssn": (
        lambda draw: draw.choice(["", "666", "9", "000"]) + digits(draw, 9),
        checks.ssn,
        stdnum.us.ssn.is_valid,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_checks_agree_with_stdnum(name):
    make, ours, theirs = CASES[name]
    draw, right = random.Random(name), 0
    for _ in range(DRAWS):
        number = make(draw)[:9] if name == "ssn" else make(draw)
        expected = theirs(number)
        if number in ("078051120", "457555462", "219099999"):  # printed in advertisements
            continue
        assert ours(number) == expected, number
        right += expected
    assert 0.02 * DRAWS < right < 0.98 * DRAWS


def test_dates_and_places_agree_with_stdnum():
    """stdnum also knows each regency, so that what it takes is right by us, and of another province or date neither takes it."""
    draw, both = random.Random(3), 0
    for _ in range(40 * DRAWS):
        day, place = birthday(draw), f"{draw.randrange(10, 100)}{draw.randrange(1, 100):02d}"
        nik = f"{place}{draw.randrange(1, 100):02d}{day[4:]}{day[2:4]}{day[:2]}{draw.randrange(1, 10000):04d}"
        if stdnum.id.nik.is_valid(nik):
            both += 1
            assert checks.nik(nik), nik
    assert both > 100
    for _ in range(DRAWS):
        mykad = birthday(draw) + digits(draw, 2) + f"{draw.randrange(1, 10000):04d}"
        assert checks.mykad(mykad) == stdnum.my.nric.is_valid(mykad), mykad


@pytest.mark.parametrize("number", ["S1234567D", "T1234567J", "F1234567N", "G1234567X", "M1234567K"])
def test_singapores_letters(number):
    """Numbers that Singapore's agencies print in their examples; no other letter is right."""
    assert [letter for letter in string.ascii_uppercase if checks.singapore(number[:8] + letter)] == [
        number[8]
    ]


def test_cards():
    """The test numbers that payment services publish."""
    for number in ("4111111111111111", "5555555555554444", "2223003122003222", "378282246310005", "6011111111111117",
                   "3530111333300000", "30569309025904", "6200000000000005"):  # fmt: skip
        assert checks.card(number)
        assert not checks.card(number[:-1] + str((int(number[-1]) + 1) % 10))
    assert not checks.card("1111111111111117") and not checks.card("0000000000000000")
