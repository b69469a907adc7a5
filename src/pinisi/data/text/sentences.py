"""Finds where whole sentences and lines begin and end, so that what is left of a text after a cut still reads.

It rather misses a bound than invents one: a full stop after an abbreviation, before a number or before a small letter ends
nothing, and a line that goes on with a small letter, or that was broken at a fixed width, is one with the next. Thai and Lao put no
sign behind a sentence but a space, and spaces within it too: there a space between two long phrases counts.
"""

import re
from collections.abc import Iterator

import numpy as np

from pinisi.data.text.segmentation import SOLID, borders, codes, kinds

# Signs that end a sentence whatever stands behind them: of Chinese and Japanese, Khmer, Burmese, Devanagari, Tibetan, Thai,
# Javanese, Balinese, Arabic, Ethiopic, Armenian, Meetei and Ol Chiki (Unicode's Sentence_Terminal, less what parts clauses).
STRONG = "。！？｡．។៕៚။।॥༎๚๛꧉᭟؟۔።፧։꫱᱾᱿"
WEAK = ".!?…‽"  # and signs that do so only before a space
QUOTES = "\"'”’»›」』"
ENDS = re.compile(f"[{STRONG}{WEAK}]+([)\\]）】］{QUOTES}]*)")
OPENERS = "\"'“‘«‹「『(（[【¿¡*_#>-–—• "
BREAK = re.compile(r"(?<![^\S\n])[^\S\n]*\n\s*")
ANNOUNCES = ",;:、，；：،"  # behind one of these a line is not over, nor a paragraph
GOES_ON = ANNOUNCES + "-–—(（&/"  # behind one of these a line is not over
# Short words with a full stop behind them, in small letters; of those with a capital any of four letters or fewer may be one.
ABBREVIATIONS = frozenset((
    "al", "alm", "art", "bdk", "bhd", "ca", "cf", "dr", "ed", "eds", "fig", "hal", "hlm", "hj", "ir", "jl", "jln", "kab", "kec",
    "kel", "km", "mr", "mrs", "no", "nos", "op", "pp", "prof", "rev", "sdn", "sdr", "st", "tel", "tgl", "th", "tn", "ver", "viz",
    "vol", "vs", "yth",
))  # fmt: skip
LONGEST_SHORT = 4  # letters of a word with a capital that may be an abbreviation
WORD = 40  # characters looked at before a full stop
# A line without a sign at its end that is as long as this, in a script with spaces, may be broken at a fixed width, if the next
# word had no room on it.
WRAPPED = range(50, 101)
PHRASE = 30  # characters of Thai or Lao on both sides of a space that may part sentences
SPACED = re.compile(r"(?<=[\u0e00-\u0eff]) +(?=[\u0e00-\u0eff])")
# Words before or behind a space that tie what stands there to the rest: and, or, which, that, by, for, but, of, from, since,
# together with, is, has, can, not; that, is, such as, of.
_BEFORE = (
    "และ หรือ ซึ่ง ที่ โดย เพื่อ แต่ ว่า กับ ตาม ๆ ฯ ของ ใน จาก ด้วย หลัง เพราะ เพียง เนื่อง ถูก ทำให้ จน ทั้ง รวม พร้อม คือ เช่น ได้ จะ ไม่ เป็น มี ก็ "
    "แล้ว อัน อีก ส่วน ต่อ ผู้ เมื่อ ขณะ ให้ ไป มา อยู่ ตั้งแต่ ถึง แทน "
    "ແລະ ຫຼື ຫລື ທີ່ ຊຶ່ງ ເຊິ່ງ ໂດຍ ເພື່ອ ແຕ່ ວ່າ ກັບ ຕາມ ໆ ຯ ຂອງ ໃນ ຈາກ ດ້ວຍ ຫຼັງ ຫລັງ ເພາະ ພຽງ ເນື່ອງ ຖືກ ເຮັດໃຫ້ ຈົນ ທັງ ລວມ ພ້ອມ ຄື ເຊັ່ນ ໄດ້ ຈະ "
    "ບໍ່ ເປັນ ມີ ກໍ ແລ້ວ ອັນ ອີກ ສ່ວນ ຕໍ່ ຜູ້ ນັບແຕ່ ຕັ້ງແຕ່ ເມື່ອ ຂະນະ ໃຫ້ ໄປ ມາ ຢູ່ ເຖິງ ແທນ ຕ້ອງ"
)
_AFTER = (
    "และ หรือ ที่ ซึ่ง ว่า คือ เช่น ได้แก่ โดย กับ ของ ใน จาก แต่ เพราะ "
    "ແລະ ຫຼື ຫລື ທີ່ ຊຶ່ງ ເຊິ່ງ ວ່າ ຄື ເຊັ່ນ ໄດ້ແກ່ ໂດຍ ກັບ ຂອງ ໃນ ຈາກ ແຕ່ ເພາະ"
)
BEFORE_TIES, AFTER_TIES = tuple(_BEFORE.split()), tuple(_AFTER.split())


def bounds(text: str) -> np.ndarray:
    """Tells where a whole sentence or line begins or ends, bool [len(text) + 1]; the text's ends are such places.

    White space between two sentences lies between two bounds.
    """
    safe = np.zeros(len(text) + 1, bool)
    safe[[0, len(text)]] = True
    for start, end in _gaps(text):
        safe[[start, end]] = True
    return safe & borders(text)


def _gaps(text: str) -> Iterator[tuple[int, int]]:
    """Yields where a sentence ends and where the next begins."""
    for match in ENDS.finditer(text):
        end, after = match.end(), _after_space(text, match.end())
        if _ends_sentence(text, match, after) and not _indented(text, end, after):
            yield end, after
    for match in BREAK.finditer(text):
        if _ends_line(text, match.start(), match.end()) and not _indented(text, *match.span()):
            yield match.span()
    for match in SPACED.finditer(text):
        if _parts_phrases(text, match.start(), match.end()):
            yield match.span()


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _indented(text: str, end: int, after: int) -> bool:
    """Whether the next line belongs under the one before it, as in code and nested lists."""
    indent = text[end:after].rpartition("\n")
    return bool(indent[1]) and indent[2].startswith(("\t", "  "))


def _ends_sentence(text: str, match: re.Match[str], after: int) -> bool:
    """Whether the signs of a match end a sentence; the next thing that is no white space stands at `after`."""
    end = match.end()
    if after == len(text) or "\n" in text[end:after]:
        return not _abbreviates(text, match)
    quoted = any(sign in QUOTES for sign in match[1])  # he may be said to have said it
    if any(sign in STRONG for sign in match[0]) and not quoted:
        return text[end : end + 2] != "ល។" and text[max(0, end - 3) : end] != "។ល។"  # Khmer for "and so on"
    first = text[after : after + WORD].lstrip(OPENERS)[:1]
    if after == end or first.islower():
        return False
    digits = match[0].startswith(".") and first.isdigit()
    return not digits and not _abbreviates(text, match)


def _abbreviates(text: str, match: re.Match[str]) -> bool:
    """Whether the one full stop of a match may belong to the word before it, or to a number of a list."""
    at = match.start()
    if not match[0].startswith(".") or match[0].startswith(".."):
        return False
    word = re.split(rf"[\s(\[{QUOTES}“‘«]", text[max(0, at - WORD) : at])[-1]
    letters = sum(map(str.isalpha, word))
    if not word:  # behind a quotation mark or a space
        return False
    if "." in word:
        return True
    if not letters:
        return sum(map(str.isdigit, word)) < 3 and word[-1].isdigit()
    if kinds()[codes(word[-1])][0] & SOLID:
        return len(word) <= LONGEST_SHORT
    if not word[-1].isalpha():
        return False
    capital = next(sign for sign in word if sign.isalpha()).isupper()
    return letters < 2 or word.lower() in ABBREVIATIONS or (capital and letters <= LONGEST_SHORT)


def _ends_line(text: str, end: int, after: int) -> bool:
    """Whether the line that ends here is over, though it may have no sign at its end."""
    if end == 0 or after == len(text):
        return True
    if text.count("\n", end, after) > 1:
        return text[end - 1] not in ANNOUNCES
    start = text.rfind("\n", 0, end) + 1
    if text[after].islower() or text[end - 1] in GOES_ON:
        return False
    if not text[after].isalnum() or kinds()[codes(text[after])][0] & SOLID:
        return True
    if text[end - 1] in WEAK:  # it was said that the sign ends nothing
        return False
    return end - start not in WRAPPED or _had_room(text, start, end, after)


def _had_room(text: str, start: int, end: int, after: int) -> bool:
    """Whether the next line's first word would have fitted on a line as long as the longest beside it."""
    following = text[after : after + WRAPPED.stop].partition("\n")[0]
    before = text[max(0, start - WRAPPED.stop - 1) : max(0, start - 1)].rpartition("\n")[2]
    word = following.split(None, 1)[0]
    return end - start + 1 + len(word) <= max(len(before), len(following))


def _parts_phrases(text: str, start: int, end: int) -> bool:
    """Whether a space of Thai or Lao text stands between two long phrases that nothing ties together."""
    before = re.split(r"\s", text[max(0, start - PHRASE) : start])[-1]
    behind = re.split(r"\s", text[end : end + PHRASE])[0]
    if len(before) < PHRASE or len(behind) < PHRASE:
        return False
    return not before.endswith(AFTER_TIES) and not behind.lstrip("\u200b").startswith(BEFORE_TIES)
