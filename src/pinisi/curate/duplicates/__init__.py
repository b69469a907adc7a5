"""Finds what occurs twice: near duplicates, repeated passages, frequent lines, the same URL. Arrays and strings, no processes.

Reading order: `hashes`, `near`, `pieces`, `pairs`, `components`, `settle`, `together`, `spans`, `weights`, `exact`, `code`,
`lines`, `urls`.
"""

from pinisi.curate.duplicates.exact import repeated
from pinisi.curate.duplicates.lines import LineCounts, count, frequent, merge, passages, without
from pinisi.curate.duplicates.near import bands_for, keep, shingles, signature
from pinisi.curate.duplicates.spans import cut
from pinisi.curate.duplicates.together import find
from pinisi.curate.duplicates.urls import canonical_url, keep_longest, url_hash

__all__ = [
    "LineCounts",
    "bands_for",
    "canonical_url",
    "count",
    "cut",
    "find",
    "frequent",
    "keep",
    "keep_longest",
    "merge",
    "passages",
    "repeated",
    "shingles",
    "signature",
    "url_hash",
    "without",
]
