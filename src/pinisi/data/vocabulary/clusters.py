"""Tells which stretches of text may be one token: parts of one character, or characters that begin where a reader sees one begin.

A token that begins with a vowel sign and goes on into the next letter cuts two letters of Burmese, Khmer, Lao or Thai at once:
the same word then has many spellings in tokens. Clusters are those of Unicode (UAX 29, extended grapheme clusters).
"""

from functools import lru_cache

import regex

CLUSTER = regex.compile(r"\X")
MARK = regex.compile(r"[\p{M}\u200c\u200d]")


@lru_cache(maxsize=1 << 18)
def may_be_token(content: bytes) -> bool:
    """Whether bytes are part of one character, within one cluster, or clusters of which the first is there from its beginning."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return _part_of_character(content)
    return not MARK.match(text) or len(CLUSTER.findall(text)) <= 1 or all(map(MARK.match, text))


def _part_of_character(content: bytes) -> bool:
    continuation = [0x80 <= byte < 0xC0 for byte in content]
    return len(content) < 4 and all(continuation[1:])
