"""Repeated passages against sets of windows, and cuts against marked texts."""

import unicodedata

import numpy as np
import pytest

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.curate.duplicates import exact
from pinisi.curate.duplicates.code import code_lines
from pinisi.curate.duplicates.exact import repeated
from pinisi.curate.duplicates.spans import cut
from pinisi.data.text.segmentation import BLOCK, borders
from pinisi.data.text.sentences import bounds

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
        " (",
        ". ",
        "。",
        "!\n",
        "។ ",
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


def units(sign: str) -> int:
    name = unicodedata.name(sign, "")
    return 3 if name.startswith("CJK UNIFIED") else 2 if name.startswith("HIRAGANA LETTER") else 1


def in_code(text: str, at: int) -> bool:
    """Within a line of code, or with one on both sides."""
    lines = text.split("\n")
    is_code, starts = code_lines(lines), np.cumsum([0] + [len(line) + 1 for line in lines]).tolist()
    said = [
        (start, start + len(l), c)
        for start, l, c in zip(starts, lines, is_code, strict=False)
        if l.strip() or c
    ]
    if any(code and start < at < end for start, end, code in said):
        return True
    before = [code for start, end, code in said if end <= at]
    after = [code for start, end, code in said if start >= at]
    return bool(before and after) and before[-1] and after[0]


def plain_repeated(texts: list[str], keys: np.ndarray, least: int) -> list[list[tuple[int, int]]]:
    """Every window of `least` units in a set; then what lies between two bounds within, if it is half of that."""
    seen: set[str] = set()
    answer: list[list[tuple[int, int]]] = [[] for _ in texts]
    for number in sorted(range(len(texts)), key=lambda i: (int(keys[i]), i)):
        text = texts[number]
        data = "".join(sign * units(sign) for sign in text)
        marked = [False] * (len(data) + 1)
        for at in range(len(data) - least + 1):
            window = data[at : at + least]
            if window in seen:
                marked[at : at + least] = [True] * least
            seen.add(window)
        offsets = np.cumsum([0] + [units(sign) for sign in text]).tolist()
        may = [safe and not in_code(text, at) for at, safe in enumerate(bounds(text).tolist())]
        at = 0
        while at < len(data):
            end = at
            while marked[end]:
                end += 1
            inner = [i for i, o in enumerate(offsets) if at <= o <= end and may[i]] if end > at else []
            if inner and offsets[inner[-1]] - offsets[inner[0]] >= least / 2:
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
            passage = source[start : start + int(rng.integers(5, 200))]
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
    for _ in range(30):
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
    for unit in ("a", "ab", "กข", "abc. ", "Lorem ipsum dolor sit amet. ", "人人自由。"):
        text = unit * 5000
        (spans,) = repeated([text], np.zeros(1, np.uint64))
        if len(unit) < 3 or unit == "abc. ":
            assert spans == []  # no sentence ends: nothing is torn
        else:
            assert len(spans) == 1 and spans[0][1] == len(text)
            assert unit.strip() in cut(text, spans) and len(cut(text, spans)) < 10 * len(unit)


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
    with pytest.raises(DataError, match="look for 16 or more"):
        repeated(["a"], np.zeros(1, np.uint64), least=15)
    with pytest.raises(DataError, match="1 texts need as many keys, not 2"):
        repeated(["a"], np.zeros(2, np.uint64))
    assert repeated([], np.zeros(0, np.uint64)) == []
    assert repeated(["", ""], np.zeros(2, np.uint64)) == [[], []]


TWO = {
    "km": "ប្រទេសកម្ពុជាស្ថិតនៅក្នុងតំបន់អាស៊ីអាគ្នេយ៍ ហើយមានព្រំប្រទល់ជាប់នឹងប្រទេសជិតខាងទាំងអស់។ "
    "ទឹកទន្លេហូរកាត់ទីក្រុងធំៗជាច្រើន មុននឹងទៅដល់សមុទ្រ។",
    "th": "ประเทศไทยตั้งอยู่ในภูมิภาคเอเชียตะวันออกเฉียงใต้และมีอาณาเขตติดต่อกับประเทศเพื่อนบ้าน "
    "แม่น้ำสายใหญ่ไหลผ่านเมืองสำคัญหลายเมืองก่อนจะลงสู่ทะเล",
    "zh": "柬埔寨位于东南亚，与泰国、老挝和越南接壤，南临大海，气候炎热。大河流经许多城市，最后注入海中，两岸稻田广阔。",
    "en": "The old harbour lies between two hills, and the ships come in with the evening tide. "
    "It was built by many hands, of wood and of stone, long ago.",
}


@pytest.mark.parametrize("language", TWO)
def test_all_scripts_are_measured_alike(language):
    """100 bytes were 33 letters of Khmer, a phrase: now two sentences of some 140 letters go, and one of half of them stays."""
    both = TWO[language]
    first = both[: both.index("。") + 1] if language == "zh" else both[: both.index(" ", len(both) // 2 - 10)]
    for passage, goes in ((first, False), (both, True)):
        texts = [f"Nine ships came.\n{passage}\nOne left.", f"Ten men sang.\n{passage}\nAll heard them."]
        (kept, cut_out) = repeated(texts, np.arange(2, dtype=np.uint64))
        assert not kept
        assert [texts[1][slice(*span)].strip() for span in cut_out] == ([passage] if goes else [])


def test_a_shared_phrase_tears_no_sentence():
    phrase = "has the right to freedom of peaceful assembly and association, and to change his religion or belief, either alone "
    phrase += "or in community with others, and in public or private"
    texts = [
        f"In this land everyone {phrase}, and so they met. Rain fell.",
        f"Nobody {phrase}, they said. Snow fell.",
    ]
    assert repeated(texts, np.arange(2, dtype=np.uint64)) == [[], []]


def test_code_stays_whole():
    block = "\n".join(f"value_{n} = load(path, {n})\nprint(value_{n})" for n in range(5))
    one, other = (
        [f"{word} {n} went by." for n in range(40)] for word in ("Ship", "Cart")
    )  # so that the text is no program

    def cuts(first: list[str], second: list[str]) -> list[str]:
        texts = ["\n".join(first), "\n".join(second)]
        kept, found = repeated(texts, np.arange(2, dtype=np.uint64))
        assert kept == []
        return [texts[1][slice(*span)].strip() for span in found]

    assert cuts(["x = 1", block, "y = 2"], ["z = 3", block, "w = 4"]) == []
    assert cuts([*one, "x = 1", block, "y = 2", "Done."], [*other, "z = 3", block, "w = 4"]) == []
    assert cuts([*one, block], [*other, block, "All is well."]) == [block]
    between = "The values are then written to the log of the ship, one a day, and whoever reads it later may add what was seen."
    between += " Nobody does. It is a long book."
    first, second = ([f"{name} = {n}" for n in range(8)] for name in ("x", "y"))
    assert cuts([*one, *first, between, *first], [*other, *second, between, *second]) == [between]
