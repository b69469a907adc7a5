"""Reads WARC archives, what a crawler got: the main text of pages, and text that was taken out of pages before (WET)."""

import re
from typing import NamedTuple

from pinisi.data.reading.archive import Record, records
from pinisi.data.reading.encoding import NoText, decoded
from pinisi.data.reading.html import main_text
from pinisi.data.reading.http import response
from pinisi.data.reading.pdf import pdf_text
from pinisi.data.reading.source import Part, Records, Skipped, Source, Trouble, Unreadable

HTML = ("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml")
UNSURE = (
    "",
    "unknown",
    "application/octet-stream",
    "application/xml",
    "text/xml",
    "text/plain",
)  # may hold a page all the same
LOOKS_HTML = re.compile(
    rb"\s*(?:<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(?:!doctype\s+html|html|head|body|title|meta|p|div|table|h1)\b",
    re.IGNORECASE | re.DOTALL,
)
PDF = b"%PDF-"


class _Page(NamedTuple):
    kind: str  # "html", "text" or "pdf"
    content_type: str
    body: bytes


class _NoPage(Exception):
    """What is no page with text by its nature: no fault of the archive."""


def warc(part: Part, source: Source, trouble: Trouble) -> Records:
    """Successful responses that are HTML, text or PDF, and conversions (.wet). Other kinds of record are no pages; a response
    that isn't read is told to `trouble` with its address and the reason: Skipped where it is no text by nature."""
    for record in records(part, trouble):
        place = f"{part.path}:{record.number} ({record.headers.get('WARC-Target-URI') or 'no address'})"
        try:
            title, text = _text(_page(record))
        except _NoPage as error:
            trouble(Skipped(f"{place}: {error}", group=f"{part.path}: pages skipped: {error}"))
        except NoText as error:
            trouble(Unreadable(f"{place}: {error}"))
        else:
            headers = record.headers
            found = {
                "id": headers.get("WARC-Record-ID"),
                "url": headers.get("WARC-Target-URI"),
                source.text_key: text,
            }
            found["date"] = headers.get("WARC-Date")
            yield f":{record.number}", {**found, **({"title": title} if title else {})}


def _page(record: Record) -> _Page:
    """What a record holds. Raises _NoPage where that is no text."""
    if record.kind == "conversion":
        return _Page("text", "text/plain; charset=utf-8", record.block)
    found = response(record.block)
    if found.status is not None and not (200 <= found.status < 300 and found.status != 206):
        raise _NoPage(f"HTTP status {found.status}")
    if not found.body.strip():
        raise _NoPage("an empty body")
    content_type = found.headers.get("content-type", "")
    media = content_type.partition(";")[0].partition(",")[0].strip().lower()
    if media in UNSURE and LOOKS_HTML.match(found.body[:4096].removeprefix(b"\xef\xbb\xbf")):
        return _Page("html", content_type, found.body)
    if media in ("", "unknown", "application/octet-stream"):
        media = record.headers.get("WARC-Identified-Payload-Type", "").strip().lower() or media
    if media == "application/pdf" or found.body.startswith(PDF):
        return _Page("pdf", "", found.body)
    if media in HTML or (media == "" and b"<" in found.body[:1024] and 0 not in found.body[:1024]):
        return _Page("html", content_type, found.body)
    if media == "text/plain" and not record.headers.get("WARC-Target-URI", "").endswith("/robots.txt"):
        return _Page("text", content_type, found.body)
    raise _NoPage(f"{media or 'content of no known type'} is no text")


def _text(page: _Page) -> tuple[str, str]:
    """(title, text). Raises NoText where there is none."""
    if page.kind == "pdf":
        return pdf_text(page.body)
    text = decoded(page.body, page.content_type)
    if page.kind == "html":
        return main_text(text)
    if not text.strip():
        raise NoText("an empty text")
    return "", text.strip()
