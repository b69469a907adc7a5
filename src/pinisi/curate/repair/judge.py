"""Judges whether a document is HTML, whole or in fragments, or only speaks of it."""

import re
from typing import NamedTuple

from pinisi.curate.repair.code import is_code, is_source
from pinisi.curate.repair.entities import characters
from pinisi.curate.repair.tags import BLOCK, VOID, Tag, is_element, tags

_PAGE = re.compile(r"[\s\ufeff]*(?:<(?:!doctype\s+html|html|head|body)(?=[\s>]))", re.I)
_QUOTES = frozenset("`\"'(‘’“”«»「」『』（）)")
_SENTENCE_ENDS = frozenset(".?!:;…。！？")


class TagCounts(NamedTuple):
    """How many tags stand as markup does: of blocks, pairs within lines, and these with attributes, blocks between two words;
    and how many as words in a sentence do. covered: the share of the characters in lines that markup shapes."""

    blocks: int
    pairs: int
    dressed: int
    glued: int
    mentions: int
    covered: float


def is_markup(text: str) -> bool:
    """Whether tags shape the text: a page, or fragments of one. Code, XML and texts about tags are none."""
    if "<" not in text:
        return False
    found = list(tags(text))
    elements = [tag for tag in found if tag.name and is_element(tag.name)]
    if not elements:
        return False
    counts = _counted(text, found)
    shaping = counts.blocks + 2 * counts.pairs
    if _is_page(text, found):
        return shaping > 2 and shaping > counts.mentions
    if (
        4 * counts.mentions > shaping
        or len(elements) < len([tag for tag in found if tag.name]) / 2
        or _is_xml(text)
    ):
        return False
    if is_source(_outside(text, found, "<>")) or _is_code(text, found):
        return False
    if counts.blocks:
        return counts.covered >= 0.5 or counts.glued >= 2
    return counts.mentions == 0 and (counts.dressed >= 1 or counts.pairs >= 2)


def _is_page(text: str, found: list[Tag]) -> bool:
    """Whether a text begins as a page does, comments and what XML declares apart."""
    start = 0
    for tag in found:
        if tag.name or text[start : tag.start].strip("\ufeff \t\r\n"):
            break
        if _PAGE.match(text, tag.start):
            return True
        start = tag.end
    return _PAGE.match(text, start) is not None


def _is_xml(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith(("<?xml", "<?php"))


def _is_code(text: str, found: list[Tag]) -> bool:
    """Whether the text is code, be its lines those of the source or those that tags make."""
    return all(is_code(characters(_outside(text, found, sign))) for sign in ("", "\n"))


def _outside(text: str, found: list[Tag], sign: str) -> str:
    """The text with a sign for each tag, without what isn't shown."""
    parts: list[str] = []
    start = 0
    for tag in found:
        parts += text[start : tag.start], sign if tag.name else ""
        start = tag.end
    return "".join([*parts, text[start:]])


def _counted(text: str, found: list[Tag]) -> TagCounts:
    """Looks at the neighbours of each tag, and for the partner of each within lines."""
    blocks = pairs = dressed = glued = mentions = 0
    open_at: dict[str, list[Tag]] = {}
    shaped: set[Tag] = set()
    for number, tag in enumerate(found):
        if not tag.name or not is_element(tag.name):
            continue
        left = _left(text, found, number)
        right = _right(text, found, number)
        if _is_quoted(text, tag):
            mentions += 1
        elif tag.name in VOID and tag.name not in BLOCK and text[tag.start - 1 : tag.start] == right == " ":
            continue  # an image in a sentence may be either
        elif tag.name in BLOCK or tag.name in VOID:
            if _stands_as_block(tag, left, right):
                blocks += 1
                shaped.add(tag)
                glued += left not in ("", " ", "<") and right not in ("", " ", "<")
            else:
                mentions += 1
        elif not tag.closing:
            mentions += 1  # until its partner is found
            if right not in (" ", ""):
                open_at.setdefault(tag.name, []).append(tag)
        elif open_at.get(tag.name) and left not in (" ", ""):
            partner = open_at[tag.name].pop()
            mentions -= 1
            pairs += 1
            dressed += partner.attributes
            shaped |= {partner, tag}
        else:
            mentions += 1
    return TagCounts(blocks, pairs, dressed, glued, mentions, _covered(text, found, shaped))


def _is_quoted(text: str, tag: Tag) -> bool:
    before, behind = text[tag.start - 1 : tag.start], text[tag.end : tag.end + 1]
    return "`" in (before, behind) or (before in _QUOTES and behind in _QUOTES)


def _left(text: str, found: list[Tag], number: int) -> str:
    """What stands before a tag: "<" for another tag, "" for the start of a line, " " for a space behind a word, or a character."""
    start = found[number].start
    after = found[number - 1].end if number else 0
    line = text[max(after, start - 80) : start]
    if number and not line.strip():
        return "<"
    if not line.rpartition("\n")[2].strip():
        return ""
    if not line[-1].isspace():
        return line[-1]
    last = line.rstrip()[-1]
    return last if last in _SENTENCE_ENDS else " "


def _right(text: str, found: list[Tag], number: int) -> str:
    """As _left, behind the tag."""
    end = found[number].end
    before = found[number + 1].start if number + 1 < len(found) else len(text)
    line = text[end : min(before, end + 80)]
    if number + 1 < len(found) and not line.strip():
        return "<"
    if not line.partition("\n")[0].strip():
        return ""
    return " " if line[0].isspace() else line[0]


def _stands_as_block(tag: Tag, left: str, right: str) -> bool:
    """Whether it begins or ends a line, or stands between tags or words without spaces."""
    if tag.name in VOID and tag.name not in BLOCK:  # images, input
        return tag.attributes
    if left == " " or (left == "" and right == " " and not tag.attributes and not tag.closing):
        return tag.name in VOID and right == ""
    if tag.closing:
        return right != " "
    return True


def _covered(text: str, found: list[Tag], shaped: set[Tag]) -> float:
    """Returns the share of the characters, apart from tags, in lines with one of these tags, or between two of a block."""
    depth = start = inside = total = 0
    marked = False  # whether this line has a tag or is within a block
    size = 0
    for tag in [*found, Tag(len(text), len(text))]:
        first, *others = text[start : tag.start].split("\n")
        size += len(first.strip())
        for line in others:
            total, inside = total + size, inside + marked * size
            marked, size = depth > 0, len(line.strip())
        start = tag.end
        if tag in shaped:
            marked = True
            if tag.name in BLOCK and tag.name not in VOID:
                depth = max(0, depth + (-1 if tag.closing else 1))
    total, inside = total + size, inside + marked * size
    return inside / total if total else 1.0
