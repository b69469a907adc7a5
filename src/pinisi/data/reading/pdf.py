"""Reads PDF files: a document a file, its pages in order, in paragraphs, without running heads and page numbers."""

import ctypes
from typing import Any

from pinisi.base.libraries import library
from pinisi.data.reading.encoding import NoText
from pinisi.data.reading.paragraphs import PageLine, joined
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable
from pinisi.data.reading.whole import whole

FEW = 20  # characters of text in a page that is more than its number or a stamp
NAMELESS = 0.3  # share of characters without a place in Unicode that makes a text unreadable
CUT = 0xFFFE  # what pdfium gives for a hyphen at a line's end, together with the next line; older ones give:
OLD_CUT = 0x2


def pdf(part: Part, source: Source, trouble: Trouble) -> Records:
    """A document, the whole of a file."""
    data = whole(part, trouble)
    if data is None:
        return
    try:
        title, text = pdf_text(data)
    except NoText as error:
        trouble(Unreadable(f"{part.path}: {error}"))
        return
    yield "", {source.text_key: text, **({"title": title} if title else {})}


def pdf_text(data: bytes) -> tuple[str, str]:
    """(title, text) of a PDF. Raises NoText where it is damaged, locked, or without text, as scans are."""
    pdfium = library("pypdfium2")
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise NoText("a PDF locked by a password" if locked else f"a damaged PDF ({error})") from None
    with document:
        title = " ".join(document.get_metadata_value("Title").split())
        pages, broken = [], 0
        for number in range(len(document)):
            try:
                pages.append(_lines(document[number]))
            except pdfium.PdfiumError:
                broken += 1
    if broken and not pages:
        raise NoText("a damaged PDF (no page can be read)")
    _check(pages)
    return title, joined(pages)


def _check(pages: list[list[PageLine]]) -> None:
    text = "".join(line.text for page in pages for line in page)
    if len("".join(text.split())) < FEW * min(len(pages), 5):
        raise NoText(f"a PDF without text: {len(pages)} pages, perhaps scanned ones")
    nameless = sum(0xE000 <= ord(each) < 0xF900 or each == "\ufffd" for each in text)
    if nameless > NAMELESS * len(text):
        raise NoText("a PDF whose letters have no place in Unicode")


def _lines(page: Any) -> list[PageLine]:
    """The lines of a page, in the order in which the page draws them."""
    raw, text = library("pypdfium2.raw"), page.get_textpage()
    found: list[PageLine] = []
    line: list[int] = []
    begin = end = 0
    try:
        for index in range(text.count_chars() + 1):
            code = raw.FPDFText_GetUnicode(text.raw, index) if index < text.count_chars() else 0x0A
            if code in (0x0D, 0x0A):
                if line:
                    found.append(_line(raw, text.raw, line, begin, end))
                line = []
                continue
            if not line:
                begin = index
            if code > 0x20:
                end = index
                begin = index if all(each == 0x20 for each in line) else begin
            line.append(CUT if code == OLD_CUT else code)
    finally:
        text.close()
    return [each for each in found if each.text.strip()]


def _line(raw: Any, text: Any, codes: list[int], begin: int, end: int) -> PageLine:
    first, last = _box(raw, text, begin), _box(raw, text, end)
    characters = "".join(map(chr, (code for code in codes if code >= 0x20 and code not in (0xFFFF, 0xAD))))
    soft = codes[-1] == 0xAD  # a soft hyphen at the line's end
    whole = characters.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    size = raw.FPDFText_GetFontSize(text, begin)
    return PageLine(whole + (chr(CUT) if soft else ""), first[0], last[1], first[2], size)


def _box(raw: Any, text: Any, index: int) -> tuple[float, float, float]:
    """(left, right, bottom) of a character, as the font sees it, so that it doesn't depend on the letter."""
    rect = raw.FS_RECTF()
    if not raw.FPDFText_GetLooseCharBox(text, index, ctypes.byref(rect)):
        return 0.0, 0.0, 0.0
    return rect.left, rect.right, rect.bottom
