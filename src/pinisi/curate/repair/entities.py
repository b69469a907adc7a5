"""Decodes the entities of HTML, where they stand for characters and are not themselves the matter."""

import re
from html import unescape
from html.entities import html5, name2codepoint

from pinisi.curate.repair.code import is_code, is_source

_NUMBER = r"#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})"
_ANY = re.compile(rf"&(?:{_NUMBER}|[a-zA-Z][a-zA-Z0-9]{{1,31}});")
# What was escaped more than once is one character all the same.
_AMPERSAND = r"(?:amp|AMP|#0{0,4}38|#[xX]0{0,4}26);"
_NESTED = rf"&(?:{_AMPERSAND})*+(?:{_NUMBER};|[a-zA-Z][a-zA-Z0-9]{{1,9}};)|&(?:{_AMPERSAND})++"
_LEAKED = re.compile(rf"(?:https?://|www\.)[^\s<>\"]++|{_NESTED}")
_PARTS = re.compile(rf"{_NUMBER};|[a-zA-Z][a-zA-Z0-9]*;")
_MENTION = re.compile(rf"`[^`\n]{{0,80}}{_ANY.pattern}|(?P<quote>[\"'])(?:{_ANY.pattern})+(?P=quote)")
_TAG_LIKE = re.compile(r"</?([a-zA-Z][\w:.-]{0,40}+)(?:\s[^<>\n]{0,400}+)?/?>")


def characters(text: str) -> str:
    """Decodes every whole entity once, as a browser does; `&sect` without its semicolon stays."""
    return _ANY.sub(_character, text) if "&" in text else text


def without_entities(text: str) -> str:
    """Decodes the entities that leaked into plain text, however often they were escaped, but none in URLs.

    A text that is code or Markdown, has tags or a bare "<" beside "&lt;", or quotes an entity is about them, and stays.
    """
    if "&" not in text or not _ANY.search(text) or _is_about_entities(text):
        return text
    return _LEAKED.sub(_innermost, text)


def _is_about_entities(text: str) -> bool:
    if _MENTION.search(text) or _TAG_LIKE.search(text) or ("<" in text and "&lt;" in text):
        return True
    return is_source(text) or is_code(_ANY.sub("x", text))


def _character(match: re.Match[str]) -> str:
    entity = match[0]
    return unescape(entity) if entity[1] == "#" or entity[1:] in html5 else entity


def _innermost(match: re.Match[str]) -> str:
    """The character that is left when all has been decoded. Of names only HTML 4's, which are what programs write."""
    if match[0][0] != "&":  # a URL
        return match[0]
    parts = _PARTS.findall(match[0])
    last = parts[-1]
    if last[0] == "#" or last[:-1] in name2codepoint or last in ("apos;", "AMP;"):
        return unescape("&" + last)
    return match[0]
