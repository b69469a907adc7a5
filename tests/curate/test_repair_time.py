"""Repair takes linear time for what is made to take more."""

import time
from collections.abc import Callable

import pytest

from pinisi.curate.repair import repaired
from tests.effort import first

SIZE = 200_000  # characters
REPEATED = {
    "comments": "<!-- a ",
    "scripts": "<script> a ",
    "styles": "<p>x<style>",
    "names": "<a ",
    "attributes": '<a x="',
    "quotes": '<a x=\'" y="',
    "many attributes": "<a" + " b=c" * 60 + ">",
    "less than": "<",
    "nested blocks": "<div>",
    "paragraphs": "<p>x</p>",
    "cells": "<td>a</td>",
    "hidden": "<svg><head>x",
    "pre": "<pre>\n",
    "closing": "</p></a",
    "declarations": "<!a <?b <![CDATA[",
    "ampersands": "&",
    "escaped": "&amp;",
    "escaped twice": "&amp;#38;amp;lt;",
    "quoted entities": '"&lt;',
    "addresses": "http://&amp;",
    "spaces": " ",
    "spaces in a tag": "<p" + " " * 50,
    "lines": "a\n\n\n\n\n \t\n",
    "terminal": "\x1b[0",
    "suspects": "Ã ",
    "suspects of three bytes": "â€",
    "mojibake": "â\x80\x99é",
    "Windows-1252": "a\x92",
    "marks": "\u0301\u0327",
    "code": "`a'b\"c](d",
}


def nested(size: int) -> str:
    text = "é"
    while len(text) < size:
        text = text.encode().decode("latin-1")
    return text[:size]


MADE: dict[str, Callable[[int], str]] = {
    name: (lambda size, piece=piece: (piece * (size // len(piece) + 1))[:size])
    for name, piece in REPEATED.items()
} | {
    "nested mojibake": nested,
    "nested ampersands": lambda size: "&" + "amp;" * (size // 4) + "lt;",
    "one tag": lambda size: "<p a" + " " * size + ">",
}


def seconds(text: str) -> float:
    """Of the processor."""
    start = time.process_time()
    repaired(text)
    return time.process_time() - start


@pytest.mark.parametrize("page", first(1, ["", "<html><body><p>x</p>"]))
@pytest.mark.parametrize("kind", MADE)
def test_time_is_linear(kind, page):
    """Others on the machine cost processor time too, now and then, so the least of up to eight tries counts."""
    quarter_text, whole_text = (page + MADE[kind](size) for size in (SIZE // 4, SIZE))
    quarter = whole = float("inf")
    for _ in range(8):
        quarter, whole = min(quarter, seconds(quarter_text)), min(whole, seconds(whole_text))
        # Sixteen times would be quadratic, four linear; what takes less than a tenth of a second tells nothing.
        if whole < 0.1 or whole < 9 * quarter:
            break
    else:
        pytest.fail(f"{whole:.3f} s for {SIZE} characters, {quarter:.3f} s for a quarter of them")
    assert whole < 8
