"""Takes spans out of a text so that it is still one text."""

from pinisi.data.text.segmentation import borders

Spans = list[tuple[int, int]]  # of characters of a text, in order


def cut(text: str, spans: Spans) -> str:
    """The text without these spans (in order), still one text: around each, the larger of the white spaces beside it stays.

    Where there is none, a line break or space at an edge of what was cut is put back, or a space between two letters of a script
    with spaces. White space that a cut leaves at the text's ends goes too.
    """
    gaps: list[tuple[int, int, list[str]]] = []  # a span with the white space around it; that white space
    for start, end in spans:
        left, right = start, end
        while left > 0 and text[left - 1].isspace():
            left -= 1
        while right < len(text) and text[right].isspace():
            right += 1
        white = [text[left:start], text[end:right], _edge(text[start:end])]
        if gaps and left <= gaps[-1][1]:  # nothing but white space between two cuts
            left, _, before = gaps.pop()
            white = before + white
        gaps.append((left, right, white))
    kept, at = [], 0
    for left, right, white in gaps:
        kept.append(text[at:left])
        if left > 0 and right < len(text):
            widest = max(white, key=lambda space: (space.count("\n"), len(space)))
            kept.append(widest or ("" if borders(text[left - 1] + text[right])[1] else " "))
        at = right
    return "".join(kept) + text[at:]


def _edge(removed: str) -> str:
    """A line break if what was cut begins or ends with one, else a space if it does with any white space."""
    body = removed.strip()
    edges = (
        removed[: len(removed) - len(removed.lstrip())] + removed[len(removed.rstrip()) :]
        if body
        else removed
    )
    return "\n" if "\n" in edges else " " if edges else ""
