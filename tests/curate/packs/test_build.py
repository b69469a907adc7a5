"""What a pack says of the text that it was made from."""

from collections import Counter

import pytest

from pinisi.base.errors import DataError
from pinisi.curate.packs import build_pack
from pinisi.curate.packs.build import own_scripts
from pinisi.data.text.scripts import classes
from pinisi.data.text.segmentation import normal_codes
from tests.curate.packs.texts import as_documents, documents


def test_documents_and_strings_give_the_same_pack():
    texts = documents("bb", 9)
    assert build_pack("bb", as_documents("bb", texts)).version == build_pack("bb", texts).version


def test_sizes_and_names():
    texts = documents("aa", 9)
    pack = build_pack("aa", texts)
    assert pack.sizes["documents"] == 9
    assert pack.sizes["characters"] == sum(map(len, texts))
    assert pack.sizes["words"] == sum(len(pack.words(text)) for text in texts)
    assert (pack.language, pack.name, dict(pack.limits), pack.sources) == ("aa", "aa", {}, ())


@pytest.mark.parametrize(("language", "script"), [("aa", "LATIN"), ("tt", "THAI"), ("kk", "KHMER")])
def test_segmentation_follows_from_the_script(language, script):
    pack = build_pack(language, documents(language))
    assert list(pack.scripts) == [script]
    assert pack.segmentation == ("spaces" if script == "LATIN" else "characters")
    assert build_pack(language, documents(language), segmentation="spaces").words("กา តា") == ["กา", "តា"]


def test_stop_words_are_frequent_and_spread_over_documents():
    texts = [text + " zum" for text in documents("bb", 30)]
    texts[4] += " keyword" * 400  # frequent, but in one document
    pack = build_pack("bb", texts)
    counts = Counter(word for text in texts for word in pack.words(text))
    assert "zum" in pack.stop_words and "keyword" not in pack.stop_words
    assert not any(word.isdecimal() for word in pack.stop_words)
    for word, share in pack.stop_shares.items():
        assert share == pytest.approx(counts[word] / counts.total(), abs=1e-6)
    assert list(pack.stop_shares.values()) == sorted(pack.stop_shares.values(), reverse=True)
    assert 10 < len(pack.stop_words) <= 100


def test_names_in_latin_letters_are_not_a_second_script():
    def scripts(text):
        codes = normal_codes(text)
        return own_scripts(codes, classes()[codes])

    assert list(scripts("กา" * 70 + "linux" * 10)) == ["THAI"]
    assert list(scripts("の日本カ" * 20)) == ["CJK", "HIRAGANA", "KATAKANA"]
    assert list(scripts("добре" * 10 + "dobro" * 9)) == ["CYRILLIC", "LATIN"]
    assert scripts("12 \u0301") == {}


def test_too_little_text_is_refused():
    with pytest.raises(DataError, match=r"language 'bb': got 300 characters of text, needed at least 1,000"):
        build_pack("bb", ["abc" * 50] * 2)
    with pytest.raises(DataError, match="no letters"):
        build_pack("bb", ["12 3" * 500])


def test_one_word_over_and_over_is_a_pack_all_the_same():
    pack = build_pack("bb", ["a" * 5000])
    assert 0 <= pack.bits_per_character("a" * 5000) < 1
    assert pack.bits_per_character("b") > 5
    assert build_pack("bb", ["ab " * 2000]).bits_per_character("ab ab") < 2


def test_budget_bounds_a_pack():
    sizes = [len(build_pack("bb", documents("bb"), budget=budget).ngrams) for budget in (100, 1000)]
    assert sizes[0] < 130 < sizes[1] < 1030
