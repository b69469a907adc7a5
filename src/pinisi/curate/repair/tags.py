"""Finds the tags, comments and raw texts of HTML in linear time."""

import re
from collections.abc import Iterator
from typing import NamedTuple


def names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# An attribute's value ends within 4,000 characters, and a tag has 64 attributes at most: that bounds what is read in vain.
_TAG = re.compile(
    r"""<(/?)([a-zA-Z][a-zA-Z0-9:_-]{0,40}+)(?=[\s/>])
    ((?:[\s/]*+[^\s"'<>/=]++(?:\s*+=\s*+(?:"[^"]{0,4000}+"|'[^']{0,4000}+'|[^\s"'<>]++))?+){0,64}+)
    [\s/]*+>""",
    re.X,
)
_VALUES = re.compile(r"""(?<!\s)\s*+=\s*+(?:"[^"]*"|'[^']*'|[^\s"'<>]+)""")
_DECLARATION = re.compile(r"<[!?][^<>]*+>")
_END = {name: re.compile(rf"</{name}(?=[\s/>])", re.I) for name in ("script", "style")}
BOOLEAN = names(
    "allowfullscreen async autofocus autoplay checked compact controls default defer disabled download formnovalidate hidden "
    "inert ismap itemscope loop multiple muted nomodule noresize noshade novalidate nowrap open playsinline readonly required "
    "reversed selected"
)

BLOCK = names(
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption figure footer "
    "form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav noframes noscript ol optgroup option p "
    "pre script section select style summary table tbody td template tfoot th thead title tr ul"
)
INLINE = names(
    "a abbr acronym area audio b base basefont bdi bdo big button canvas cite code col colgroup data datalist del dfn em embed "
    "font frame i iframe img input ins kbd label link map mark marquee meta meter nobr object output param picture progress q "
    "rp rt ruby s samp select small source span strike strong sub sup svg textarea time track tt u var video wbr xmp"
)
VOID = names("area base br col embed frame hr img input link meta param source track wbr")


class Tag(NamedTuple):
    """A tag at text[start:end]. A comment, a declaration and the raw text of a script have no name."""

    start: int
    end: int
    name: str = ""
    closing: bool = False
    attributes: bool = False


def is_element(name: str) -> bool:
    """Whether HTML has an element of this name; custom ones have a hyphen, those of Office a colon."""
    return name in BLOCK or name in INLINE or "-" in name or ":" in name


def tags(text: str) -> Iterator[Tag]:
    """Yields what a browser would not show, in the order of the text.

    Unlike a browser it takes for text what never ends (but a script), and `<b and c>`, whose attributes HTML doesn't have.
    """
    comments, place = True, text.find("<")
    while place >= 0:
        end = place + 1
        if text.startswith("<!--", place):
            found = text.find("-->", place + 4) if comments else -1
            comments = found >= 0
            if comments:
                yield Tag(place, end := found + 3)
        elif text[place + 1 : place + 2] in ("!", "?"):
            if declared := _DECLARATION.match(text, place):
                yield Tag(place, end := declared.end())
        elif (match := _TAG.match(text, place)) and _valid(match[3]):
            name, end = match[2].lower(), match.end()
            yield Tag(place, end, name, bool(match[1]), bool(match[3].strip("/ \t\r\n")))
            if name in ("script", "style") and not match[1]:
                closing = _END[name].search(text, end)
                stop = closing.start() if closing else len(text)
                yield Tag(end, stop)
                end = stop
        place = text.find("<", end)


def _valid(attributes: str) -> bool:
    if not attributes.strip("/ \t\r\n"):
        return True
    parts = _VALUES.sub("=", attributes).replace("/", " ").split()
    return all("=" in one or one.lower() in BOOLEAN or one.startswith("data-") for one in parts)
