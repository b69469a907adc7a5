"""Finds identity, tax and social security numbers, by country.

A number whose form and check say enough is found alone; one that is but a row of digits only behind a label such as "NIK:".
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from pinisi.curate.personal import checks
from pinisi.curate.personal.folded import labelled, labels


class Identity(NamedTuple):
    """Numbers of one form. alone: found without a label (True), or in texts of this language."""

    country: str
    form: re.Pattern[str]
    check: Callable[[str], bool]
    alone: bool | str
    label: re.Pattern[str] = labels("id")


def _form(form: str) -> re.Pattern[str]:
    """Nothing that could belong to the number stands before or behind. Letters of scripts without spaces may."""
    return re.compile(rf"(?<![A-Za-z0-9_.,+/-])(?:{form})(?![A-Za-z0-9_/]|-\d|[.,]\d)")


_CARDS = (
    "id",
    "id card",
    "id no",
    "id number",
    "national id",
    "identity card",
    "identification number",
    "personal id",
)
_ID = labels("nik", "ktp", "no ktp", "e-ktp", "nomor induk kependudukan", "no. ktp", "nomor ktp", *_CARDS)
_NPWP = labels("npwp", "nomor pokok wajib pajak")
_VN = labels(
    "cccd",
    "cmnd",
    "cmt",
    "căn cước",
    "căn cước công dân",
    "chứng minh nhân dân",
    "chứng minh thư",
    "mã số thuế",
    *_CARDS,
)
_TH = labels("บัตรประชาชน", "ประจำตัวประชาชน", "เลขบัตร", "เลขที่บัตร", "เลขประจำตัว", "บัตร ปชช.", *_CARDS)
_MY = labels("ic", "nric", "mykad", "no. kp", "no kp", "kad pengenalan", "no. kad pengenalan", *_CARDS)
_PH = labels(
    "sss", "tin", "philsys", "psn", "pcn", "philhealth", "crn", "umid", "gsis", "sss no", "tin no", *_CARDS
)
_KH = labels("អត្តសញ្ញាណប័ណ្ណ", "អត្តសញ្ញាណបណ្ណ", "អត្តលេខ", *_CARDS)
_LA = labels("ບັດປະຈຳຕົວ", "ບັດປະຈໍາຕົວ", "ປຶ້ມສຳມະໂນຄົວ", *_CARDS)
_CN = labels("身份证", "身份证号", "身份证号码", "公民身份号码", "證件號碼", "证件号码")
_SSN = labels("ssn", "social security", "social security number", "social security no", "itin", "tax id")

_NRC_LATIN = r"(?:1[0-4]|[1-9])/ ?[A-Za-z]{3,12} ?\([A-Za-z]{1,6}\) ?\d{6}"
_NRC_BURMESE = r"(?:1[0-4]|[1-9])/ ?[\u1000-\u109f]{2,24} ?\([\u1000-\u109f]{2,8}\) ?\d{6}"

IDENTITIES = (
    Identity("id", _form(r"\d{16}|\d{4}([ .-])\d{4}\1\d{4}\1\d{4}|\d{6}([ .-])\d{6}\2\d{4}"), checks.nik, True),
    Identity("id", _form(r"\d\d\.\d{3}\.\d{3}\.\d-\d{3}\.\d{3}"), checks.not_zero, True),
    Identity("id", _form(r"\d{15,16}"), checks.not_zero, False, _NPWP),
    Identity("id", _form(r"\d{16}"), checks.not_zero, False, _ID),
    Identity("vn", _form(r"0\d{11}|0\d{2} \d{3} \d{3} \d{3}|0\d{3} \d{4} \d{4}"), checks.cccd, "vi"),
    Identity("vn", _form(r"\d{9,10}|\d{12}|\d{3} \d{3} \d{3}"), checks.not_zero, False, _VN),
    Identity("th", _form(r"\d([ -])\d{4}\1\d{5}\1\d{2}\1\d"), checks.thai, True),
    Identity("th", _form(r"\d{13}"), checks.thai, False, _TH),
    Identity("my", _form(r"\d{6}-\d{2}-\d{4}"), checks.mykad, True),
    Identity("my", _form(r"\d{12}|\d{6} \d{2} \d{4}"), checks.mykad, False, _MY),
    Identity("mm", _form(_NRC_LATIN), checks.not_zero, True),
    Identity("mm", _form(_NRC_BURMESE), checks.not_zero, True),
    Identity("ph", _form(r"\d{2}-\d{7}-\d"), checks.not_zero, True),
    Identity("ph", _form(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}-\d{7}-\d|\d{3}([ -])\d{3}\2\d{3}(?:\2\d{3,5})?"),
             checks.not_zero, False, _PH),
    Identity("ph", _form(r"\d{9,10}|\d{12}|\d{14}|\d{16}"), checks.not_zero, False, _PH),
    Identity("kh", _form(r"\d{9}(?: ?\(\d{2}\))?|\d{3} \d{3} \d{3}"), checks.not_zero, False, _KH),
    Identity("la", _form(r"\d{2}-\d{6,10}|\d{7,12}"), checks.not_zero, False, _LA),
    Identity("cn", _form(r"\d{17}[0-9Xx]"), lambda number: checks.china(number.upper()), True),
    Identity("cn", _form(r"\d{15}"), lambda number: checks.short_date(number[6:8], number[8:10], number[10:12]), False, _CN),
    Identity("sg", _form(r"[STFGM]\d{7}[A-Z]"), checks.singapore, True),
    Identity("us", _form(r"\d{3}-\d{2}-\d{4}"), checks.ssn, True),
    Identity("us", _form(r"\d{9}|\d{3} \d{2} \d{4}"), checks.ssn, False, _SSN),
)  # fmt: skip
COUNTRIES = tuple(dict.fromkeys(identity.country for identity in IDENTITIES))
_DIGITS = re.compile(r"\d{3}")  # every number of all has three in a row
_SEPARATORS = re.compile(r"[ .-]")


def identities(text: str, language: str, countries: Iterable[str]) -> Iterator[tuple[int, int]]:
    """(start, end) of each identity number of a folded text; some more than once."""
    if not _DIGITS.search(text):
        return
    wanted = set(countries)
    for identity in IDENTITIES:
        if identity.country not in wanted:
            continue
        for found in identity.form.finditer(text):
            if identity.check(_SEPARATORS.sub("", found[0])) and (
                identity.alone in (True, language) or labelled(text, found.start(), identity.label)
            ):
                yield found.start(), found.end()
