"""What is foreign: the background beside the packs."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.base.errors import DataError
from pinisi.curate.packs import Packs, build_pack, evidence
from pinisi.curate.packs import background as module
from pinisi.curate.packs import identify as identify_module
from pinisi.curate.packs.background import Background, known_letters, noise, train_model
from pinisi.curate.packs.stream import stream_of
from pinisi.curate.packs.table import Table
from tests.curate.packs.texts import documents


@pytest.fixture(scope="module")
def packs():
    return {language: build_pack(language, documents(language)) for language in ("aa", "bb", "cc", "tt")}


def background(*models, without=("aa", "bb", "tt")):
    return Background(tuple(models), frozenset(without), ({"name": "made up", "licence": "none"},))


def model(language, code="", scripts=("LATIN",)):
    text = "\n".join(documents(language, 30, seed=77))
    return train_model(f"model of {language}", code, scripts, {language: text}, 5_000)


@pytest.fixture(scope="module")
def judged(packs):
    return Packs([packs["aa"], packs["bb"], packs["tt"]], background(model("cc")))


def test_without_a_background_everything_is_ours(packs):
    some = Packs([packs["aa"], packs["bb"]])
    assert all(some.identify(text) for text in documents("cc", 5, seed=3))


@pytest.mark.parametrize("length", [10, 60])
def test_a_language_without_a_pack_is_foreign(judged, length):
    for text in documents("cc", 20, seed=3, length=length):
        assert judged.identify(text) == []
        assert all(judged.fits(text, language) < 0.1 for language in ("aa", "bb", "tt"))


@pytest.mark.parametrize("length", [10, 60])
def test_own_text_stays(judged, length):
    for language in ("aa", "bb", "tt"):
        for text in documents(language, 20, seed=4, length=length):
            assert judged.identify(text)[0][0] == language
            assert judged.fits(text, language) > 0.9


def test_names_and_a_few_foreign_words_are_not_foreign(judged):
    for text, other in zip(documents("aa", 10, seed=5), documents("cc", 10, seed=5, length=12), strict=True):
        assert judged.identify(f"{text} {other}")[0][0] == "aa"
        assert judged.fits(f"{text} {other}", "aa") > 0.5


def test_a_text_that_mixes_two_packs_is_not_foreign(judged):
    draw = random.Random(0)
    for one, other in zip(documents("aa", 10, seed=6), documents("bb", 10, seed=6), strict=True):
        words = one.split() + other.split()
        draw.shuffle(words)
        assert judged.identify(" ".join(words))


def test_declared_text_of_another_pack_does_not_fit(judged):
    for text in documents("bb", 20, seed=7):
        assert judged.fits(text, "aa") < 0.5 and judged.fits(text, "tt") < 0.5


@pytest.mark.parametrize("thai, fits", [(0.1, False), (0.2, False), (0.5, True), (0.8, True)])
def test_declared_text_needs_a_third_of_its_letters_in_the_script(judged, thai, fits):
    latin, own = "".join(documents("aa", 30, seed=8)), "".join(documents("tt", 30, seed=8))
    text = f"{latin[: int(4000 * (1 - thai))]} {own[: int(4000 * thai)]}"
    assert (judged.fits(text, "tt") >= 0.5) == fits


def test_fits_needs_a_pack_and_letters(judged):
    assert judged.fits("123 - !", "aa") == 0 == judged.fits("", "aa")
    with pytest.raises(DataError, match="no language pack for 'cc'"):
        judged.fits("kata", "cc")


def test_chance_is_foreign(packs):
    some = Packs(packs.values(), background())
    draw = random.Random(1)
    for letters, language in (("abcdefghijklmnopqrstuvwxyz", "aa"), ("กตนมรลสทปวาีูเแำัไ", "tt")):
        for _ in range(10):
            text = " ".join("".join(draw.choices(letters, k=draw.randint(3, 9))) for _ in range(40))
            assert some.identify(text) == [] and some.fits(text, language) < 0.5
    assert Packs(packs.values()).identify("qzx vkw jjq xqz") != []


def test_long_runs_without_spaces_count_by_the_letter(packs):
    """A Thai sentence is one run: it must not pass as one unlikely word."""
    text = "".join(random.Random(2).choices("กตนมรลสทปวาีูเแำัไ", k=300))
    assert " " not in text and Packs(packs.values(), background()).identify(text) == []


def test_a_new_pack_wins_over_its_own_language_in_the_background(packs):
    """As one of many languages it stays in; by itself it goes."""
    mixed = train_model(
        "many", "", ["LATIN"], {name: "\n".join(documents(name, 30, seed=77)) for name in ("cc", "kk")}, 5_000
    )
    texts = documents("cc", 20, seed=9)
    for more in ((mixed,), (model("cc", "cc"),), (mixed, model("cc", "cc"))):
        before = Packs([packs["aa"], packs["bb"]], background(*more))
        after = Packs([packs["aa"], packs["bb"], packs["cc"]], background(*more))
        assert all(before.identify(text) == [] for text in texts)
        assert all(after.identify(text)[0][0] == "cc" for text in texts)
        assert all(after.fits(text, "cc") > 0.5 > after.fits(text, "aa") for text in texts)


def test_its_own_model_goes_and_a_larger_margin_comes(packs):
    """A pack of a language that the background may have: its model is not asked, others have to be much better."""
    models = (model("kk", "", ["LATIN"]), model("cc", "cc"))
    some = Packs([packs["aa"], packs["cc"]], background(*models))
    group = some.weigh(documents("cc", 1, seed=9)[0])._groups[0]
    assert len(group.rivals) == 2  # the model of many, and chance
    assert len(Packs([packs["aa"]], background(*models)).weigh("kata")._groups[0].rivals) == 3
    margins = [
        (group.rivals.max() - group.mixed[pack]) / group.length - group.foreign(pack) for pack in (0, 1)
    ]
    assert margins[1] - margins[0] == pytest.approx(evidence.UNSURE)


def test_a_model_takes_no_script_of_other_packs(packs):
    wide = model("cc", "", ("LATIN", "THAI"))
    some = Packs([packs["aa"], packs["tt"]], background(wide))
    assert some.identify(documents("tt", 1, seed=2)[0])[0][0] == "tt"
    assert some.identify(documents("aa", 1, seed=2)[0])[0][0] == "aa"


def test_chance_has_the_letters_of_most_packs(packs):
    rare = build_pack("xx", [text.replace("k", "þ") for text in documents("aa", 20)])
    some = Packs([packs["aa"], packs["bb"], rare], background(without=["aa", "bb", "xx"]))
    often, seldom = (float(some._groups[0].table.log_likelihood(stream_of(run))[-1]) for run in ("ka", "þa"))
    assert seldom < -14 < often


def test_scripts_of_a_model_are_compared_with_the_packs(packs):
    """Kana count for Japanese, though no pack has them."""
    kanji = model_of_text("ja", "日本語の文章です。人はみな自由である。", ("CJK", "HIRAGANA"))
    chinese = build_pack("zh", ["人人生而自由在尊严和权利上一律平等。" * 80])
    some = Packs([chinese], background(kanji, without=["zh"]))
    assert some.identify("人はみな自由である。日本語の文章です。" * 5) == []
    assert some.identify("人人生而自由,在尊严和权利上一律平等。")[0][0] == "zh"


def model_of_text(code, text, scripts):
    return train_model(code, code, scripts, {code: text * 50}, 5_000)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["kata", "nama", "ngipo", "sto", "velmin", "dur", "กาตีนู", "x", "stovelmindurgan"]),
        max_size=30,
    )
)
def test_evidence_is_that_of_the_formulas(judged, words):
    """Own, mixed and rivals, run by run, by logaddexp in double precision."""
    text = " ".join(words)
    group = next(group for group in judged.weigh(text)._groups if "aa" in group.packs)
    table = judged._groups[0].table
    own, mixed, rivals = np.zeros(2), np.zeros(2), np.zeros(2)
    latin = [word for word in words if word.isascii()]
    if sum(map(len, latin)) <= 0.1 * sum(map(len, words)):
        return
    for word in latin:
        logs = table.log_likelihood(stream_of(word))
        depth = max(evidence.FOREIGN, evidence.EACH * (len(word) + 1))
        floor = logs.max() - min(depth, evidence.FURTHEST)
        borrowed = logs[:2].max() - evidence.BORROWED / evidence.FOREIGN * depth
        own += np.logaddexp(logs[:2], floor)
        mixed += np.logaddexp(np.logaddexp(logs[:2], borrowed), floor)
        rivals += np.logaddexp(logs[2:], floor)
    assert group.own == pytest.approx(own, rel=1e-3, abs=1e-2)
    assert group.mixed == pytest.approx(mixed, rel=1e-3, abs=1e-2)
    assert group.rivals == pytest.approx(rivals, rel=1e-3, abs=1e-2)
    length = sum(len(word) + 1 for word in latin)
    assert group.length == length
    if length:
        expected = (rivals.max() - mixed[0]) / length - evidence.MARGIN - evidence.SHORT / length
        assert group.foreign(0) == pytest.approx(expected, abs=1e-2)
        beaten = (own[1] - own[0]) / length - evidence.RIVAL - evidence.WHOLE / length
        assert group.other(0) == pytest.approx(beaten, abs=1e-2)
        fits = 1 / (1 + math.exp(max(expected, beaten) / evidence.STEEP))
        assert judged.fits(text, "aa") == pytest.approx(min(fits, 1.5 * group.share), abs=0.1)


def test_noise_is_even(packs):
    letters = known_letters(packs["aa"].ngrams, ["LATIN"])
    assert {chr(code) for code in letters} == set("".join(documents("aa")).lower()) - set(" .,\n0123456789")
    table = Table([noise(letters)])
    once = [float(table.log_likelihood(stream_of(text))[0]) for text in ("kata", "tkaa", "gggg")]
    expected = -5 * (math.log(len(letters) + 1) + module.LOUD)
    assert once == pytest.approx([expected] * 3, abs=0.01)


def test_saved_and_read_again(tmp_path, packs):
    whole = background(model("cc", "cc"), model("tt", "", ("THAI", "LAO")))
    folder = whole.save(tmp_path / "one")
    again = Background.load(folder)
    assert again.without == whole.without and again.sources == whole.sources
    for one, other in zip(whole.models, again.models, strict=True):
        assert (one.name, one.code, one.scripts, one.languages) == (
            other.name, other.code, other.scripts, other.languages,
        )  # fmt: skip
        assert (one.ngrams.keys == other.ngrams.keys).all()
        assert (one.ngrams.weights == other.ngrams.weights).all()
        assert one.ngrams.other_run == other.ngrams.other_run
    again.save(tmp_path / "two")
    for name in (module.FACTS, module.ARRAYS):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="no background"):
        Background.load(tmp_path)
    folder = background(model("cc")).save(tmp_path / "torn")
    (folder / module.ARRAYS).write_bytes((folder / module.ARRAYS).read_bytes()[:-9])
    with pytest.raises(DataError, match="torn: no background"):
        Background.load(folder)
    folder, other = (
        background(train_model("x", "", ["LATIN"], {"x": text * 30}, 9)).save(tmp_path / text[:2])
        for text in ("kata nata ", "pata mata ")
    )
    (folder / module.ARRAYS).write_bytes((other / module.ARRAYS).read_bytes())
    with pytest.raises(DataError, match="belong to different ones"):
        Background.load(folder)
    folder = background(model("cc")).save(tmp_path / "old")
    facts = (folder / module.FACTS).read_text().replace(module.FORMAT, "pinisi background 0")
    (folder / module.FACTS).write_text(facts)
    with pytest.raises(DataError, match="pinisi background 0"):
        Background.load(folder)


def test_the_shipped_background_and_sentences():
    """Small, with its sources; sentences of languages without a pack are foreign, ours are not."""
    shipped = Background.load()
    assert sum(file.stat().st_size for file in module.SHIPPED.iterdir()) < 2_000_000
    assert all(source["name"] and source["licence"] for source in shipped.sources)
    every = Packs.load()
    assert shipped.without == set(every.languages)
    assert not {one.code for one in shipped.models} & shipped.without
    for language, text in FOREIGN.items():
        assert every.identify(text) == [], (language, every.identify(text)[:2])
        assert max(every.fits(text, ours) for ours in every.languages) < 0.5, language
    for language, text in OURS.items():
        assert every.fits(text, language) > 0.5 and every.identify(text), language


def test_a_folder_without_background_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr(identify_module, "BACKGROUND", tmp_path / "none")
    assert Packs.load(["en"]).identify(FOREIGN["German"])


FOREIGN = {
    "German": "Das kleine Boot fuhr am Morgen die Küste entlang, und niemand wusste, wohin es wollte.",
    "French": "Le petit bateau longeait la côte au matin, et personne ne savait où il voulait aller.",
    "Spanish": "El barco pequeño navegaba por la costa en la mañana y nadie sabía adónde quería ir.",
    "Swahili": "Mashua ndogo ilisafiri kando ya pwani asubuhi, na hakuna aliyejua ilikuwa inakwenda wapi.",
    "Turkish": "Küçük tekne sabahleyin kıyı boyunca gitti ve nereye gitmek istediğini kimse bilmiyordu.",
    "Dutch": "De kleine boot voer in de ochtend langs de kust, en niemand wist waar hij heen wilde.",
    "Maori": "I rere te waka iti i te taha o te takutai i te ata, kāore tētahi i mōhio kei te haere ia ki hea.",
    "Japanese": "小さな船が朝の海岸に沿って進んでいた。どこへ行くのか誰も知らなかった。",
    "Chinese (traditional)": "早上,一條小船沿著海岸航行,沒有人知道它要到哪裡去。",
    "Korean": "작은 배가 아침에 해안을 따라 갔다.",
    "Russian": "Утром маленькая лодка шла вдоль берега.",
    "letters by chance": "qwk zvxj pqlt mnbv xzkj wqrt plkm jhgf zxcv bnmq wert yuio plkj hgfd sazx cvbn mqwe rtyu",
}
OURS = {
    "jv": "Prau cilik iku lelayaran ing sadawane pesisir, hotelnya bagus banget lan kamare resik, recommended.",
    "zh": "早上,一条小船沿着海岸航行,没有人知道它要到哪里去。",
    "id": "Kami menonton film Schwarzenegger dan Stallone di bioskop, lalu makan croissant di Champs-Élysées.",
    "my": "မနက်ပိုင်းတွင် လှေငယ်တစ်စင်းသည် ကမ်းရိုးတန်းတစ်လျှောက် ရွက်လွှင့်သည်။",
}
