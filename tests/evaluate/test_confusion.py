"""Language confusion by answers and lines, with a judge that is handed in."""

from __future__ import annotations

from pinisi.curate.packs.answer import LineJudge, LineVerdict
from pinisi.evaluate.confusion import ConfusionScores, answer_language

TH, LO = "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "ວຽງຈັນແມ່ນນະຄອນຫຼວງຂອງປະເທດລາວ"


def test_one_wrong_line_fails_an_answer_and_short_ones_count_nowhere() -> None:
    judge = LineJudge()
    found = answer_language(f"{TH}\n\n{TH}\nBangkok is the capital\nOK", "th", judge)
    assert (found.verdict, found.lines, found.wrong, found.found) == ("wrong", 3, 1, "en")
    right = answer_language(f"{TH}\nOK", "th", judge)
    assert (right.verdict, right.lines, right.wrong, right.found) == ("right", 1, 0, "")
    assert answer_language("", "th", judge).verdict == "unjudged"


def test_lines_that_are_too_short_alone_are_judged_together() -> None:
    """Three words are no name any more, and neither are three lines of one."""
    found = answer_language("Bangkok\nThailand\nSiam", "th", LineJudge())
    assert (found.verdict, found.lines) == ("wrong", 0)


def test_scores_count_what_was_judged() -> None:
    answers = [TH, LO, f"{TH}\n{LO}", "OK", "Bangkok is the capital", f"{TH}\n{TH}\n{TH}"]
    scores = ConfusionScores(answers, "th", LineJudge())
    values = {name: score.value for name, score in scores.scores().items()}
    assert values["language_answers"] == 2 / 5  # of those but "OK"
    assert values["language_lines"] == 5 / 8
    assert scores.told() == {"right": 2, "wrong": 3, "unjudged": 1, "found": {"lo": 2, "en": 1}}
    assert set(scores.measures()) == set(values)


def test_of_answers_that_nobody_can_judge_there_is_no_score() -> None:
    class Silent:
        def knows(self, language: str) -> bool:
            return False

        def judge(self, text: str, language: str) -> LineVerdict:
            return LineVerdict("unjudged", "", 0, 0)

    scores = ConfusionScores(["a", "b"], "xx", Silent())
    assert scores.scores() == {} and scores.told()["unjudged"] == 2
