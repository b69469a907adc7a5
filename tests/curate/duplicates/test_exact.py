"""Repeated passages against sets of windows, and borders against the `\\X` of the regex package and words of Python's own."""

import unicodedata

import numpy as np
import pytest

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.curate.duplicates import exact
from pinisi.curate.duplicates.exact import cut, repeated
from pinisi.data.text.segmentation import BLOCK, borders

SOLID = ("THAI", "LAO", "KHMER", "MYANMAR", "CJK", "HIRAGANA")
PREVOWELS = "เแโใไເແໂໃໄ"
AFTER = "ะาำๅະາຳ"
STACKS = "\u17d2\u1039\u200d"
WORDS = [
    *[
        "kapal",
        "layar",
        "tiang dua",
        "Tất cả",
        "cả",
        "12",
        "é",
        "e\u0301",
        "n\u0303",
        ".",
        ",",
        "(",
        "\n",
        "\n\n",
        "🙂",
        "👩\u200d🚀",
    ],
    *["ក្នុង", "ខ្ញុំ", "ស្រី", "ကျွန်", "တော်", "သိက္ခာ", "เก่า", "น้ำ", "โลก", "ເກີດ", "ນ້ຳ", "人", "自由", "。", "ひと"],
]


def may_cut(text: str, at: int) -> bool:
    """Between text[at - 1] and text[at], one character at a time."""
    if at in (0, len(text)):
        return True
    before, after = text[at - 1], text[at]
    if (
        unicodedata.category(after)[0] == "M"
        or after in AFTER
        or after == "\u200d"
        or before in PREVOWELS + STACKS
    ):
        return False
    words = [
        unicodedata.category(c)[0] in "LMN" and not unicodedata.name(c, "").startswith(SOLID)
        for c in (before, after)
    ]
    return not all(words)


def plain_repeated(texts: list[str], keys: np.ndarray, least: int) -> list[list[tuple[int, int]]]:
    """Every window of `least` bytes in a set; then the same definition of shrinking, character by character."""
    seen: set[bytes] = set()
    answer: list[list[tuple[int, int]]] = [[] for _ in texts]
    for number in sorted(range(len(texts)), key=lambda i: (int(keys[i]), i)):
        text = texts[number]
        data = text.encode()
        marked = [False] * (len(data) + 1)
        for at in range(len(data) - least + 1):
            window = data[at : at + least]
            if window in seen:
                marked[at : at + least] = [True] * least
            seen.add(window)
        offsets = np.cumsum([0] + [len(c.encode()) for c in text]).tolist()
        at = 0
        while at < len(data):
            end = at
            while marked[end]:
                end += 1
            inner = (
                [i for i, o in enumerate(offsets) if at <= o <= end and may_cut(text, i)] if end > at else []
            )
            if inner and offsets[inner[-1]] - offsets[inner[0]] >= least:
                answer[number].append((inner[0], inner[-1]))
            at = max(end, at + 1)
    return answer


def drawn_texts(rng, count: int, words: int) -> list[str]:
    """Texts with passages of one another, periods, copies, and texts too short to matter."""
    texts = [""]
    for _ in range(count):
        kind = rng.random()
        if kind < 0.1:
            text = str(rng.choice(["ab", "x", "ก็", "人人生", "na na "])) * int(rng.integers(1, 60))
        elif kind < 0.2:
            text = texts[rng.integers(len(texts))]
        else:
            space = str(rng.choice(["", " "]))
            text = space.join(str(w) for w in rng.choice(WORDS, rng.integers(1, words)))
        for _ in range(rng.integers(0, 4)):
            source = texts[rng.integers(len(texts))]
            start = int(rng.integers(0, len(source) + 1))
            passage = source[start : start + int(rng.integers(5, 90))]
            place = int(rng.integers(0, len(text) + 1))
            text = text[:place] + passage + text[place:]
        texts.append(text)
    return texts


def keys_of(texts: list[str]) -> np.ndarray:
    return np.array([text_key(text) for text in texts], np.uint64)


@pytest.mark.parametrize("chunk", [150, 700, 1 << 16])
@pytest.mark.parametrize("least", [16, 23, 57, 100])
def test_spans_are_those_of_all_windows(monkeypatch, chunk, least):
    monkeypatch.setattr(exact, "CHUNK", chunk)
    rng = np.random.default_rng(chunk + least)
    spans = 0
    for _ in range(12):
        texts = drawn_texts(rng, int(rng.integers(1, 30)), 40)
        keys = keys_of(texts)
        found = repeated(texts, keys, least=least)
        assert found == plain_repeated(texts, keys, least)
        spans += sum(map(len, found))
    assert spans > 20


def test_order_budget_and_place_of_the_bytes_change_nothing(monkeypatch, tmp_path):
    rng = np.random.default_rng(41)
    texts = list(dict.fromkeys(drawn_texts(rng, 150, 80)))
    keys = keys_of(texts)
    expected = repeated(texts, keys, least=40)
    assert sum(map(len, expected)) > 100
    monkeypatch.setattr(exact, "CHUNK", 1000)
    for budget in (1 << 30, 60_000, 20_001):
        order = rng.permutation(len(texts))
        found = repeated(
            [texts[i] for i in order], keys[order], least=40, budget_bytes=budget, folder=tmp_path
        )
        assert found == [expected[i] for i in order]
    assert list(tmp_path.iterdir()) == []


def sorted_at_once(monkeypatch, texts: list[str], budget: int) -> tuple[int, list]:
    """The most runs or windows that one sort sees, and the spans."""
    sizes: list[int] = []
    with monkeypatch.context() as patched:
        back = exact._back
        patched.setattr(
            exact, "_back", lambda hashes, places: sizes.append(len(hashes)) or back(hashes, places)
        )
        spans = repeated(texts, keys_of(texts), least=40, budget_bytes=budget)
    return max(sizes), spans


def test_a_budget_is_kept_in_parts(monkeypatch):
    monkeypatch.setattr(exact, "CHUNK", 4000)
    rng = np.random.default_rng(43)
    mixed = drawn_texts(rng, 300, 300)
    # one phrase, too short to go, in a thousand different surroundings: all windows around it must be looked at
    phrase = "cookies make this site work better "
    around = ["".join(rng.choice(list("abcdefgh "), 90)) for _ in range(1000)]
    common = [text[:45] + phrase + text[45:] for text in around]
    for texts in (mixed, common):
        most, expected = sorted_at_once(monkeypatch, texts, 1 << 30)
        least, found = sorted_at_once(monkeypatch, texts, 200_000)
        assert found == expected
        assert least < most / 4 and least < 1.3 * 200_000 / 2 / exact.BYTES_PER_WINDOW


def test_periodic_text_keeps_one_period():
    for unit in ("a", "ab", "abc. ", "กข", "Lorem ipsum dolor sit amet. "):
        text = unit * 5000
        (spans,) = repeated([text], np.zeros(1, np.uint64))
        if unit in ("a", "ab"):
            assert spans == []  # one word: it is not torn
        else:
            assert len(spans) == 1 and spans[0][1] == len(text)
            assert unit.strip() in cut(text, spans) and len(cut(text, spans)) < 2 * len(unit)


def test_the_first_in_order_of_keys_stays():
    passage = "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama. " * 2
    passage += "Kapal pinisi dibuat di Sulawesi Selatan, layarnya tujuh."
    texts = ["Satu. " + passage + " Akhir.", passage, "Dua: " + passage]
    for keys in ([1, 2, 3], [3, 1, 2], [2, 3, 1]):
        found = repeated(texts, np.array(keys, np.uint64), least=80)
        left = [cut(text, spans) for text, spans in zip(texts, found, strict=True)]
        for number, key in enumerate(keys):
            assert ("Kapal pinisi" in left[number]) == (key == 1)
        assert left[0].startswith("Satu. ") and left[0].endswith("Akhir.")


def test_nothing_crosses_a_text():
    half = "Kapal pinisi dibuat di Sulawesi Selatan, layarnya tujuh"
    texts = [half + " dan " + half[::-1], half, half[::-1], "", half + "x"]
    assert repeated(texts, np.arange(5, dtype=np.uint64), least=60) == [[]] * 5


def test_nothing_crosses_a_text_wherever_a_chunk_begins(monkeypatch):
    monkeypatch.setattr(exact, "CHUNK", 150)
    rng = np.random.default_rng(61)
    for length in range(100, 165):
        one, other = ("".join(rng.choice(list("abcdefgh. "), size)) for size in (length, 300))
        across = [f"{length}" + one[-near:] + other[: 16 - near] + "!" for near in range(1, 16)]
        assert repeated([one, other, *across], np.arange(17, dtype=np.uint64), least=16) == [[]] * 17


def test_equal_hashes_of_different_bytes_cut_nothing(monkeypatch):
    rng = np.random.default_rng(47)
    texts = ["".join(rng.choice(list("abc d"), 300)) for _ in range(9)] * 2
    keys = np.arange(18, dtype=np.uint64)
    expected = repeated(texts, keys, least=50)
    back = exact._back

    def wrong(hashes, places):
        found = back(hashes, places)
        extra = (found == 0) & (np.arange(len(found)) % 3 == 2)
        found[extra] = places[extra] - places[0]
        return found

    monkeypatch.setattr(exact, "_back", wrong)
    found = repeated(texts, keys, least=50)
    assert found[:9] == [[]] * 9
    assert sum(map(len, expected)) == 9


def test_borders_are_those_of_one_character_at_a_time(monkeypatch):
    regex = pytest.importorskip("regex")
    rng = np.random.default_rng(53)
    text = "".join(str(w) for w in rng.choice(WORDS, 3000))
    assert borders(text).tolist() == [may_cut(text, at) for at in range(len(text) + 1)]
    begins = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    assert set(np.flatnonzero(borders(text)).tolist()) <= begins
    assert borders("").tolist() == [True]
    from pinisi.data.text import segmentation

    assert len(text) < BLOCK
    whole = borders(text)
    for block in (1, 7, 1000):
        monkeypatch.setattr(segmentation, "BLOCK", block)
        np.testing.assert_array_equal(borders(text), whole)


CUTS = [
    ("one [two] three", "one three"),
    ("one[ two ]three", "one three"),
    ("one\n[two\n]three", "one\nthree"),
    ("one\n\n[two] three", "one\n\nthree"),
    ("one[\ntwo]: three", "one\n: three"),
    ("[one ]two", "two"),
    ("one. [two]", "one."),
    ("[all of it]", ""),
    ("(one[. two])", "(one)"),
    ("人人[生而]自由", "人人自由"),
    ("one [two] [three] four", "one four"),
    ("one [two] and [three] four", "one and four"),
    ("one [two]\n", "one"),
    ("  one [two] three \n", "  one three \n"),
    ("nothing is cut", "nothing is cut"),
    ("one, [two. ]Three", "one, Three"),
    ("a[-x-]b", "a b"),
]


@pytest.mark.parametrize("marked,expected", CUTS)
def test_a_cut_text_is_one_text(marked, expected):
    spans, text, start = [], "", 0
    for piece in marked.replace("]", "[").split("["):
        text += piece
        spans.append((start, len(text)))
        start = len(text)
    assert cut(text, spans[1::2]) == expected


def test_cut_loses_nothing_but_spans_and_white_space():
    rng = np.random.default_rng(59)
    for _ in range(300):
        text = "".join(str(w) + str(rng.choice(["", " ", "\n"])) for w in rng.choice(WORDS, 30))
        places = np.sort(rng.choice(len(text) + 1, 6, replace=False)).tolist()
        spans = list(zip(places[::2], places[1::2], strict=True))
        kept = "".join(text[a:b] for a, b in zip([0, *places[1::2]], [*places[::2], len(text)], strict=True))
        assert "".join(cut(text, spans).split()) == "".join(kept.split())


def test_impossible_settings_say_what_is_needed():
    with pytest.raises(DataError, match="look for 16 bytes"):
        repeated(["a"], np.zeros(1, np.uint64), least=15)
    with pytest.raises(DataError, match="1 texts need as many keys, not 2"):
        repeated(["a"], np.zeros(2, np.uint64))
    assert repeated([], np.zeros(0, np.uint64)) == []
    assert repeated(["", ""], np.zeros(2, np.uint64)) == [[], []]
