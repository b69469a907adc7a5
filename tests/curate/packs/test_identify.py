"""Which pack a text fits."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import DataError
from pinisi.curate.packs import Pack, Packs, build_pack, evidence
from pinisi.curate.packs import identify as module
from pinisi.curate.packs.stream import stream
from pinisi.curate.packs.table import Table
from pinisi.data.text.scripts import classes
from pinisi.data.text.segmentation import normal_codes
from tests.curate.packs.texts import documents


@pytest.fixture(scope="module")
def packs():
    return {
        language: build_pack(language, documents(language)) for language in ("aa", "bb", "cc", "tt", "kk")
    }


@pytest.fixture(scope="module")
def every(packs):
    return Packs(packs.values())


def best(packs, text):
    return packs.identify(text)[0][0]


@pytest.mark.parametrize("language", ["aa", "bb", "cc", "tt", "kk"])
def test_held_out_documents_and_lines_are_found(every, language):
    for text in documents(language, 5, seed=9):
        assert best(every, text) == language
        assert dict(every.identify(text))[language] > 0.9
        for line in text.split("\n")[:3]:
            assert best(every, line) == language


def test_probabilities_sum_to_one_and_fall(every):
    for text in ["kata", "x", "kata ke กา", "ngi sto កា กา", *documents("bb", 3, seed=4)]:
        found = every.identify(text)
        assert sorted(language for language, _ in found) == ["aa", "bb", "cc", "kk", "tt"]
        shares = [share for _, share in found]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0


@pytest.mark.parametrize(
    "text", ["", " \n", "12 + 34", "🙂!", "\u0301", "добрый день", "добрый день kata", "안녕하세요 kata"]
)
def test_no_letters_or_an_unknown_script_fits_nothing(every, text):
    assert every.identify(text) == []


def test_a_few_foreign_letters_change_little(every):
    text = documents("tt", 1, seed=3)[0]
    found = dict(every.identify(text + " kata nama добрый"))
    assert found["tt"] > 0.9
    assert dict(every.identify(text + " " + documents("aa", 1, seed=3)[0] * 9))["aa"] > 0.8


def test_shares_of_scripts_decide_between_them(every):
    latin, thai = documents("aa", 1, seed=3)[0], documents("tt", 1, seed=3)[0]
    letters = [sum(kind == 1 for kind in classes()[normal_codes(text)]) for text in (latin, thai)]
    found = dict(every.identify(latin + thai))
    expected = letters[1] ** 3 / (letters[0] ** 3 + letters[1] ** 3)
    assert 0.1 < expected < 0.9 and found["tt"] == pytest.approx(expected, rel=1e-6)


def test_order_of_packs_is_irrelevant(packs):
    texts = [documents(language, 1, seed=5)[0][:80] for language in packs] + ["kata ki กา"]
    orders = itertools.islice(itertools.permutations(packs.values()), 0, None, 23)
    found = [[Packs(order).identify(text) for text in texts] for order in orders]
    assert all(one == found[0] for one in found)


def test_a_new_pack_takes_part_at_once(packs, tmp_path):
    texts = documents("cc", 5, seed=6)
    before = Packs([packs["aa"], packs["bb"]])
    assert {best(before, text) for text in texts} <= {"aa", "bb"}
    packs["cc"].save(tmp_path / "mine")
    for language in ("aa", "bb"):
        packs[language].save(tmp_path / language)
    after = Packs.load(["aa", "bb", "cc"], [tmp_path])
    assert {best(after, text) for text in texts} == {"cc"}
    for text in documents("bb", 5, seed=6):  # what was told apart stays so
        assert best(before, text) == best(after, text) == "bb"


def test_little_text_neither_wins_nor_loses(packs):
    """A pack from a tenth of the text is found, and does not draw in the other's."""
    small = {language: build_pack(language, documents(language, 4)) for language in ("aa", "bb")}
    for mixed, language in (([small["aa"], packs["bb"]], "aa"), ([packs["aa"], small["bb"]], "bb")):
        for own in ("aa", "bb"):
            found = [best(Packs(mixed), text) == own for text in documents(own, 20, seed=8, length=14)]
            assert np.mean(found) >= 0.95, (language, own)


def test_probabilities_are_those_of_the_formula(packs):
    """One text, one script: a softmax of flattened likelihoods in which no word counts more than FOREIGN."""
    names = ["aa", "bb", "cc"]
    some = Packs([packs[name] for name in names])
    text = "Kata ngipo sto nama nama na\u0331ma zz."  # a mark that no letter is composed with
    runs = text.lower().strip(".").split(" ")
    table = Table([packs[name].ngrams for name in names], module.UNKNOWN)
    scores = np.zeros(3)
    for run in runs:
        logs = table.log_likelihood(stream(normal_codes(run)))
        scores += np.log(np.exp(logs) + np.exp(logs.max() - evidence.FOREIGN))
    length = sum(len(run) + 1 for run in runs) + 1
    odds = np.exp((scores - scores.max()) * 10 / max(length, 40))
    expected = dict(zip(names, odds / odds.sum(), strict=True))
    assert dict(some.identify(text)) == pytest.approx(expected, rel=1e-3)


def test_one_word_does_not_decide(packs):
    some = Packs([packs["aa"], packs["cc"]])
    text = documents("aa", 1, seed=2)[0][:120]
    assert best(some, text + " stovelmindurganpolesting" * 2) == "aa"


def test_long_documents_are_read_in_pieces(every):
    text = documents("bb", 1, seed=3)[0] + "\n"
    assert best(every, text * (300_000 // len(text))) == "bb"
    assert best(every, "กา" * 100_000) == "tt"


@settings(max_examples=100, deadline=None)
@given(
    st.text(
        st.one_of(st.sampled_from("kat ngi\u0301กา្ក12.\n"), st.characters(exclude_categories=())), max_size=50
    )
)
def test_any_text_has_sane_probabilities_and_bits(every, text):
    found = every.identify(text)
    assert not found or sum(share for _, share in found) == pytest.approx(1)
    assert all(0 <= share <= 1 for _, share in found)
    for pack in every:
        assert 0 <= pack.bits_per_character(text) < 100


def test_scripts_that_one_pack_mixes_are_compared_together(packs):
    latin, thai = documents("aa", 20), documents("tt", 20)
    mixed = build_pack("mixed", [f"{a} {t}" for a, t in zip(latin, thai, strict=True)])
    assert set(mixed.scripts) >= {"THAI"}
    some = Packs([mixed, packs["tt"], packs["bb"]])
    assert sum(share for _, share in some.identify(f"{latin[0]} {thai[0]}")) == pytest.approx(1)
    assert best(some, documents("bb", 1, seed=3)[0]) == "bb"


def test_packs_by_language(every, packs):
    assert every.languages == ["aa", "bb", "cc", "kk", "tt"]
    assert every["bb"].version == packs["bb"].version
    assert "bb" in every and "zz" not in every and len(every) == 5
    assert [pack.language for pack in every] == every.languages
    with pytest.raises(DataError, match="no language pack for 'zz' in this set: it has aa, bb"):
        every["zz"]


def test_a_users_pack_wins_over_a_shipped_one(packs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    packs["aa"].save(tmp_path / "shipped" / "aa")
    packs["bb"].save(tmp_path / "shipped" / "bb")
    assert Packs.load().languages == ["aa", "bb"]
    own = build_pack("bb", documents("bb", 9, seed=3), name="mine")
    own.save(tmp_path / "mine")
    for folder in (tmp_path / "mine", tmp_path / "shipped" / ".." / "mine"):
        loaded = Packs.load(folders=[folder])
        assert (loaded["bb"].name, loaded["aa"].name) == ("mine", "aa")
    assert Packs.load(["aa"], [tmp_path / "mine"]).languages == ["aa"]
    packs["cc"].save(tmp_path / "more" / "cc")
    both = Packs.load(folders=[tmp_path / "mine", tmp_path / "more"])
    assert (both.languages, both["bb"].name) == (["aa", "bb", "cc"], "mine")


def test_what_cannot_be_loaded_is_named(packs, tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        Packs.load(folders=[tmp_path / "nowhere"])
    with pytest.raises(DataError, match="holds no language pack"):
        Packs.load(folders=[tmp_path])
    packs["aa"].save(tmp_path / "aa")
    with pytest.raises(DataError, match="no language pack for 'zz': there are aa, "):
        Packs.load(["zz"], [tmp_path])
    (tmp_path / "aa" / "ngrams.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"ngrams\.npz"):
        Packs.load(folders=[tmp_path])


def test_the_shipped_packs():
    """Fifteen, each with sources and licences, small, and good for a sentence."""
    shipped = Packs.load()
    assert shipped.languages == sorted(
        ["id", "vi", "en", "km", "zh", "th", "ms", "my", "tl", "jv", "ilo", "su", "war", "lo", "ceb"]
    )
    folders = [module.SHIPPED / language for language in shipped.languages]
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in folders]
    assert max(sizes) < 310_000 and sum(sizes) < 5_000_000
    for pack in shipped:
        assert pack.sources and all(source["licence"] and source["characters"] > 0 for source in pack.sources)
        assert pack.segmentation == (
            "characters" if pack.language in ("km", "zh", "th", "my", "lo") else "spaces"
        )
        assert len(pack.stop_words) >= 50
        assert pack.version and Pack.load(module.SHIPPED / pack.language).version == pack.version
    for language, text in SENTENCES.items():
        found = shipped.identify(text)
        assert found[0][0] == language, found[:3]
        assert math.isfinite(found[0][1]) and found[0][1] > 0.5


SENTENCES = {
    "id": "Kami tidak bisa membuka berkas itu karena sudah dihapus oleh pengguna lain.",
    "ms": "Kami tidak boleh membuka fail itu kerana ia telah dipadam oleh pengguna lain.",
    "en": "A small boat sailed along the coast in the morning.",
    "vi": "Chiếc thuyền nhỏ đi dọc theo bờ biển vào buổi sáng.",
    "km": "ទូកតូចមួយធ្វើដំណើរតាមឆ្នេរសមុទ្រនៅពេលព្រឹក។",
    "lo": "ເຮືອນ້ອຍແລ່ນຕາມແຄມທະເລໃນຕອນເຊົ້າ.",
    "th": "เรือลำเล็กแล่นไปตามชายฝั่งในตอนเช้า",
    "my": "မနက်ပိုင်းတွင် လှေငယ်တစ်စင်းသည် ကမ်းရိုးတန်းတစ်လျှောက် ရွက်လွှင့်သည်။",
    "zh": "早上,一条小船沿着海岸航行。",
    "tl": "Ang maliit na bangka ay naglayag sa kahabaan ng baybayin kaninang umaga.",
    "ilo": "Nagbiahe ti bassit a bangka iti igid ti baybay iti bigat.",
    "jv": "Prau cilik iku lelayaran ing sadawane pesisir nalika esuk.",
    "su": "Parahu leutik éta balayar di sapanjang basisir dina isuk-isuk.",
}
