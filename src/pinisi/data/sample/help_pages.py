"""Reads LibreOffice's help: pages of connected prose, whose paragraphs have the same id in every language."""

import re
from collections.abc import Iterator

from pinisi.data.sample.packages import Package

PARAGRAPH = re.compile(r'<(p|h\d)\s[^>]*?id="((?:par|hd)_[^"]+)"[^>]*>(.*?)</\1>', re.DOTALL)
# the help shows one of two wordings, by system: keep the one that is not the Mac's
MAC = re.compile(r'<span hidden="true" id="MAC[^"]*" class="MAC">.*?</span>', re.DOTALL)


def pages(package: Package, code: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(path within the help, {paragraph id: HTML}) of each page."""
    prefix = f"usr/share/libreoffice/help/{code}/text/"
    for path, content in package.members(re.escape(prefix) + r".*\.html"):
        page = MAC.sub("", content.decode("utf-8", "replace"))
        found = {key: body for _, key, body in PARAGRAPH.findall(page)}
        if found:
            yield path.removeprefix(prefix), found
