"""Files that are there whole or not at all: a killed run leaves the last good one. And where fetched and compiled ones are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The user's, which may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinisi"


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write text (as UTF-8) or bytes beside `path`, then move them there; makes its folder, returns `path`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
