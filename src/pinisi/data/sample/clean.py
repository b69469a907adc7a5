"""Decides which pieces of help and interface text are kept; every piece that is not has a named reason."""

import html
import re
import unicodedata

TAG = re.compile(r"<[^<>]{1,400}>")
SPACE = re.compile(r"[ \t\r\f\v\n\u00a0]+")
# %s %1$d $1 {name} [[link]] &ldquo; http://... and their kin
PLACEHOLDER = re.compile(
    r"%\d*\$?[a-zA-Z]\b|%\(\w+\)s|%\S|\$\w+|\{[^{}]*\}|\[\[|\]\]|&\w+;|https?://\S+|\\\w"
)
MARKUP = re.compile(r"\{\{|\{\|\||__[A-Z]+__|#\w+:|\]\]|\[\[|\(\{|=\{|plural,|#[A-Z]{3,}")
ASCII_NO_LETTER = re.compile(r"[\x00-\x40\x5b-\x60\x7b-\x7f]")
SCRIPTS = {  # languages that are not written in Latin letters, and the letters of their script
    "km": re.compile(r"[\u1780-\u17ff\u200b]"),
    "lo": re.compile(r"[\u0e80-\u0eff]"),
    "my": re.compile(r"[\u1000-\u109f\uaa60-\uaa7f]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
    "zh": re.compile(r"[\u3400-\u9fff\u3000-\u303f\uff00-\uffef]"),
}
# Burmese typed in visual order: a vowel or medial sign that stands before its consonant
VISUAL_ORDER = re.compile(
    r"(?:^|[^\u1000-\u102a\u1039\u103b-\u103f\u104e\ua9e0-\ua9fe\uaa60-\uaa7f])[\u1031\u103b-\u103e]"
)
DENSE = {"zh": 6}  # a Chinese sentence is short
SHORT = 14  # characters: less is a label, not a sentence


def tidy(text: str) -> str:
    """Plain text on one line in NFC: no tags, no entities, single spaces."""
    text = html.unescape(TAG.sub("", text))
    return unicodedata.normalize("NFC", SPACE.sub(" ", text)).strip()


def reason_to_drop(text: str, language: str, english: str | None) -> str | None:
    """Why a tidy piece of text is not kept, or None. english: the same piece in English, where known."""
    if len(text) < DENSE.get(language, SHORT):
        return "short"
    if english is not None and language != "en" and text == english:
        return "English fall-back"
    if MARKUP.search(text):
        return "markup"
    holes = PLACEHOLDER.findall(text)
    if len(holes) > 3 or sum(map(len, holes)) > len(text) / 5:
        return "placeholders"
    if len(ASCII_NO_LETTER.findall(text)) > len(text) / 2:
        return "no words"
    script = SCRIPTS.get(language)
    if script and len(script.findall(text)) < len(text) / 3:
        return "other script"
    if language == "my" and VISUAL_ORDER.search(text):
        return "visual order"
    return None
