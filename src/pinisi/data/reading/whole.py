"""Reads a file that is one document as bytes."""

from pinisi.data.lines import opened, unpacking_errors
from pinisi.data.reading.source import Part, Trouble, Unreadable

_DAMAGE: tuple[type[Exception], ...] = (EOFError, OSError, *unpacking_errors())
MOST = 64 * 2**20  # bytes of a document; a larger one is not held in memory


def whole(part: Part, trouble: Trouble) -> bytes | None:
    """All bytes of a file, unpacked. None, and told, where it can't be read or is too large."""
    try:
        with opened(part.path) as file:
            data = file.read(MOST + 1)
    except _DAMAGE as error:
        trouble(Unreadable(f"{part.path}: can't be read ({str(error) or 'the packed data end too early'})"))
        return None
    if len(data) > MOST:
        trouble(Unreadable(f"{part.path}: more than {MOST // 2**20} MiB in one document"))
        return None
    return data
