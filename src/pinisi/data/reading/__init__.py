"""Reads raw text of every kind: files of a source, cut into parts, and the documents of a part.

Reading order: `source` (what is asked for), `find` (which files), `parts` (cut how), `fingerprints` (whether they changed),
`documents`, then a file for each kind.
"""

from pinisi.data.reading.documents import documents_of
from pinisi.data.reading.fingerprints import fingerprint
from pinisi.data.reading.parts import part_size, parts_of
from pinisi.data.reading.source import Part, Skipped, Source, Unreadable

__all__ = ["Part", "Skipped", "Source", "Unreadable", "documents_of", "fingerprint", "part_size", "parts_of"]
