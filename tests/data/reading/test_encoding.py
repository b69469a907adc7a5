"""Encodings: what is declared, what it is, and bytes that belong to none."""

import pytest

from pinisi.data.reading.encoding import NoText, decoded
from tests.data.reading.pages import LANGUAGES, encoded

MENUS = "<div class='menu'>home news contact</div>" * 50
TEXTS = {language: "\n".join(sentences) for language, (sentences, _) in LANGUAGES.items()}


@pytest.mark.parametrize(
    ("language", "codec", "label"),
    [
        ("th", "cp874", "tis-620"), ("th", "cp874", "windows-874"), ("th", "cp874", "iso-8859-11"),
        ("th", "cp874", "x-windows-874"),
        ("vi", "cp1258", "windows-1258"), ("zh", "gb18030", "gb2312"), ("zh", "gb18030", "GBK"), ("zh", "gb18030", "x-gbk"),
        ("zh-hant", "big5", "big5"), ("zh-hant", "big5", "Big5-HKSCS"), ("ja", "shift_jis", "x-sjis"), ("ja", "euc_jp", "EUC-JP"),
        ("ja", "iso2022_jp", "ISO-2022-JP"), ("ko", "cp949", "ks_c_5601-1987"), ("ko", "euc_kr", "euc-kr"),
        ("fr", "cp1252", "iso-8859-1"), ("fr", "cp1252", "latin1"), ("fr", "cp1252", "us-ascii"), ("km", "utf-8", "utf8"),
        ("my", "utf-16", "utf-16"), ("my", "utf-16-le", "utf-16"), ("lo", "utf-8-sig", "windows-1252"),
        ("th", "cp874", "utf-8"), ("th", "cp874", "iso-8859-1"), ("zh", "gb18030", "utf-8"), ("ko", "cp949", "windows-1252"),
        ("km", "utf-8", "gb2312"), ("th", "utf-8", "tis-620"), ("vi", "utf-8", "utf-16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["header", "meta", "http-equiv", "xml"])
def test_a_declaration_is_followed_unless_it_is_wrong(language, codec, label, place):
    head = {
        "header": "",
        "meta": f"<meta charset={label}>",
        "http-equiv": f"<META content='text/html; charset={label}' http-equiv='content-type'>",
        "xml": f"<?xml version='1.0' encoding='{label}'?>",
    }[place]
    page = f"{head}{MENUS}<p>{TEXTS[language]}</p>"
    data = encoded(page, codec)
    assert decoded(data, f"text/html; charset={label}" if place == "header" else "text/html") == page


@pytest.mark.parametrize("language", ["th", "vi", "zh", "zh-hant", "ja", "ko", "fr", "km", "my"])
def test_what_nothing_declares_is_found(language):
    codecs = {
        "th": "cp874",
        "vi": "cp1258",
        "zh": "gb18030",
        "zh-hant": "big5",
        "ja": "euc_jp",
        "ko": "cp949",
        "fr": "cp1252",
    }
    page = f"{MENUS}<p>{TEXTS[language]}</p>"
    assert decoded(encoded(page, codecs.get(language, "utf-8"))) == page


@pytest.mark.parametrize("codec", ["utf-8", "cp874"])
def test_a_bad_byte_costs_one_character(codec):
    half = len(TEXTS["th"]) // 2
    data = TEXTS["th"][:half].encode(codec) + b"\xff" + TEXTS["th"][half:].encode(codec)
    text = decoded(data, f"charset={codec}")
    assert text.count("\ufffd") == 1 and text.replace("\ufffd", "") == TEXTS["th"]


def test_bytes_of_no_encoding():
    for data in (bytes(range(256)) * 20, b"\x89PNG\r\n\x1a\n" + bytes(500), b"\xff\xfb\x90\x00" * 200):
        with pytest.raises(NoText):
            decoded(data)
    assert decoded(b"") == "" and decoded(b"caf\xc3\xa9") == "café"


@pytest.mark.parametrize("place", ["header", "meta", "xml"])
def test_a_few_letters_are_read_as_declared(place):
    """Too few for a detector."""
    head = {
        "header": "",
        "meta": "<meta charset='windows-1250'>",
        "xml": "<?xml version='1.0' encoding='windows-1250'?>",
    }[place]
    assert (
        decoded(f"{head}<p>kůň</p>".encode("cp1250"), "text/html; charset=windows-1250" * (place == "header"))
        == f"{head}<p>kůň</p>"
    )
