"""Frequent lines against sets of plain strings, and what must stay."""

import unicodedata
from collections import Counter

import numpy as np
import pytest

from pinisi.base.errors import DataError
from pinisi.curate.duplicates.code import code_lines
from pinisi.curate.duplicates.lines import (
    BLANK,
    FEWEST,
    LineCounts,
    count,
    frequent,
    line_hashes,
    merge,
    most_documents,
    passages,
    without,
)

LINES = [
    "Beranda",
    "beranda ",
    "BERANDA",
    "Hak  cipta",
    "Hak cipta",
    "ស្វាគមន៍",
    "မြန်မာ",
    "é",
    "E\u0301",
    "2024",
    "",
    "  ",
    "---",
    "·",
]


def plain(line: str) -> str:
    return unicodedata.normalize("NFC", " ".join(line.casefold().split()))


def letters(line: str) -> int:
    heavy = {"CJK": 3, "HIRAGANA": 2}
    return sum(
        heavy.get(unicodedata.name(c).split()[0], 1) for c in line if unicodedata.category(c)[0] in "LNM"
    )


def drawn_texts(seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = [
        *LINES,
        *(f"line {i}" for i in range(20)),
        "x = f(y)",
        "人人生而自由",
        "a much longer line of the page",
    ]
    menu = ["Beranda", "Berita", "---", "Olahraga", "Tentang kami"]
    texts = []
    for _ in range(101):
        own = [str(l) for l in rng.choice(lines, rng.integers(0, 13))]
        at = int(rng.integers(0, len(own) + 1))
        texts.append("\n".join([*own[:at], *(menu if rng.random() < 0.4 else []), *own[at:]]))
    return texts


def plain_passages(text: str, least: int) -> set[tuple[tuple[str, ...], int, int]]:
    """(lines, first, last), grown line by line from each line on, and back."""
    lines, found = text.split("\n"), set()
    code = code_lines(lines)
    said = [n for n, line in enumerate(lines) if any(c.isalnum() for c in line)]
    for at in range(len(said)):
        for step in (1, -1):
            taken = [said[at]]
            while sum(letters(plain(lines[n])) for n in taken) < least or 1 < len(taken) < FEWEST:
                following = said.index(taken[-1]) + step
                if not 0 <= following < len(said):
                    break
                taken.append(said[following])
            else:
                first, last = min(taken), max(taken)
                if not any(code[first : last + 1]):
                    found.add((tuple(plain(lines[n]) for n in sorted(taken)), first, last))
    return found


@pytest.mark.parametrize("least", [1, 8, 14, 30])
def test_passages_are_those_grown_line_by_line(least):
    seen: dict[int, tuple[str, ...]] = {}
    for text in drawn_texts(5):
        of = passages(text, least)
        expected = plain_passages(text, least)
        assert sorted(zip(of.first.tolist(), of.last.tolist(), strict=True)) == sorted(
            p[1:] for p in expected
        )
        by_place = {place[1:]: place[0] for place in expected}
        for hashed, first, last in zip(*(column.tolist() for column in of), strict=True):
            assert seen.setdefault(hashed, by_place[first, last]) == by_place[first, last]
    assert len(set(seen.values())) == len(seen) > 10


def test_lines_are_the_same_on_any_machine():
    assert line_hashes("\n --- \n").tolist() == [BLANK] * 3
    assert line_hashes("Beranda").tolist() == [GOLDEN]


GOLDEN = 14594883305151784817


def test_parts_counted_apart_give_the_same():
    parts = [count(passages(text, 8).hashes) for text in drawn_texts(2)]
    whole = merge(parts)
    expected = Counter(p for text in drawn_texts(2) for p in {q[0] for q in plain_passages(text, 8)})
    assert sorted(whole.counts.tolist()) == sorted(expected.values())
    rng = np.random.default_rng(3)
    for pieces in (1, 2, 7, 101):
        order = rng.permutation(len(parts))
        merged = merge(merge(parts[i] for i in piece) for piece in np.array_split(order, pieces))
        np.testing.assert_array_equal(merged.hashes, whole.hashes)
        np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merge([]).hashes.tolist() == []


def cleaned(texts: list[str], more_than: int = 5, least: int = 30) -> list[tuple[str, list[str]]]:
    seen = merge(count(passages(text, least).hashes) for text in texts)
    found = frequent(seen, more_than)
    return [without(text, found, least) for text in texts]


@pytest.mark.parametrize("more_than", [1, 5, 11])
def test_frequent_passages_go_and_the_rest_stays(more_than):
    texts, gone = drawn_texts(4), 0
    counter = Counter(p for text in texts for p in {q[0] for q in plain_passages(text, 14)})
    for text, (left, removed) in zip(texts, cleaned(texts, more_than, 14), strict=True):
        goes = set()
        for words, first, last in plain_passages(text, 14):
            if counter[words] > more_than:
                goes |= set(range(first, last + 1))
        lines = text.split("\n")
        assert removed == [line for n, line in enumerate(lines) if n in goes and line.strip()]
        stays = [line for n, line in enumerate(lines) if line.strip() and n not in goes]
        assert [line for line in left.split("\n") if line.strip()] == stays
        if not removed:
            assert left == text
        gone += len(removed)
    assert gone > 40


def test_menus_and_notices_go():
    menu = "Beranda\nBerita\nOlahraga\nTentang Kami\nHubungi Kami"
    notice = "© 2024 Harian Layar. Hak cipta dilindungi undang-undang."
    banner = "网站使用cookie以改善您的浏览体验，继续浏览即表示同意。"
    texts = [f"{menu}\n\nKapal ke-{n} berlayar.\nIsinya {n} ton.\n\n{banner}\n{notice}" for n in range(100)]
    for n, (left, removed) in enumerate(cleaned(texts)):
        assert left == f"Kapal ke-{n} berlayar.\nIsinya {n} ton." and len(removed) == 7
    assert [left for left, _ in cleaned(texts[:5])] == texts[:5]


def test_labels_recipes_refrains_and_code_stay():
    recipes = [
        f"Sup {n}\nBahan:\n{n} ekor ikan\nGaram secukupnya\nMerica secukupnya\n{n} l air\nLangkah:\nRebus {n} menit.\nQ: Enak?\n---"
        for n in range(40)
    ]
    songs = [
        "\n".join(f"Bait {n} {m}.\nDan angin membawa kami pulang ke rumah ibu" for m in range(9))
        for n in range(5)
    ]
    imports = "import os\nimport sys\nimport numpy as np\nfrom collections import defaultdict\nfrom pathlib import Path\n"
    code = [
        f"{imports}\ntry:\n    run({n})\nexcept Exception as error:\n    raise SystemExit(1)\nelse:\n    stop({n})"
        for n in range(40)
    ]
    words = ["Text of the page that nobody else has, "] * 30
    pages = [
        "\n".join(
            [
                *(f"{w}{n} {m}." for m, w in enumerate(words)),
                "```",
                "load the model from the folder of the run",
                "```",
            ]
        )
        for n in range(40)
    ]
    yaml = [
        f"name: build\non: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: make {n}"
        for n in range(40)
    ]
    for texts in (recipes, songs, code, pages, yaml):
        assert cleaned(texts) == [(text, []) for text in texts]


def test_a_share_of_documents_may_have_a_phrase():
    assert most_documents(100) == most_documents(500_000) == 5
    assert most_documents(10_000_000) == 100
    assert most_documents(100, most=3, share=0.1) == 10


def test_gaps_where_lines_went():
    gone = np.sort(np.concatenate([passages(line, 1).hashes for line in ("menu", "notice")]))
    for text, expected in [
        ("menu\n\nText.\n", "Text.\n"),
        ("One.\n\nMENU\n\nTwo.", "One.\n\nTwo."),
        ("One.\nmenu\n\n\nnotice\nTwo.", "One.\n\n\nTwo."),
        ("One.\n\n menu ", "One."),
        ("\nOne.\nmenu\n\n", "\nOne."),
        ("menu", ""),
        ("menus\n\nTwo.", "menus\n\nTwo."),
    ]:
        assert without(text, gone, 1)[0] == expected
    assert without("menu", gone[:0], 1) == ("menu", [])


def test_a_limit_below_one_is_refused():
    with pytest.raises(DataError, match="more than 0"):
        frequent(LineCounts(np.zeros(0, np.uint64), np.zeros(0, np.int64)), 0)
