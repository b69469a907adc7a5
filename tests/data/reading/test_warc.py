# ruff: noqa: E501
"""WARC archives: each page that can be read comes out, and of each other one it is told where it was and why it did not."""

import gzip
import zlib

import brotli
import pytest
import zstandard

from pinisi.data.reading import Skipped, Source, documents_of, parts_of
from tests.data.reading.crawl import http, record, response
from tests.data.reading.pages import cases
from tests.data.reading.pdfs import pdf_of

HTML = "Content-Type: text/html; charset=utf-8"
TEXT = "ชาวบ้านริมแม่น้ำช่วยกันสร้างสะพานไม้แห่งใหม่"
PAGE = f"<html><body><p>{TEXT}</p></body></html>".encode()
PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


def read(folder, records, ending=""):
    """(documents, troubles) of a file of records, each packed by itself."""
    (folder / f"th.warc{ending}").write_bytes(b"".join(map(PACK[ending], records)))
    return documents(folder)


def documents(folder):
    troubles: list = []
    sources = [Source(str(folder), language="th")]
    return [
        d for part in parts_of(sources) for d in documents_of(part, sources[0], troubles.append)
    ], troubles


def deflated(data: bytes, bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("ending", PACK)
def test_forty_pages_of_real_forms(tmp_path, ending):
    pages = cases()
    records = [
        response(data, *([f"Content-Type: {declared.header}"] if declared.header else []))
        for _, declared, _, data in pages
    ]
    found, troubles = read(tmp_path, records, ending)
    assert not troubles and len(found) == 40
    for document, (form, declared, made, _) in zip(found, pages, strict=True):
        cells = [" ".join(cell.split()) for line in document.text.split("\n") for cell in line.split("\t")]
        assert [cell for cell in cells if cell in made.main] == made.main, (form, declared.name)
        assert not set(made.menus) & set(cells)
        assert document.url == "https://example.org/" and document.metadata["title"] == "x"


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (http(PAGE, HTML), ""),
        (http(PAGE, "content-type: Text/HTML"), ""),
        (http(PAGE), ""),
        (http(PAGE, status="200"), ""),
        (http(PAGE, "Content-Type: application/xhtml+xml"), ""),
        (http(PAGE, "Content-Type: text/html;charset='UTF-8'; x=y"), ""),
        (http(PAGE, "Content-Type: text/html; charset=nonsense"), ""),
        (http(PAGE, "Content-Type: application/octet-stream"), ""),
        (http(TEXT.encode(), "Content-Type: text/plain"), ""),
        (http(gzip.compress(PAGE), HTML, "Content-Encoding: gzip"), ""),
        (http(PAGE, HTML, "Content-Encoding: gzip"), ""),  # the crawler unpacked it
        (http(deflated(PAGE, 15), HTML, "Content-Encoding: deflate"), ""),
        (http(deflated(PAGE, -15), HTML, "Content-Encoding: deflate"), ""),
        (http(brotli.compress(PAGE), HTML, "Content-Encoding: br"), ""),
        (http(zstandard.ZstdCompressor().compress(PAGE), HTML, "Content-Encoding: zstd"), ""),
        (http(b"%x;x=y\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (30, PAGE[:30], len(PAGE) - 30, PAGE[30:]), HTML, "Transfer-Encoding: chunked"), ""),
        (http(PAGE, HTML, "Transfer-Encoding: chunked"), ""),
        (PAGE, ""),  # no HTTP at all
        (http(PAGE.replace(b"</p>", b" \xff</p>"), HTML), ""),
        (http(pdf_of([["The river rose in the night.", "Nobody slept."]]), "Content-Type: application/pdf"), ""),
        (http(PAGE, HTML, status="404 Not Found"), "HTTP status 404"),
        (http(PAGE, status="404 Not Found"), "HTTP status 404"),
        (http(PAGE, HTML, status="301 Moved"), "HTTP status 301"),
        (http(PAGE, HTML, status="206 Partial Content"), "HTTP status 206"),
        (http(b"", HTML), "an empty body"),
        (http(b"\x89PNG", "Content-Type: image/png"), "image/png is no text"),
        (http(b"a { }", "Content-Type: text/css; charset=utf-8"), "text/css is no text"),
        (http(b"<html><script>x</script></html>", HTML), "no main text"),
        (http(bytes(range(256)) * 9, HTML), "bytes of no encoding"),
        (http(b"<html>" + b"<div>" * 5000 + PAGE, HTML), "deep"),
    ],
)  # fmt: skip
def test_each_response_is_read_or_named(tmp_path, block, why):
    found, troubles = read(tmp_path, [record("response", block, "application/http"), response(PAGE, HTML)])
    assert found[-1].text == TEXT
    if not why:
        assert len(found) == 2 and not troubles
        assert TEXT in found[0].text or "The river rose" in found[0].text
        return
    assert len(found) == 1 and len(troubles) == 1
    assert str(troubles[0]).startswith(f"{tmp_path}/th.warc:1 (https://example.org/): ") and why in str(
        troubles[0]
    )
    fault = why in ("no main text", "bytes of no encoding", "deep")
    assert isinstance(troubles[0], Skipped) != fault


def test_only_responses_and_conversions_are_pages(tmp_path):
    records = [
        record("warcinfo", b"software: x\r\n", "application/warc-fields"),
        record("request", b"GET / HTTP/1.1\r\n\r\n", "application/http; msgtype=request"),
        record("metadata", b"fetchTimeMs: 1\r\n", "application/warc-fields"),
        record("revisit", http(b"", HTML), "application/http; msgtype=response"),
        record("conversion", TEXT.encode(), "text/plain"),
        response(b"User-agent: *\n", "Content-Type: text/plain", address="https://example.org/robots.txt"),
    ]
    found, troubles = read(tmp_path, records)
    assert [document.text for document in found] == [TEXT] and found[0].metadata[
        "date"
    ] == "2026-01-02T03:04:05Z"
    assert len(troubles) == 1 and isinstance(troubles[0], Skipped)
    (tmp_path / "th.warc").rename(tmp_path / "th.wet")
    assert [document.text for document in documents(tmp_path)[0]] == [TEXT]


def numbered(count):
    """Pages of different lengths, so that a file is never cut just between two."""
    return [
        response(f"<p>{TEXT * (1 + number % 7)} {number:03d}</p>".encode(), HTML) for number in range(count)
    ]


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.999])
def test_what_an_archive_that_is_cut_off_holds_is_used_and_the_rest_is_told(tmp_path, ending, share):
    read(tmp_path, numbered(50), ending)
    path = tmp_path / f"th.warc{ending}"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found, troubles = documents(tmp_path)
    assert 50 * share - 3 <= len(found) <= 50 * share + 3
    assert len(troubles) == 1 and str(path) in str(troubles[0]) and not isinstance(troubles[0], Skipped)


@pytest.mark.parametrize("ending", PACK)
def test_reading_goes_on_behind_damage(tmp_path, ending):
    records = numbered(50)
    read(tmp_path, records, ending)
    path, before = tmp_path / f"th.warc{ending}", sum(len(PACK[ending](each)) for each in records[:20])
    data = bytearray(path.read_bytes())
    data[before + 5 : before + 60] = bytes(55)
    path.write_bytes(data)
    found, troubles = documents(tmp_path)
    assert [document.text[-3:] for document in found] == [f"{n:03d}" for n in range(50) if n != 20]
    assert (
        len(troubles) == 1
        and "damaged behind record 20" in str(troubles[0])
        and "goes on at byte" in str(troubles[0])
    )


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "th.warc").write_bytes(b"hello, this is no archive\n" * 9)
    found, troubles = documents(tmp_path)
    assert not found and len(troubles) == 1 and "damaged behind record 0" in str(troubles[0])
