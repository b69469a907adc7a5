"""Finds phone numbers: international ones, and national ones of the countries of the text's language.

Numbers that are free of charge or sold (0800, 1900) are a service's and no person's, and stay. Which numbers a country has comes
from libphonenumber's tables (`phonenumberslite`); what may be one is looked for here, since its own search is slow and takes
dates, prices and times of the day for numbers.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pinisi.base.libraries import library
from pinisi.curate.personal.folded import labelled, labels

PHONE = "+1 202-555-0100"  # 555-0100 to 555-0199 belong to no one in North America
REGIONS = {
    "id": "ID", "jv": "ID", "su": "ID", "ms": "MY SG BN", "vi": "VN", "th": "TH", "lo": "LA", "km": "KH", "my": "MM", "tl": "PH",
    "ceb": "PH", "ilo": "PH", "war": "PH", "zh": "CN", "en": "US PH SG MY",
}  # fmt: skip
FEWEST, MOST = 7, 15  # digits (ITU E.164: 15 at most)

# Digits and separators take turns, so there is one way to read a text, and no backtracking.
_FORM = re.compile(
    r"(?<![A-Za-z0-9_@%=#/$+-])(?<!\d[ .,:])(?:\+ ?)?\(?\+?\d{1,15}(?:(?:\)[ .-]?\(?|[ .-]\(?|\()\d{1,14}){0,6}"
    r"(?![A-Za-z0-9_@%]|[.,:/-]\d| \d)"
)
_LABEL = labels(
    "tel", "telp", "telepon", "telpon", "telefon", "telephone", "phone", "ph", "hp", "hape", "ponsel", "wa", "whatsapp", "mobile",
    "cell", "fax", "faks", "hotline", "call", "call center", "contact", "contact no", "hubungi", "kontak", "no. hp", "no hp", "sms",
    "viber", "zalo", "line", "telegram", "tawag", "tumawag", "telepono", "nomor", "đt", "sđt", "điện thoại", "số điện thoại",
    "di động", "liên hệ", "โทร", "โทรศัพท์", "เบอร์", "มือถือ", "ติดต่อ", "ໂທ", "ໂທລະສັບ", "ເບີ", "ទូរស័ព្ទ", "ទូរសព្ទ", "លេខ", "ဖုန်း",
    "ဆက်သွယ်ရန်", "电话", "手机", "电话号码", "手机号", "联系", "微信", "热线",
)  # fmt: skip
_OTHER = labels("isbn", "isbn-10", "isbn-13", "issn", "ean", "upc", "barcode", "doi", "pmid", "arxiv")
_YEAR = r"(?:1[5-9]|2[05])\d\d"  # 25: of the Buddhist era
_DATE = re.compile(
    rf"\(?(?:\d{{1,2}}([ .-])\d{{1,2}}\1{_YEAR}(?!\d)|{_YEAR}([ .-])\d{{1,2}}\2\d{{1,2}}(?!\d)|{_YEAR}[ -]{_YEAR}(?!\d))"
)


def phones(text: str, language: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each phone number of a folded text in `language`."""
    regions = REGIONS.get(language.partition("-")[0], "").split()
    for found in _FORM.finditer(text):
        written = found[0]
        digits = sum(sign.isdigit() for sign in written)
        if not FEWEST <= digits <= MOST or _DATE.match(written) or labelled(text, found.start(), _OTHER):
            continue
        if "+" in written[:2]:
            known = _is_number(written, "")
        else:
            label = labelled(text, found.start(), _LABEL)
            known = (label or _looks_national(written, digits, language)) and any(
                _is_number(written, region) for region in regions
            )
        if known:
            yield found.start(), found.end()


def _looks_national(written: str, digits: int, language: str) -> bool:
    """Tells a number that needs no label: one with the 0 of national calls, or in a form that nothing else has."""
    groups = re.split(r"[^0-9]+", written.strip("()"))
    separators = set(re.sub(r"[0-9()]", "", written))
    sizes = [len(group) for group in groups]
    if ("." in separators and len(separators) > 1) or (
        len(groups) > 1 and min(sizes[1:]) < 3 and len(groups) < 4
    ):
        return False
    if (groups[0] == "0" and separators == {"."}) or sizes == [5, 4]:
        return False  # a decimal; a post code of the United States
    if written.lstrip("(")[0] == "0":
        return digits >= 9 and written.lstrip("(")[:2] != "00"
    if language == "zh":
        return digits == 11 and written[0] == "1" and sizes in ([11], [3, 4, 4])
    return language == "en" and sizes == [3, 3, 4] and bool(separators - {"."})


@lru_cache(4096)
def _is_number(written: str, region: str) -> bool:
    phonenumbers: Any = library("phonenumbers")
    try:
        number = phonenumbers.parse(written.replace("(0)", ""), region or None)
    except phonenumbers.NumberParseException:
        return False
    valid = (
        phonenumbers.is_valid_number_for_region(number, region)
        if region
        else phonenumbers.is_valid_number(number)
    )
    kinds = phonenumbers.PhoneNumberType
    public = (kinds.TOLL_FREE, kinds.PREMIUM_RATE, kinds.SHARED_COST)
    return valid and number != _placeholder() and phonenumbers.number_type(number) not in public


@lru_cache(1)
def _placeholder() -> Any:
    return library("phonenumbers").parse(PHONE, None)
