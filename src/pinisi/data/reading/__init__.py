"""Reads raw text of every kind: files of a source, cut into parts, and the documents of a part.

Reading order: `source` (what is asked for), `parts` (which files, cut how), `documents`, then a file for each kind.
"""

from pinisi.data.reading.documents import documents_of
from pinisi.data.reading.parts import fingerprint, part_size, parts_of
from pinisi.data.reading.source import Part, Skipped, Source, Unreadable

__all__ = ["Part", "Skipped", "Source", "Unreadable", "documents_of", "fingerprint", "part_size", "parts_of"]
