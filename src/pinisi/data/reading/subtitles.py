"""Reads subtitles (SubRip .srt, WebVTT .vtt) in windows of lines, as Sailor2 did (arXiv 2502.12982, section 3.1).

A document is 100 lines that follow each other; no line stands in two. Numbers, times, comments, styles, tags and notes
of sounds go; a line of text stays as it stood.
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

from pinisi.data.reading.encoding import NoText, decoded
from pinisi.data.reading.source import Part, Records, Source, Trouble, Unreadable
from pinisi.data.reading.whole import whole

WINDOW = 100  # lines of a document
TIMES = re.compile(r"\s*((?:\d+:)?\d{1,2}:\d{1,2}[.,]\d{1,3})\s*-->\s*((?:\d+:)?\d{1,2}:\d{1,2}[.,]\d{1,3})")
NUMBER = re.compile(r"\s*\d+\s*")
TAGS = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|<\d[\d:.]*>|\{[\\/]?[a-zA-Z][^{}]{0,200}\}|\{\\[^{}]{0,200}\}")
SOUNDS = re.compile(
    r"[\[［【][^\[\]］】]{0,80}[\]］】]|[(（][^()（）]{0,80}[)）]|[♪♫#]+(?=\s|$)|(?<!\S)[♪♫#]+"
)
SPEAKER = re.compile(r"^\s*(?:>>\s*|[-–—]\s*(?=\S))")


class Cue(NamedTuple):
    begin: str
    end: str
    lines: list[str]


def subtitles(part: Part, source: Source, trouble: Trouble) -> Records:
    """Documents `file:first-last`, of the lines first to last, with the times between which they are shown."""
    data = whole(part, trouble)
    if data is None:
        return
    try:
        text = decoded(data)
    except NoText as error:
        trouble(Unreadable(f"{part.path}: {error}"))
        return
    shown = [(cue, line) for cue in cues(text) for line in cue.lines]
    if not shown:
        trouble(
            Unreadable(
                f"{part.path}: no subtitles in it: no line with times (00:00:01,000 --> 00:00:02,000) and text"
            )
        )
    for first in range(0, len(shown), WINDOW):
        window = shown[first : first + WINDOW]
        times = {"begin": window[0][0].begin, "end": window[-1][0].end}
        yield (
            f":{first + 1}-{first + len(window)}",
            {source.text_key: "\n".join(line for _, line in window), **times},
        )


def cues(text: str) -> Iterator[Cue]:
    """What is shown, in the order of the file. A cue is the lines behind its times, up to an empty line or the next cue's."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at = 0
    while at < len(lines):
        times = TIMES.match(lines[at])
        at += 1
        if not times:
            continue
        begin = at
        while at < len(lines) and lines[at].strip() and not TIMES.match(lines[at]):
            at += 1
        # some writers leave out the empty line: then the next cue's number is the last line
        stop = (
            at - 1
            if at < len(lines) and TIMES.match(lines[at]) and NUMBER.fullmatch(lines[at - 1]) and at > begin
            else at
        )
        found = [line for line in map(_line, lines[begin:stop]) if line]
        if found:
            begins, ends = (time.replace(",", ".") for time in times.groups())
            yield Cue(begins, ends, found)


def _line(line: str) -> str:
    """A line as it is spoken: without tags, notes of sounds and marks of a change of speaker."""
    line = html.unescape(TAGS.sub("", line.replace("\\N", " ").replace("\\h", " ")))
    return " ".join(SPEAKER.sub("", SOUNDS.sub(" ", line)).split())
