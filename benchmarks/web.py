"""How much of web pages, PDF files and subtitles is read: python benchmarks/web.py [--labelled FILE.json FOLDER...] [--json FILE].

40 pages are made in the forms of real sites (news, blog, wiki, forum, office, ...), in 10 languages and 13 ways to
declare an encoding. Main text and menus are known, so that what is lost and what leaks in can be counted, for Pinisi
beside trafilatura and resiliparse alone, which are given the text that Pinisi decoded. Then PDF files and subtitles.

--labelled judges on real pages: {address: {"file": name in a FOLDER, "with": [pieces of main text], "without": [pieces
of menus]}}, the form of trafilatura's tests/evaldata.json.
"""

import argparse
import json
import logging
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from pinisi.data.reading.encoding import NoText, decoded
from pinisi.data.reading.html import main_text
from pinisi.data.reading.pdf import pdf_text
from pinisi.data.reading.subtitles import cues
from pinisi.data.text.segmentation import borders
from tests.data.reading.pages import LANGUAGES, cases
from tests.data.reading.pdfs import pdf_of

Extract = Callable[[str], str]
Labelled = tuple[str, list[str], list[str]]  # page, pieces of main text, pieces of menus


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labelled", nargs="+", type=Path, metavar=("FILE", "FOLDER"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    result: dict[str, Any] = {"processor": platform.processor() or platform.machine()}
    made = [(decoded(data, declared.header), page.main, page.menus) for _, declared, page, data in cases()]
    result["made"] = compared(f"{len(made)} pages made", made)
    if options.labelled:
        pages = list(labelled(*options.labelled))
        result["labelled"] = compared(f"{len(pages)} labelled pages", pages)
    result["pdf"], result["subtitles"] = pdfs(), subtitles()
    print(
        f"PDF: {result['pdf']:.1%} of paragraphs; subtitles: {result['subtitles']:.1%} of lines, {len(LANGUAGES)} languages"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def extractors() -> dict[str, Extract]:
    """Each gives "" where it finds nothing."""
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    def pinisi(page: str) -> str:
        try:
            return main_text(page)[1]
        except NoText:
            return ""

    return {
        "pinisi": pinisi,
        "trafilatura": lambda page: trafilatura.extract(page, include_comments=False) or "",
        "resiliparse": lambda page: extract_plain_text(page, main_content=True, alt_texts=False),
    }


def compared(title: str, pages: Iterable[Labelled]) -> dict[str, Any]:
    """Shares of main text and of menus that come out, of pages with all main text, of it in order; milliseconds a page."""
    print(f"{title}: main text, pages with all of it, also in order, menus, time a page")
    rows = {}
    for name, extract in extractors().items():
        main = found = menus = leaked = whole = ordered = count = 0
        begin = time.process_time()
        for page, pieces, out in pages:
            text = squeezed(extract(page))
            places = [text.find(squeezed(piece)) for piece in pieces]
            count, main, menus = count + 1, main + len(pieces), menus + len(out)
            found += sum(place >= 0 for place in places)
            leaked += sum(squeezed(piece) in text for piece in out)
            whole += min(places) >= 0
            ordered += min(places) >= 0 and places == sorted(places)
        milliseconds = 1000 * (time.process_time() - begin) / count
        rows[name] = {
            "main": found / main,
            "whole": whole / count,
            "ordered": ordered / count,
            "menus": leaked / menus,
            "ms": milliseconds,
        }
        shares = " ".join(f"{value:6.1%}" for key, value in rows[name].items() if key != "ms")
        print(f"  {name:12} {shares} {milliseconds:5.1f} ms")
    return rows


def labelled(file: Path, *folders: Path) -> Iterable[Labelled]:
    """Pages whose file lies in one of the folders and can be decoded; the others are named."""
    for about in json.loads(file.read_text()).values():
        path = next(
            (folder / about["file"] for folder in folders if (folder / about["file"]).is_file()), None
        )
        if path is None:
            continue
        try:
            yield decoded(path.read_bytes()), about["with"], about["without"]
        except NoText as error:
            print(f"  {path.name}: {error}")


def pdfs() -> float:
    """Share of paragraphs that come out whole and alone: five of five sentences on each of five pages, which have a running head
    and a number, in lines of at most 40 characters."""
    right = total = 0
    for sentences, _ in LANGUAGES.values():
        turned = [" ".join(sentences[n:] + sentences[:n]) for n in range(5)]
        made = [turned[n:] + turned[:n] for n in range(5)]
        pages = [
            ["A running head", *(line for each in page for line in (*cut(each), "")), f"- {number} -"]
            for number, page in enumerate(made, 1)
        ]
        paragraphs = [each.replace(" ", "") for each in pdf_text(pdf_of(pages))[1].split("\n\n")]
        total += sum(map(len, made))
        right += sum(paragraphs.count(each.replace(" ", "")) for each in turned)
    return right / total


def cut(text: str) -> list[str]:
    """Lines of at most 40 characters, broken at spaces, or between letters where a script has none."""
    lines = []
    ends = [end for end in borders(text).nonzero()[0].tolist() if text[end : end + 1] not in set("។၊။，。、")]
    begin = 0
    while begin < len(text):
        stop = max((end for end in ends if begin < end <= begin + 40), default=begin + 40)
        stop = min(stop, len(text))
        lines.append(text[begin:stop].strip())
        begin = stop
    return lines


def subtitles() -> float:
    """Share of lines that come out as they are spoken."""
    right = total = 0
    for sentences, _ in LANGUAGES.values():
        shown = [f"<i>{each}</i> [music]" for each in sentences * 100]
        text = "".join(
            f"{n + 1}\n00:00:{n % 60:02d},000 --> 00:00:{n % 60:02d},900\n{line}\n\n"
            for n, line in enumerate(shown)
        )
        lines = [line for cue in cues(text) for line in cue.lines]
        right += sum(got == each for got, each in zip(lines, sentences * 100, strict=False))
        total += len(shown)
    return right / total


def squeezed(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
