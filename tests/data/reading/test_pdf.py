"""PDF files: pages in order, paragraphs whole, without what stands on every page; a file without text is named."""

import pytest

from pinisi.data.reading import Source, documents_of, parts_of
from pinisi.data.reading.encoding import NoText
from pinisi.data.reading.paragraphs import PageLine, joined
from pinisi.data.reading.pdf import pdf_text
from tests.data.reading.pages import LANGUAGES
from tests.data.reading.pdfs import pdf_of

UNPARTED = {"zh", "zh-hant", "ja"}  # have no space behind a sentence either
UNSPACED = {"th", "km", "lo", "my", "zh", "zh-hant", "ja"}
WIDTH = 40  # characters of a line


def paragraphs(language):
    sentences = LANGUAGES[language][0]
    gap = "" if language in UNPARTED else " "
    return [
        gap.join(f"{sentences[n][: 5 + n].strip()}{gap}{each}" for each in sentences[n:] + sentences[:n])
        for n in range(5)
    ]


def broken(text, language):
    """A text in lines of about equal width, broken where the script allows it."""
    if language in UNSPACED:  # Thai and its kin break between words; here between any letters
        lines = [text[at : at + WIDTH].strip() for at in range(0, len(text), WIDTH)]
        return (
            lines if len(lines[-1]) > 1 else [*lines[:-2], lines[-2] + lines[-1]]
        )  # a sign alone gets lost in pdfium
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


@pytest.mark.parametrize("language", LANGUAGES)
def test_paragraphs_come_out_whole_and_without_running_heads(language):
    """Two paragraphs a page, of which the second goes on at the top of the next page."""
    made = paragraphs(language)
    lines = [line for each in made for line in (*broken(each, language), "")][:-1]
    pages = [
        ["A book of bridges", *lines[at : at + 10], f"- {at // 10 + 1} -"] for at in range(0, len(lines), 10)
    ]
    title, text = pdf_text(pdf_of(pages, title="สะพาน bridges"))
    assert title == "สะพาน bridges" and "A book" not in text and "- 1 -" not in text
    squeezed = text.replace("\n\n", "" if language in UNSPACED else " ")
    assert squeezed.replace(" ", "") == "".join(made).replace(" ", "")  # every letter, in order
    # where a page ends with a paragraph, nothing but the length of its last line tells that it does
    unsure = [at % 10 in (0, 9) for at, line in enumerate(lines) if not line]
    sure = [each for n, each in enumerate(made) if not any(unsure[max(0, n - 1) : n + 1])]
    found = text.split("\n\n")
    if language not in UNSPACED:
        assert [each for each in sure if each not in found] == []
    else:  # no space comes in where a line ended
        spaceless = {each.replace(" ", "") for each in found}
        assert [each for each in sure if each.replace(" ", "") not in spaceless] == []
        assert text.count(" ") <= " ".join(made).count(" ")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["The carpen-", "ters worked"], "The carpenters worked"),
        (["The carpen\ufffe", "ters worked"], "The carpenters worked"),
        (["The carpen\ufffeters worked", "for days"], "The carpenters worked for days"),
        (["para petani dan anak-", "anak berjalan"], "para petani dan anak-anak berjalan"),
        (["a well-known bridge and a well-", "known river"], "a well-known bridge and a well-known river"),
        (["from Mekong-", "Delta on"], "from Mekong- Delta on"),
        (["河边的", "村民"], "河边的村民"),
        (["河边的。", "村民"], "河边的。村民"),
        (["河边的 ", "村民"], "河边的 村民"),
        (["แม่น้ำ", "สะพาน"], "แม่น้ำสะพาน"),
        (["ដប់ពីរថ្ងៃ", "។ ផ្សារ"], "ដប់ពីរថ្ងៃ។ ផ្សារ"),
        (["ใช้ bridge", "ใหม่"], "ใช้ bridge ใหม่"),
    ],
)
def test_lines_are_joined_as_their_script_asks(lines, text):
    page = [PageLine(line, 72, 500, 700 - 14 * number, 11) for number, line in enumerate(lines)]
    assert joined([page]) == text


def test_what_begins_a_paragraph():
    def line(text, at, *, left=72.0, right=500.0, size=11.0):
        return PageLine(text, left, right, 700.0 - at, size)

    page = [
        line("A heading", 0, right=200, size=16),
        line("The first line of one and", 20),
        line("its last.", 34, right=150),
        line("Another without a gap", 48),
        line("goes on", 62, right=490),
        line("an indented one", 76, left=90),
        line("goes on", 90),
        line("1. an item", 104),
        line("• another", 118),
        line("far below", 160),
    ]
    assert joined([page]) == (
        "A heading\n\nThe first line of one and its last.\n\nAnother without a gap goes on\n\nan indented one goes on\n"
        "1. an item\n• another\n\nfar below"
    )


def test_files_without_text_are_named(tmp_path):
    good = pdf_of([["The river rose in the night and nobody slept."]])
    files = {
        "good.pdf": good,
        "scan.pdf": pdf_of([[], [], []]),
        "locked.pdf": pdf_of([["Nobody reads this text, since it is locked."]], key="ab"),
        "torn.pdf": good[: len(good) // 9],
        "text.pdf": b"no PDF",
        "nameless.pdf": pdf_of([["\ue000\ue001\ue002" * 20]]),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    troubles: list[str] = []
    sources = [Source(str(tmp_path), language="en")]
    found = [
        d
        for part in parts_of(sources)
        for d in documents_of(part, sources[0], lambda e: troubles.append(str(e)))
    ]
    assert [document.text for document in found] == ["The river rose in the night and nobody slept."]
    assert [trouble.removeprefix(f"{tmp_path}/").split(" (")[0] for trouble in troubles] == [
        "locked.pdf: a PDF locked by a password",
        "nameless.pdf: a PDF whose letters have no place in Unicode",
        "scan.pdf: a PDF without text: 3 pages, perhaps scanned ones",
        "text.pdf: a damaged PDF",
        "torn.pdf: a damaged PDF",
    ]
    with pytest.raises(NoText):
        pdf_text(b"")
