"""Tells code, data and the source of documents (Markdown, reStructuredText, LaTeX) from other text."""

import re

# How lines of programs end and begin.
_CODE = re.compile(
    r"""[;{}\[(\\]\s*$ | [)\]}"']\s*[,:;)\]}]+\s*$ | (?:=>|->|&&|\|\|)\s*$ | [\w\]]\)\s*$
    | ^\s*(?:\#include|\#define|import\s|from\s\S+\simport|def\s|class\s\w+|return\b|public\s|private\s|const\s|let\s|var\s
      |func(?:tion|)\s|//|/\*|\*\s|\*/|\#!|\#\s|@\w+|\$\w|if\s*\(|for\s*\(|while\s*\(|<\?(?:php|=)|%|\\[a-z]+\{
      |[A-Za-z_][\w.\[\]]*\s*(?:[-+*/|:]|::)?=\s*\S)""",
    re.X,
)
_PAIR = re.compile(r"""^\s*(?:-\s)?["']?[A-Za-z_][\w.-]*["']?:(?:\s|$)|^\s*-\s""")
_SOURCE = re.compile(
    r"""^\s{0,3}(?:```|~~~) | ^\#{1,6}\s\S | ^\.\.\s[\w|] | ::$ | ^[=~^*-]{4,}$ | \]\([^)\s]+\) | `[^`\n]+`
    | \\(?:begin|documentclass)\{""",
    re.X | re.M,
)
_LINE = 500  # characters of a line that are looked at, from either end


def is_source(text: str) -> bool:
    """Whether a text has the marks of Markdown, reStructuredText or LaTeX."""
    return _SOURCE.search(text) is not None


def is_code(text: str) -> bool:
    """Whether a third of the lines look like a program's, or most like data's (JSON, YAML)."""
    whole = text.strip()
    if whole[:1] + whole[-1:] in ("{}", "[]"):
        return True
    lines = [
        line if len(line) <= 2 * _LINE else line[:_LINE] + line[-_LINE:]
        for line in whole.split("\n")
        if line.strip()
    ]
    code = sum(_CODE.search(line) is not None for line in lines)
    pairs = sum(_PAIR.search(line) is not None for line in lines)
    return 3 * code > len(lines) or (len(lines) > 1 and 5 * (pairs + code) > 4 * len(lines))
