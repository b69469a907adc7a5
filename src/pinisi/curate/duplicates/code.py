"""Tells lines of code, markup and settings from prose: `import numpy as np` stands in many files and is no menu."""

import re
from collections.abc import Sequence

FENCE = re.compile(r"\s*(```|~~~)")
CODE = re.compile(
    r"""
      ^(\t|\ {4})                                         # indented
    | [{}\\`] | ;\s*$ | \w_\w | :: | -> | =>              # signs that prose hardly has
    | </?\w[^>]*> | \w\((?!s\)) | \w\[ | [\w\])"']\s?[=!+<>-]?=\s?[\w\["'(-]
    | ^\s*(import|from)\s[\w.]+(\s(as|import)\s|\s*$)     # Python
    | ^\s*(try|else|finally|do)\s*:?\s*$ | ^\s*(def|class|elif|if|for|while|with|except)\b.*:\s*$
    | ^\s*(return|raise|pass|break|continue|yield|assert|del|global)(\s[\w.,\s]*)?$
    | ^\s*\#\s?(include|define|if|ifdef|ifndef|endif|pragma)\b | ^\s*(//|/\*|\*/|\#!|--\s|<!)
    | ^\s*(\$|>>>|\.\.\.|sudo|pip3?|npm|yarn|git|cargo|docker|apt(-get)?|conda|python3?|cd)\s
    | ^\s*(-\s)?[a-z][\w.-]*:(\s|$) | ^\s*"[^"]+"\s*:     # YAML, JSON
    """,
    re.VERBOSE
    | re.ASCII,  # letters are those of programs: Chinese too may put (signs) behind a word without a space
)
SHARE = 0.3  # of a text's lines: more are no quotation, the text is a program


def code_lines(lines: Sequence[str]) -> list[bool]:
    """Tells of each line of a text whether it is code; of a program all are, comments too."""
    found, fenced = [], False
    for line in lines:
        fence = FENCE.match(line) is not None
        found.append(fenced or fence or CODE.search(line) is not None)
        fenced ^= fence
    if fenced:  # one that was never closed
        found = [CODE.search(line) is not None for line in lines]
    said = sum(1 for line in lines if line.strip())
    return [True] * len(lines) if sum(found) > SHARE * said else found
