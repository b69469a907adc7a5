"""Reads web pages: the main text of HTML, whole and in order, without menus, footers and notices.

Trafilatura says what is main text; its blocks are written here, since its own writing joins some of them. Resiliparse's
text stands in where trafilatura finds little of it, or has lost the lines. Headings, paragraphs, list items and rows of
tables stand on lines of their own; a tab stands between the cells of a row.
"""

import logging
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from pinisi.base.libraries import library
from pinisi.data.reading.encoding import NoText, decoded
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable
from pinisi.data.reading.whole import whole

LEAST = 0.4  # share of the letters of resiliparse's text that trafilatura must find, else it took the main text for a menu
DEEP = 1000  # elements within each other; browsers stop at 512, and resiliparse's time grows with the square
LINKED = 0.8  # share of its letters behind links that makes a part of a layout table a menu
CELLS = ("td", "th", "cell")
BLOCKS = {
    "p",
    "head",
    "list",
    "item",
    "quote",
    "code",
    "table",
    "row",
    "tr",
    "div",
    "section",
    "article",
    "main",
}
BOXES = {"p", "div", "ul", "ol", "dl", "table", "pre", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6"}
PROSE = ("table", "h1", "article", "section", "form")  # no table of data has them in its cells
MARKS = re.compile(
    r"(?:^|\s)(?:headerlink|anchor-?link|heading-?anchor|mw-jump-link|mw-editsection|skip-?(?:to-?)?(?:link|content|nav))(?:$|\s)",
    re.IGNORECASE,
)
BESIDE = re.compile(r"[\W_]+")  # what isn't a letter
SPACE = re.compile(r"[ \t\r\f\v\xa0]*\n[ \t\r\f\v\xa0]*|[ \t\r\f\v\xa0]+")
TABS = re.compile(r"(?<=\S)[ \t]*\t[ \t]*(?=\S)")
EDGES = re.compile(r"[ \t]+$|^\t+", re.MULTILINE)
EMPTY = re.compile(r"\n{3,}")


def html(part: Part, source: Source, trouble: Trouble) -> Records:
    """A page, the whole of a file."""
    data = whole(part, trouble)
    if data is None:
        return
    try:
        title, text = main_text(decoded(data))
    except NoText as error:
        trouble(Unreadable(f"{part.path}: {error}"))
        return
    yield "", {source.text_key: text, **({"title": title} if title else {})}


def main_text(page: str) -> tuple[str, str]:
    """(title, main text) of HTML. Raises NoText where there is none, or where it can't be parsed in fair time."""
    page = page.replace("\0", "")
    parse = library("resiliparse.parse.html").HTMLTree.parse
    other = parse(page)
    _not_deep(other)
    title = " ".join((other.title or "").split())
    tree = _trafilatura("trafilatura.utils").load_html(page)
    if tree is not None and (_without_marks(tree) + _without_layout(tree)):
        other = parse(library("lxml.html").tostring(tree, encoding="unicode"))
    plain = _plain(other)
    found = "" if tree is None else _found(tree)
    text = plain if _is_worse(found, plain) else _in_order(found, plain)
    if not text:
        raise NoText("no main text: only menus, links, scripts or pictures")
    head = _headline(other, plain)
    return title, f"{head}\n\n{text}" if head and head not in text else text


def _headline(tree: Any, plain: str) -> str:
    """The only <h1>, where it is no link to another page, as a site's name is; else a heading at the very beginning."""
    found = tree.document.query_selector_all("h1")
    if len(found) == 1 and found[0].query_selector("a[href]") is None:
        head = " ".join((found[0].text or "").split())
        return head if head in plain else ""
    first = plain.partition("\n")[0].strip()
    heads = {" ".join((each.text or "").split()) for each in tree.document.query_selector_all("h2")}
    return first if not len(found) and first in heads else ""


@cache
def _trafilatura(module: str) -> Any:
    """Its library, which logs every page without text as an error: that is told here in another way."""
    for name in ("trafilatura", "readability", "justext"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return library(module)


def _in_order(found: str, plain: str) -> str:
    """Blocks in the order of the page, which trafilatura changes where it finds text in several ways."""
    page, at, places = BESIDE.sub("", plain), 0, []
    blocks = found.split("\n\n")
    for number, block in enumerate(blocks):
        letters = BESIDE.sub("", block)
        place = page.find(letters, at) if letters else -1
        if place < 0 and letters:
            place = page.find(letters)
        at = at if place < 0 else place  # what isn't there stays behind the block before it
        places.append((at, number, block))
    return "\n\n".join(block for _, _, block in sorted(places))


def _is_worse(found: str, plain: str) -> bool:
    """Whether trafilatura's text has lost much of the page, or its lines."""
    letters, of = len(BESIDE.sub("", found)), len(BESIDE.sub("", plain))
    return letters < LEAST * of or ("\n" not in found and "\n" in plain and letters > 0.8 * of)


def _found(tree: Any) -> str:
    """Trafilatura's main text, "" where it finds none."""
    try:
        document = _trafilatura("trafilatura").bare_extraction(tree, include_comments=False)
    except Exception as error:  # a page may be anything, and must not end the reading of the others
        raise NoText(f"the main text can't be found ({type(error).__name__}: {error})") from error
    return _tidy("".join(_written(document.body))) if document is not None else ""


def _plain(tree: Any) -> str:
    extract = library("resiliparse.extract.html2text").extract_plain_text
    return _tidy(extract(tree, main_content=True, list_bullets=False, alt_texts=False, comments=False))


def _tidy(text: str) -> str:
    return EMPTY.sub("\n\n", EDGES.sub("", TABS.sub("\t", text))).strip()


def _not_deep(tree: Any) -> None:
    def enter(context: Any) -> None:
        if context.depth > DEEP:
            raise NoText(f"elements within each other more than {DEEP} deep")

    if tree.body is not None:
        library("resiliparse.parse.html").traverse_dom(tree.body, enter, elements_only=True)


def _without_marks(tree: Any) -> int:
    """Takes out signs beside headings and links that jump within the page, and makes headings of words in the middle, which
    old pages mean so. Returns how many there were."""
    marks = [mark for mark in tree.iter("a", "span") if MARKS.search(mark.get("class") or "")]
    for mark in marks:
        if mark.getparent() is not None:
            mark.drop_tree()
    centred = [each for each in tree.iter("center") if not _has_boxes(each)]
    for each in centred:
        each.tag = "p" if each.find(".//a") is not None else "h2"
    return len(marks) + len(centred)


def _has_boxes(element: Any) -> bool:
    return any(child.tag in BOXES for child in element.iter() if child is not element)


def _without_layout(tree: Any) -> int:
    """Makes plain boxes of tables that lay out a page, and takes out those of their parts that are menus. Returns how many there
    were."""
    layout = [table for table in tree.iter("table") if _is_layout(table)]
    for table in layout:
        for part in [each for each in table.iter("table", "tr", "td") if each is not table]:
            if part.getparent() is not None and _is_menu(part):
                part.drop_tree()
        for part in list(table.iter("tbody", "thead", "tr", "td", "th")):
            if next(part.iterancestors("table"), None) is table:
                part.tag = "div" if part.tag not in CELLS or _has_boxes(part) else "p"
        table.tag = "div"
    return len(layout)


def _is_layout(table: Any) -> bool:
    """Whether it holds what no table of data does."""
    role = table.get("role") in ("presentation", "none")
    return role or any(table.find(f".//{tag}") is not None for tag in PROSE)


def _is_menu(element: Any) -> bool:
    links = [link.text_content() for link in element.iter("a") if link.get("href")]
    if len(links) < 2:
        return False
    linked = len(BESIDE.sub("", "".join(links)))
    return linked >= LINKED * len(BESIDE.sub("", element.text_content()))


def _written(element: Any, inside: str = "") -> Iterator[str]:
    """The text of trafilatura's tree: blocks on lines of their own, cells parted by tabs."""
    tag = element.tag if isinstance(element.tag, str) else ""
    code = tag in ("code", "pre") and "\n" in "".join(element.itertext())
    around = (
        "\n\n" if tag in ("p", "head", "quote", "table", "list") or code else "\n" if tag in BLOCKS else ""
    )
    if inside and around:  # a block within a cell goes on in its row
        around = " "
    yield "\t" if tag in CELLS else "\n" if tag == "lb" and not inside else around
    within = inside or ("cell" if tag in CELLS else "")
    if element.text:
        yield element.text if code else SPACE.sub(" ", element.text)
    for child in element:
        yield from _written(child, within)
        if child.tail:
            yield SPACE.sub(" ", child.tail)
    yield around
