"""Checks numbers: check digits and dates of birth, of strings of ASCII digits and letters without separators."""

import calendar


def luhn(number: str) -> bool:
    """Checks the last digit by ISO/IEC 7812-1 (annex B)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban(number: str) -> bool:
    """Checks by ISO 13616: the country's length, and remainder 1 by 97."""
    if len(number) != IBAN_LENGTHS.get(number[:2]) or not 2 <= int(number[2:4]) <= 98:
        return False
    return int("".join(str(int(sign, 36)) for sign in number[4:] + number[:4])) % 97 == 1


def card(number: str) -> bool:
    """Checks a payment card: the issuer's first digits with their length (ISO/IEC 7812), and Luhn's digit."""
    four, length = int(number[:4]), len(number)
    if number[0] == "4" or 5100 <= four < 5600 or 2221 <= four <= 2720 or 3528 <= four < 3590:
        fits = length == 16
    elif number[:2] in ("34", "37"):
        fits = length == 15
    elif number[:2] == "62":
        fits = 16 <= length <= 19
    elif number[:2] == "36" or 3000 <= four < 3060:
        fits = length == 14
    else:
        fits = (four == 6011 or number[:2] == "65" or 6440 <= four < 6500) and length == 16
    return fits and luhn(number)


def date(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def short_date(year: str, month: str, day: str) -> bool:
    """Checks a date whose century is not said: 29 February where one of both centuries has it."""
    return any(date(century + int(year), int(month), int(day)) for century in (1900, 2000))


def nik(number: str) -> bool:
    """Checks an Indonesian NIK: province, regency, district, date of birth (a woman's day is 40 more), serial number."""
    day = int(number[6:8])
    return (
        int(number[:2]) in PROVINCES
        and number[2:4] != "00"
        and number[4:6] != "00"
        and number[12:] != "0000"
        and short_date(number[10:12], number[8:10], str(day - 40 if day > 40 else day))
    )


def cccd(number: str) -> bool:
    """Checks a Vietnamese citizen's number: province 001 to 096 and a century of birth that is past or now."""
    return 1 <= int(number[:3]) <= 96 and number[3] in "0123" and number[6:] != "000000"


def thai(number: str) -> bool:
    """Checks the last of 13 digits: 11 less the remainder by 11 of the others with weights 13 to 2."""
    total = sum(int(digit) * (13 - place) for place, digit in enumerate(number[:12]))
    return number[0] in "12345678" and (11 - total % 11) % 10 == int(number[12])


def mykad(number: str) -> bool:
    """Checks a Malaysian MyKad: date and place of birth."""
    return (
        short_date(number[:2], number[2:4], number[4:6])
        and int(number[6:8]) in PLACES
        and number[8:] != "0000"
    )


def china(number: str) -> bool:
    """Checks 18 characters by GB 11643: region, date of birth and the remainder by 11 (ISO 7064, MOD 11-2)."""
    if number[0] not in "123456789" or not 1800 <= int(number[6:10]) < 2100:
        return False
    if not date(int(number[6:10]), int(number[10:12]), int(number[12:14])):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17]


def singapore(number: str) -> bool:
    """Checks the letter of an NRIC or FIN, which the digits give with weights 2, 7, 6, 5, 4, 3, 2."""
    first, digits, last = number[0], number[1:8], number[8]
    if digits == "0000000":
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits, (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(first, 0)
    if first in "ST":
        return "JZIHGFEDCBA"[total % 11] == last
    return ("KLJNPQRTUWX" if first == "M" else "XWUTRQPNMLK")[
        total % 11 if first != "M" else 10 - total % 11
    ] == last


def ssn(number: str) -> bool:
    """Checks a number of the United States' social security: no part of it is zero, no area 666 or from 900 on."""
    return (
        number[:3] not in ("000", "666") and number[0] != "9" and number[3:5] != "00" and number[5:] != "0000"
    )


def not_zero(number: str) -> bool:
    return any(sign in "123456789" for sign in number)


PROVINCES = frozenset(
    (*range(11, 22), *range(31, 37), *range(51, 54), *range(61, 66), *range(71, 77), 81, 82, *range(91, 98))
)
PLACES = frozenset(
    (*range(1, 17), *range(21, 69), 71, 72, *range(74, 80), *range(82, 94), 98, 99)
)  # of birth: states, then countries
# Of ISO 13616's registry: countries by the length of their IBAN.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
