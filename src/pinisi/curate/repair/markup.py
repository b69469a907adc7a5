"""Makes plain text of HTML, as a browser shows it."""

import re
from collections import Counter

from pinisi.curate.repair.entities import characters
from pinisi.curate.repair.judge import is_markup
from pinisi.curate.repair.tags import BLOCK, VOID, Tag, is_element, names, tags

# Elements that aren't shown; scripts and styles are no text for the reader of tags.
_HIDDEN = ("head", "title", "noscript", "template", "svg", "iframe", "noframes")
_PRE = names("pre textarea listing xmp")
# Elements that the next of their kind ends.
_ENDED_BY_NEXT = names("p li td th tr dd dt option thead tbody tfoot")
_SPACE = " \t\n\r\f"
_SPACES = re.compile(r"[ \t\n\r\f]+")


def without_markup(text: str) -> str:
    """Makes plain text of a document that is HTML; every other text stays."""
    return plain_text(text) if is_markup(text) else text


def plain_text(text: str) -> str:
    """Returns the text of an HTML document or of fragments, without scripts, styles, comments and the head.

    Blocks and <br> begin lines, paragraphs have a blank line around them, a tab separates cells. White space is one space, but
    not in <pre>, nor outside of every block, where it is that of a plain text into which tags leaked.
    """
    page, hidden, start = _GrowingText(), _Hidden(text), 0
    for tag in tags(text):
        if tag.name and not is_element(tag.name):
            continue
        if not hidden.name:
            page.write(text[start : tag.start])
        start = tag.end
        if not hidden.over(tag):
            page.tag(tag)
    page.write("" if hidden.name else text[start:])
    return "".join(page.parts)


class _Hidden:
    """The element that isn't shown, and how deep the reader is in it. One that never ends hides nothing."""

    def __init__(self, text: str) -> None:
        lower = text.lower()
        self.last = {name: lower.rfind(f"</{name}") for name in _HIDDEN}
        self.last["head"] = max(self.last["head"], lower.rfind("<body"))  # </head> may be left out
        self.name, self.depth = "", 0

    def over(self, tag: Tag) -> bool:
        """Goes over a tag; returns whether it is part of what isn't shown."""
        if self.name == "head" and tag.name == "body":
            self.name = ""
        if not self.name:
            if tag.closing or self.last.get(tag.name, -1) < tag.end:
                return False
            self.name, self.depth = tag.name, 1
        elif tag.name == self.name:
            self.depth += -1 if tag.closing else 1
            if self.depth == 0:
                self.name = ""
        return True


class _GrowingText:
    """Text as it grows, and the white space that is due before what comes next."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.ended = 0  # line breaks that the text ends with
        self.due, self.space, self.tabs = 0, "", 0  # line breaks; a space; tabs
        self.cells = 0  # of this row
        self.open: Counter[str] = Counter()  # blocks
        self.pre = self.fresh = (
            False  # fresh: nothing of it has been read yet; its first line break isn't shown
        )

    def write(self, text: str) -> None:
        """Adds the text between two tags."""
        if not text:
            return
        text = characters(text)
        if self.pre:
            self._put(text[text.startswith("\n") and self.fresh :])
        elif self.open.total():
            self._flow(_SPACES.sub(" ", text))
        else:
            self._flow(text)

    def _flow(self, text: str) -> None:
        """Adds text whose white space at the ends joins with what tags ask for."""
        body = text.lstrip(_SPACE)
        self._owe(text[: len(text) - len(body)])
        if body:
            line = text[: len(text) - len(body)].rpartition("\n")
            stripped = body.rstrip(_SPACE)
            self._put(line[2] + stripped if line[1] else stripped)
            self._owe(body[len(stripped) :])

    def _owe(self, white: str) -> None:
        self.due = max(self.due, white.count("\n") - self.ended)
        self.space = self.space or white[:1]

    def _put(self, text: str) -> None:
        if self.parts:
            if self.due > self.ended:
                self.parts.append("\n" * (self.due - self.ended))
            elif self.space and not self.ended and not self.tabs:
                self.parts.append(self.space)
            self.parts.append("\t" * self.tabs)
        self.due, self.space, self.tabs, self.fresh = 0, "", 0, False
        self.parts.append(text)
        self.ended = len(text) - len(text.rstrip("\n"))

    def tag(self, tag: Tag) -> None:
        """Takes note of what a tag does to lines."""
        if tag.name in ("td", "th"):
            self._cell(tag)
        elif tag.name == "br":
            self.due, self.space = max(self.due, self.ended) + 1, ""
        elif tag.name in ("script", "style"):
            self.space = self.space or " "
        elif tag.name in BLOCK:
            apart = tag.name == "p" and not self.open["td"] and not self.open["th"]
            self.due, self.space = max(self.due, 2 if apart else 1), ""
            self.cells = 0 if tag.name == "tr" else self.cells
        if tag.name in BLOCK and tag.name not in VOID:
            self._count(tag)
        if tag.name in _PRE:
            self.pre = self.fresh = not tag.closing

    def _cell(self, tag: Tag) -> None:
        if not tag.closing:
            if self.cells:
                self.due, self.tabs = 0, self.tabs + 1
            self.cells += 1
        self.space = ""

    def _count(self, tag: Tag) -> None:
        if tag.closing:
            self.open[tag.name] = max(0, self.open[tag.name] - 1)
        elif tag.name in _ENDED_BY_NEXT:
            self.open[tag.name] = 1
        else:
            self.open[tag.name] += 1
            self.open["p"] = 0
