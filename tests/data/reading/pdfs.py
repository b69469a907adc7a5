# ruff: noqa: E501
"""PDF files, written by hand: text where it is told, in letters that have a place in Unicode."""

import zlib

TOP, STEP, SIZE, LEFT = 760, 16, 11, 72


def pdf_of(pages: list[list[str]], title: str = "", key: str = "") -> bytes:
    """A PDF whose pages hold those lines, one below the other; an empty one leaves a gap. key: of an encryption that nothing opens."""
    letters = sorted({character for page in pages for line in page for character in line})
    codes = {character: number + 1 for number, character in enumerate(letters)}
    kids = " ".join(f"{6 + 2 * number} 0 R" for number in range(len(pages)))
    widths = " ".join(f"{codes[each]} [500]" for each in letters)
    mapping = "".join(f"<{codes[each]:04x}> <{each.encode('utf-16-be').hex()}>\n" for each in letters)
    unicode = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
        "1 begincodespacerange <0000> <ffff> endcodespacerange\n"
        f"{len(letters)} beginbfchar\n{mapping}endbfchar endcmap end end"
    )
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type0 /BaseFont /Made /Encoding /Identity-H /DescendantFonts [4 0 R] /ToUnicode 5 0 R >>",
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Made /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >>"
        f" /DW 500 /W [{widths}] >>",
        _stream(unicode),
    ]
    for number, page in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {7 + 2 * number} 0 R /Resources << /Font << /F 3 0 R >> >> >>"
        )
        shown = (
            f"BT /F {SIZE} Tf 1 0 0 1 {LEFT} {TOP - STEP * at} Tm <{''.join(f'{codes[each]:04x}' for each in line)}> Tj ET"
            for at, line in enumerate(page)
            if line
        )
        objects.append(_stream("\n".join(shown)))
    objects.append(f"<< /Title <feff{title.encode('utf-16-be').hex()}> >>")
    return _file(objects, key)


def _stream(text: str) -> str:
    packed = zlib.compress(text.encode("latin-1")).decode("latin-1")
    return f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n{packed}\nendstream"


def _file(objects: list[str], key: str) -> bytes:
    out, places = "%PDF-1.7\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    locked = (
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{key * 64}> /U <{key * 64}> /P -4 >> /ID [<00> <00>]"
        if key
        else ""
    )
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R {locked} >>\nstartxref\n{len(out)}\n%%EOF\n"
    return (out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}").encode("latin-1")
