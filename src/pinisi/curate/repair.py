"""Mends what is mechanically wrong with a text: encoding, markup, control characters, white space.

Nothing here looks at the language, and a clean text comes back unchanged, in NFC.
"""

import html
import re
import unicodedata

from pinisi.base.libraries import library

_BLOCK = re.compile(r"<(script|style|noscript|template|svg|head)\b[^>]*>.*?</\1\s*>", re.S | re.I)
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_BREAK = re.compile(
    r"</?(?:p|div|br|li|ul|ol|tr|table|h[1-6]|section|article|blockquote|pre|hr)\b[^<>]*>", re.I
)
# Names of elements, so that "a < b > c" stays.
_TAG = re.compile(
    r"</?(?:a|abbr|area|aside|audio|b|base|body|button|caption|center|cite|code|col|dd|del|dl|dt|em|figcaption|figure|font|"
    r"footer|form|header|html|i|iframe|img|input|ins|label|link|main|meta|nav|object|option|param|q|s|select|small|source|"
    r"span|strong|sub|sup|tbody|td|textarea|tfoot|th|thead|title|u|var|video)\b[^<>]*>",
    re.I,
)
_ENTITY = re.compile(r"&(?:#\d{2,7}|#x[0-9a-f]{2,6}|[a-z]{2,8}\d?);", re.I)
# U+200B separates words in Khmer and Burmese, U+200C and U+200D shape letters: they stay.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u2060\ufeff\ufff9-\ufffb\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SPACE = re.compile(r"[^\S\n]+")
_EDGE = re.compile(r" ?\n ?")
_BLANK = re.compile(r"\n{3,}")
# UTF-8 read as Latin-1 or Windows-1252 shows one of these; ftfy then decides.
_SUSPECT = re.compile(
    r"[\u00c2-\u00f4\u0102\u0103\u0111][\u0080-\u00bf\u0152-\u0178\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)


def repaired(text: str, *, markup: bool = True) -> tuple[str, list[str]]:
    """(text, what was mended): "encoding", "markup", "entities", "control", "space", "form"."""
    done: list[str] = []

    def step(name: str, new: str) -> None:
        nonlocal text
        if new != text:
            done.append(name)
            text = new

    step(
        "newlines",
        text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n"),
    )
    if markup and "<" in text:
        step("markup", _without_tags(text))
    if _SUSPECT.search(text):
        step("encoding", _decoded(text))
    if markup and "&" in text and _ENTITY.search(text):
        step("entities", html.unescape(text))
    step("control", _CONTROL.sub("", text))
    step("form", unicodedata.normalize("NFC", text))
    step("space", _BLANK.sub("\n\n", _EDGE.sub("\n", _SPACE.sub(" ", text))).strip())
    return text, done


def _without_tags(text: str) -> str:
    text = _COMMENT.sub("", _BLOCK.sub("\n", text))
    return _TAG.sub("", _BREAK.sub("\n", text))


def _decoded(text: str) -> str:
    """Line by line, since one page may mix encodings. ftfy changes a line only where that makes it more probable."""
    ftfy = library("ftfy")
    return "\n".join(ftfy.fix_encoding(line) if _SUSPECT.search(line) else line for line in text.split("\n"))
