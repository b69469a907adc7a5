"""Mends what is mechanically wrong with a text: encoding, markup, control characters, white space.

Nothing here looks at the language. A clean text, be it prose, code, verse or a table, comes back as it is: one in NFC, with
\\n at the ends of lines, no spaces before them, at most three blank lines together, and none at its ends. Every step takes
linear time.
"""

from collections.abc import Callable, Collection

from pinisi.curate.repair.characters import single_newlines, without_controls, without_noise
from pinisi.curate.repair.encoding import composed, decoded
from pinisi.curate.repair.entities import without_entities
from pinisi.curate.repair.markup import without_markup

# In the order in which they are done: bytes of UTF-8 read as Latin-1 look like line breaks, tags and controls.
_STEPS: dict[str, Callable[[str], str]] = {
    "encoding": decoded,
    "newlines": single_newlines,
    "markup": without_markup,
    "entities": without_entities,
    "control": without_controls,
    "form": composed,
    "space": without_noise,
}
STEPS = tuple(_STEPS)
# One step can lay open work for another: entities hide tags, or bytes. This many rounds end all but what means to outlast them.
_ROUNDS = 6


def repaired(text: str, steps: Collection[str] = STEPS) -> tuple[str, list[str]]:
    """Mends a text by these steps; returns it with the names of those that changed something, in the order of STEPS."""
    done: set[str] = set()
    for _ in range(_ROUNDS):
        before = text
        for name, step in _STEPS.items():
            if name in steps and (mended := step(text)) != text:
                done.add(name)
                text = mended
        if text == before:
            break
    return text, [name for name in STEPS if name in done]
