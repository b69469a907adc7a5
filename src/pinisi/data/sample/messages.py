"""Reads message catalogues of programs: JSON of MediaWiki and its kin, gettext .mo, Mozilla's .ftl and .properties.

Each reader gives {key: text} of one file; the key is the same in every language (in .mo it is the English).
"""

import json
import re
import struct

from pinisi.data.sample.packages import Unavailable

FTL = re.compile(
    r"^(-?[a-zA-Z][\w-]*|\s+\.[\w-]+)\s*=[ \t]*(.*(?:\n[ \t]+(?![ \t]*\.[\w-]+\s*=)[^\s.*\[}].*)*)", re.M
)
PROPERTY = re.compile(r"^([^#!=\s][^=\s]*)\s*=[ \t]*(.+)$", re.M)
MO_MAGIC = 0x950412DE


def read_json(content: bytes) -> dict[str, str]:
    messages = json.loads(content.decode("utf-8-sig"))
    return {key: text for key, text in messages.items() if isinstance(text, str) and not key.startswith("@")}


def read_mo(content: bytes) -> dict[str, str]:
    """GNU gettext's binary catalogue (gettext manual, "The Format of GNU MO Files")."""
    order = "<" if struct.unpack_from("<I", content)[0] == MO_MAGIC else ">"
    count, originals, translations = struct.unpack_from(f"{order}3I", content, 8)
    messages = {}
    for number in range(count):
        key, text = (
            content[start : start + length].decode("utf-8", "replace")
            for length, start in (
                struct.unpack_from(f"{order}2I", content, table + 8 * number)
                for table in (originals, translations)
            )
        )
        key = key.split("\0")[0]  # singular of a plural
        if key:
            messages[key] = text.split("\0")[-1]
    return messages


def mo_english(key: str) -> str:
    """The English text that a gettext key stands for: what follows the context."""
    return key.rpartition("\x04")[2]


def read_ftl(content: bytes) -> dict[str, str]:
    """Fluent: messages and attributes; terms, selectors and comments carry little text and are left out."""
    messages, parent = {}, ""
    for key, text in FTL.findall(content.decode("utf-8")):
        if key[0].isspace():
            key = parent + key.strip()
        else:
            parent = key
        messages[key] = text
    return messages


def read_properties(content: bytes) -> dict[str, str]:
    return dict(PROPERTY.findall(content.decode("utf-8", "replace")))


READERS = {".json": read_json, ".mo": read_mo, ".ftl": read_ftl, ".properties": read_properties}


def read_messages(path: str, content: bytes) -> dict[str, str]:
    """The messages of a file by its suffix. Raises Unavailable if it is not what its name says."""
    try:
        return READERS["." + path.rsplit(".", 1)[1]](content)
    except (ValueError, struct.error) as error:
        raise Unavailable(f"{path} cannot be read ({error})") from error
