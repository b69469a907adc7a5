"""Makes small elements, such as the marks of a chart, from values: every value is escaped."""

import re
from typing import Any

from markupsafe import Markup, escape

# What no page may hold (XML 1.0, 2.2 Characters): control characters and halves of surrogate pairs among them.
UNSEEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NARROW = 340  # SVG units: a chart this wide fits a telephone as it is
ALONE = {"line", "rect", "circle", "polyline"}  # SVG's, with nothing inside


def visible(text: str) -> str:
    """Returns the text with a character that is seen in the place of each that no page may hold."""
    return UNSEEN.sub("\ufffd", text)


def mark(tag: str, /, *inside: Any, **attributes: Any) -> Markup:
    """Returns an element. Of an attribute's name a last _ is left out (class_) and any other is a hyphen; None is left out.

    A float is written with one decimal: a tenth of a pixel is all that anybody sees.
    """
    words = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _value(value))
        for name, value in attributes.items()
        if value is not None
    )
    if tag in ALONE and not inside:
        return Markup("<{}{}/>").format(tag, words)
    return Markup("<{}{}>{}</{}>").format(tag, words, together(*inside), tag)


def together(*parts: Any) -> Markup:
    """Returns elements and text, one behind the other."""
    return Markup("").join(part if isinstance(part, Markup) else escape(_value(part)) for part in parts)


def words(kind: str, x: float, y: float, text: Any, anchor: str = "middle") -> Markup:
    """Returns a text of a chart."""
    return mark("text", text, class_=kind, x=float(x), y=float(y), text_anchor=anchor)


def chart(width: int, height: int, label: str, *inside: Markup, **more: Any) -> Markup:
    """Returns a drawing of so many SVG units; a wide one scrolls before its words become too small to read."""
    scrolls = width > NARROW
    least = f"min-width:{width * 9 // 10}px" if scrolls else None  # 12 px are 10.8
    head = dict(class_="chart", viewBox=f"0 0 {width} {height}", role="img", aria_label=label, style=least)
    drawn = mark("svg", *inside, **head, **more)
    return mark("div", drawn, class_="scroll") if scrolls else drawn


def _value(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else visible(str(value))
