"""Reads WARC archives: what a crawler got."""

from pinisi.base.libraries import library
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable

LINE = 64 * 2**20  # bytes of a record that are read


def warc(part: Part, source: Source, trouble: Trouble) -> Records:
    """Responses (HTML, unpacked by their own charset) and conversions (.wet: text)."""
    archive, damage = library("warcio.archiveiterator"), library("warcio.exceptions").ArchiveLoadFailed
    number = 0
    try:
        with open(part.path, "rb") as file:
            for record in archive.ArchiveIterator(file):
                number += 1
                if record.rec_type not in ("response", "conversion"):
                    continue
                content, headers = record.content_stream().read(LINE), record.http_headers
                kind = headers.get_header("Content-Type", "") if headers else "text/plain"
                if not kind.startswith("text/"):
                    continue
                charset = kind.partition("charset=")[2].split(";")[0].strip().strip('"') or "utf-8"
                try:
                    text = content.decode(charset)
                except (UnicodeDecodeError, LookupError) as error:
                    trouble(Unreadable(f"{part.path}:{number}: {error}"))
                    continue
                of = record.rec_headers
                found = {"id": of.get_header("WARC-Record-ID"), "url": of.get_header("WARC-Target-URI")}
                yield f":{number}", {**found, source.text_key: text, "date": of.get_header("WARC-Date")}
    except (damage, EOFError, OSError) as error:
        trouble(Unreadable(f"{part.path}: damaged behind record {number} ({error})"))
