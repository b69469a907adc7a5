"""Mends line breaks, control characters and white space, and leaves indentation and alignment alone."""

import re

# Vertical tab, form feed, the three separators of files, and NEL end a line as \n does.
_NEWLINE = re.compile(r"\r\n?|[\n\x0b\x0c\x1c-\x1e\x85\u2028]")
# Colours and movements of a terminal.
_TERMINAL = re.compile(r"\x1b\[[0-9;?]{0,30}[A-Za-z]")
# U+200B separates words in Khmer and Burmese, U+200C and U+200D shape letters, U+200E and U+200F order them: they stay.
_CONTROL = re.compile(
    r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u00ad\u2060\ufeff\ufff9-\ufffb\ufffe\uffff\u202d\u202e\ud800-\udfff]"
)
# Embeddings and isolates mean something only where letters run from right to left.
_DIRECTION = re.compile(r"[\u202a-\u202c\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(
    r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
# Spaces of one width or another; U+3000 stays, which indents paragraphs in Chinese and Japanese.
_ODD_SPACE = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_BLANK = re.compile(r"\n{5,}")


def single_newlines(text: str) -> str:
    """Makes every line break \\n, and a paragraph break (U+2029) two."""
    return _NEWLINE.sub("\n", text).replace("\u2029", "\n\n")


def without_controls(text: str) -> str:
    """Removes what has neither shape nor meaning; tabs, line breaks, and what shapes or orders letters stay."""
    text = _CONTROL.sub("", _TERMINAL.sub("", text) if "\x1b" in text else text)
    if _DIRECTION.search(text) and not _RIGHT_TO_LEFT.search(text):
        text = _DIRECTION.sub("", text)
    return text


def without_noise(text: str) -> str:
    """Removes spaces at the ends of lines, blank lines at the ends of the text, and all but three of the blank lines between.

    Odd spaces become plain ones. Spaces within a line and before it stay, as does the end of the last line.
    """
    text = _ODD_SPACE.sub(" ", text)
    lines = [line.rstrip() for line in text.split("\n")]
    first = next((number for number, line in enumerate(lines) if line), len(lines))
    text = "\n".join(lines[first:])
    body = text.rstrip("\n")
    return _BLANK.sub("\n" * 4, body) + "\n" * (body != text and body != "")
