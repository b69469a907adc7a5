"""Chinese characters by standard."""

import numpy as np
import pytest

from pinisi.curate.packs import Packs, build_pack, han
from pinisi.curate.packs.background import Background


def codes(text):
    return np.array([ord(letter) for letter in text], np.int64)


def test_the_standard_has_as_many_characters_as_it_says():
    listed = np.flatnonzero(han.listed())
    assert len(listed) - 6763 in (0, 1)  # U+3005 repeats a character, and stands among the signs
    for code in listed[::97]:
        high, low = chr(code).encode("gb2312")
        assert high >= 0xB0 or chr(code) == "々"
        assert low >= 0xA1


@pytest.mark.parametrize(
    "text, count, beyond",
    [("国家", 2, 0), ("國家", 2, 1), ("これは本", 4, 3), ("abc กา 12", 0, 0), ("嘅咗", 2, 2), ("", 0, 0)],
)
def test_tally(text, count, beyond):
    assert han.tally(codes(text)) == (count, beyond)


def test_packs_of_simplified_chinese_are_known():
    assert han.simplified(codes("国家这个权利人民"))
    assert not han.simplified(codes("國家這個權利人民"))
    assert not han.simplified(codes("abc")) and not han.simplified(codes(""))


def test_another_standard_is_foreign_until_it_has_a_pack():
    simplified = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。"
    traditional = "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神相對待。"
    none = Background((), frozenset(["zh"]))
    one = build_pack("zh", [simplified * 40])
    some = Packs([one], none)
    assert some.identify(simplified)[0][0] == "zh" and some.fits(simplified, "zh") > 0.7
    assert some.identify(traditional) == [] and some.fits(traditional, "zh") < 0.1
    assert some.identify(simplified + "刘堃")[0][0] == "zh"  # a name may have a rare character
    both = Packs([one, build_pack("hant", [traditional * 40])], none)
    assert both.identify(traditional)[0][0] == "hant" and both.fits(traditional, "hant") > 0.9
    assert both.identify(simplified)[0][0] == "zh"
