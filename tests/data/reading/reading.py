"""Reads what a test wrote: documents and troubles of sources."""

import subprocess
import sys

from pinisi.data.documents import Document
from pinisi.data.reading import Source, documents_of, parts_of


def read(*sources: Source) -> tuple[list[Document], list[str]]:
    """All documents, and what could not be read."""
    troubles: list[str] = []
    found = [
        document
        for part in parts_of(sources)
        for document in documents_of(part, sources[part.source], lambda error: troubles.append(str(error)))
    ]
    return found, troubles


def texts(*sources: Source) -> list[str]:
    """The documents' texts; there must be no trouble."""
    found, troubles = read(*sources)
    assert not troubles
    return [document.text for document in found]


def peak(code: str, *arguments: str) -> tuple[float, str]:
    """MiB of memory that code takes beyond its imports and what it takes to read a small file, and what it prints. Run in a
    process of its own."""
    program = f"""
import resource, sys
from pinisi.data.lines import opened, read_lines
from pinisi.data.reading import Source, documents_of, parts_of
import pyarrow.parquet, zstandard
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = most()
{code}
print(most() - before)
"""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    *said, memory = done.stdout.splitlines()
    return float(memory), "\n".join(said)
