"""Tells lines of code, markup and settings from prose: `import numpy as np` stands in many files and is no menu."""

import re
from collections.abc import Sequence

from pinisi.data.text.sentences import STRONG

FENCE = re.compile(r"\s*(```|~~~)")
CODE = re.compile(
    r"""
      ^(\t|\ {4})                                         # indented
    | [{}\\`] | ;\s*$ | \w_\w | :: | -> | =>              # signs that prose hardly has
    | </?\w[^<>]*> | \w\((?!s\)) | \w\[ | [\w\])"']\s?[=!+<>-]?=\s?[\w\["'(-]
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
# A sentence that speaks of code, or has {a place} for a word: five words or more at the edge, or a script without spaces, and a
# sign at its end.
SENTENCE = re.compile(rf"^\S+(\s+\S+){{4,}}\s*[.!?…][)\"'”’]*\s*$|[^\x00-\x7f][{STRONG}][)\"'”’」』）]*\s*$")
SHARE = 0.3  # of a text's lines: more are no quotation, the text is a program


def code_lines(lines: Sequence[str]) -> list[bool]:
    """Tells of each line of a text whether it is code; of a program all are, comments too."""
    found, fenced = [], False
    for line in lines:
        fence = FENCE.match(line) is not None
        found.append(fenced or fence or _is_code(line))
        fenced ^= fence
    if fenced:  # one that was never closed
        found = [_is_code(line) for line in lines]
    said = sum(1 for line in lines if line.strip())
    return [True] * len(lines) if sum(found) > SHARE * said else found


def _is_code(line: str) -> bool:
    return CODE.search(line) is not None and SENTENCE.search(line) is None
