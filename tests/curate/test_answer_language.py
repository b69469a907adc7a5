"""The language of lines of answers: by characters where scripts tell, by packs elsewhere, never where too little stands there."""

from __future__ import annotations

import pytest

from pinisi.curate.packs import Packs
from pinisi.curate.packs.answer import LineJudge

TH, LO = "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "ວຽງຈັນແມ່ນນະຄອນຫຼວງຂອງປະເທດລາວ"
ID = "Jakarta adalah kota terbesar di Indonesia dan terletak di pulau Jawa."
VI = "Hà Nội là thủ đô của Việt Nam và nằm ở phía bắc đất nước."
MY, ZAWGYI = "ရန်ကုန်မြို့သည် မြန်မာနိုင်ငံ၏ အကြီးဆုံး မြို့ဖြစ်သည်", "ရန္ကုန္ၿမိဳ႕သည္ ျမန္မာႏိုင္ငံ၏ အႀကီးဆုံး ၿမိဳ႕ျဖစ္သည္"


@pytest.fixture(scope="module")
def judge() -> LineJudge:
    return LineJudge()


@pytest.mark.parametrize(
    ("text", "language", "verdict", "found"),
    [
        (TH, "th", "right", ""),
        (TH, "lo", "wrong", "th"),  # one word to a rule that counts words
        (LO, "th", "wrong", "lo"),
        ("Bangkok is the capital", "th", "wrong", "en"),
        ("Bangkok", "th", "unjudged", ""),
        ("กรุงเทพ (Bangkok)", "th", "right", ""),
        (f"{TH} iPhone", "th", "right", ""),
        (ID, "id", "right", ""),
        (ID, "vi", "wrong", "id"),
        (VI, "vi", "right", ""),
        (VI, "id", "wrong", "vi"),
        ("Jakarta.", "id", "unjudged", ""),
        ("雅加达是印度尼西亚最大的城市", "zh", "right", ""),
        ("東京は日本の首都であり、最大の都市です", "zh", "wrong", "other"),
        ("雅加达是印度尼西亚最大的城市", "km", "wrong", "zh"),
        (MY, "my", "right", ""),
        (ZAWGYI, "my", "wrong", "zawgyi"),
        ("12 : 34", "th", "unjudged", ""),
        ("Jared Allen had 11 career sacks.", "en", "unjudged", ""),  # mostly names
        ("Jared Allen had 11 career sacks.", "th", "wrong", ""),
        (
            "Varför regnar det alltid när vi ska resa till havet med våra barn och vänner på sommaren?",
            "id",
            "wrong",
            "",
        ),
        (TH, "fr", "unjudged", ""),
    ],
)
def test_a_line_is_judged(judge: LineJudge, text: str, language: str, verdict: str, found: str) -> None:
    result = judge.judge(text, language)
    assert result.verdict == verdict
    assert found in ("", result.found) and (verdict == "wrong") == bool(result.found)


def test_only_letters_of_other_scripts_are_foreign(judge: LineJudge) -> None:
    assert judge.judge("ซื้อ iPhone 15!", "th")[2:] == (10, 6)
    assert judge.judge("iPhone 15!", "id").foreign == 0


def test_a_set_of_packs_of_ones_own_may_be_given() -> None:
    judge = LineJudge(Packs.load(["th", "lo"]))
    assert judge.knows("th") and not judge.knows("id")
    assert judge.judge(TH, "lo").verdict == "wrong"
