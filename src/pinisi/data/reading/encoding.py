"""Turns the bytes of a page or file into text, by what they say of their encoding and by what they hold.

Order of trust: a byte order mark; UTF-8 that is without fault; the encoding declared by the HTTP header, by <meta> or
by an XML declaration; what a detector finds. A declaration that leaves too many bytes without a character is wrong.
"""

import codecs
import re
import unicodedata

from pinisi.base.errors import DataError
from pinisi.base.libraries import library

SPOILT = 0.1  # share of the characters beyond ASCII that an encoding may fail to give: more, and it is the wrong one
SCANNED = 4096  # bytes in which a declaration stands; HTML asks for 1024, and pages are late
META = re.compile(rb"""<meta\s[^>]*?charset\s*=\s*["']?\s*([\w.:+-]+)""", re.IGNORECASE)
XML = re.compile(rb"""^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:+-]+)""", re.IGNORECASE)
HEADER = re.compile(r"""charset\s*=\s*["']?\s*([\w.:+-]+)""", re.IGNORECASE)
UNSEEN = re.compile(rb"<(script|style)\b.*?</\1|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)
# Encodings that hold all of another and that pages mean when they name the other.
LARGER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "tis-620": "cp874",
    "iso8859-11": "cp874",
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
}
LATIN = ("cp1252", "cp1254")  # what servers say when nobody told them; almost any bytes are text in them
CONTROLS = bytes({*range(0x20)} - {*b"\t\n\r\f\x1b"})
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class NoText(DataError):
    """What holds no text that can be read, and why."""


def decoded(data: bytes, header: str = "") -> str:
    """The text of a page or file. header: an HTTP Content-Type, "" where there is none.

    Bytes that no character stands for become U+FFFD. Raises NoText where that would be more than a tenth.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return _text(data[len(mark) :], name)
    wide = _wide(data)
    if not wide and len(data) - len(data.translate(None, CONTROLS)) > len(data) // 100:
        raise NoText("bytes of no encoding of text (many are control characters)")
    if not wide and _is_utf8(data):
        return data.decode("utf-8")
    tried: dict[str, float] = {}
    for name in [wide] if wide else _candidates(data, header):
        if name and name not in tried:
            text = _text(data, name)
            tried[name] = _spoilt(text)
            if tried[name] <= SPOILT:
                return text
    found = ", ".join(f"{name} {share:.0%}" for name, share in tried.items())
    raise NoText(f"no encoding fits (bytes without a character: {found})")


def _candidates(data: bytes, header: str) -> list[str]:
    if data.isascii() and b"\x1b" not in data:
        return ["utf-8"]
    found = HEADER.search(header)
    meta, xml = META.search(data[:SCANNED]), XML.search(data[:SCANNED])
    declared = [
        _known(found.group(1)) if found else "",
        *(_known(each.group(1).decode("ascii")) if each else "" for each in (xml, meta)),
    ]
    declared = [
        name for name in declared if name and not name.startswith("utf-16")
    ]  # its bytes would be wide
    detected = _detected(data)
    if detected and declared and all(name in LATIN for name in declared) and not detected.startswith("cp125"):
        declared = [detected, *declared]
    return [*declared, detected, "utf-8", "cp1252"]


def _known(label: str) -> str:
    """Python's name of an encoding, the largest of its family; "" where there is none."""
    try:
        name = codecs.lookup(label.lower().removeprefix("x-")).name
    except LookupError:
        html5 = library("resiliparse.parse.encoding").map_encoding_to_html5(label, False)
        if not html5:
            return ""
        name = codecs.lookup(html5).name
    name = LARGER.get(name, name)
    try:
        b"a".decode(name)  # Python has codecs that aren't of text
    except (LookupError, UnicodeError):
        return ""
    return name


def _detected(data: bytes) -> str:
    """What the bytes beyond tags look like."""
    seen = UNSEEN.sub(b" ", data)
    label = library("resiliparse.parse.encoding").detect_encoding(seen, html5_compatible=False)
    return _known(label) if label else ""


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8 without fault: other encodings' text hardly ever is by chance."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not data.isascii()


def _wide(data: bytes) -> str:
    """UTF-16 without a mark: every other byte of its markup is 0."""
    sample = data[:SCANNED]
    half = len(sample) // 2
    even, odd = (sample[start::2].count(0) for start in (0, 1))
    if odd > half * 0.4 and even < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > half * 0.4 and odd < half * 0.1 else ""


def _text(data: bytes, name: str) -> str:
    text = data.decode(name, "replace")
    # Vietnamese letters with tones are two characters there, and one everywhere else
    return unicodedata.normalize("NFC", text) if name == "cp1258" else text


def _spoilt(text: str) -> float:
    """Share of characters beyond ASCII that stand for nothing."""
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    if not beyond:
        return 0.0
    return sum(text.count(chr(code)) for code in (0xFFFD, *range(0x80, 0xA0))) / beyond
