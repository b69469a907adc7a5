"""Flagged words: phrases and words of scripts without spaces are found, and their share is told whether or not a rule drops any."""

import io
import json
import random
import tarfile

import pytest

from pinisi.base.errors import DataError
from pinisi.curate.flagged import NAME, VERSION, Flagged, of_file, of_list
from pinisi.curate.packs import Packs
from tests.curate.test_run import config, packs, raw, run  # noqa: F401
from tests.curate.texts import Language


@pytest.fixture(scope="module")
def shipped() -> Packs:
    return Packs.load(["id", "th", "zh", "en", "tl"], [])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with a package of made-up lists; the client is not there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "cache" / "pinisi"
    folder.mkdir(parents=True)
    lists = {"en": ["bad", "very bad thing", "🖕"], "fil": ["masama"], "th": ["เลวมาก", "เล"], "zh": ["坏蛋", "坏", "13."],
             "fr-CA": ["mal"], "package": {"name": NAME}}  # fmt: skip

    def write() -> None:
        with tarfile.open(folder / f"{NAME}-{VERSION}.tgz", "w:gz") as archive:
            for code, words in lists.items():
                content = json.dumps(words).encode()
                entry = tarfile.TarInfo(f"package/{code}.json")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

    return write


def by_hand(words: list[str], phrases: set[tuple[str, ...]]) -> int:
    """From left to right, the longest phrase at each place."""
    place = found = 0
    while place < len(words):
        fits = [len(phrase) for phrase in phrases if tuple(words[place : place + len(phrase)]) == phrase]
        found += max(fits, default=0)
        place += max(fits, default=1)
    return found


def test_drawn_words_against_a_search_by_hand():
    draw = random.Random(5)
    for _ in range(500):
        phrases = {tuple(draw.choices("abcd", k=draw.randrange(1, 4))) for _ in range(draw.randrange(6))}
        words = draw.choices("abcdef", k=draw.randrange(30))
        assert Flagged(phrases).count(words) == by_hand(words, phrases)


CUTS = [
    ("th", "สวัสดี", "เขาพูดว่าสวัสดีครับ", 4),
    ("th", "สวัสดี", "เขาพูดว่าสวัสครับ", 0),
    ("zh", "坏蛋", "他是一个坏蛋。", 2),
    ("id", "rumah sakit jiwa", "di Rumah Sakit Jiwa itu", 3),
    ("id", "rumah sakit", "rumah yang sakit", 0),
    ("en", "bad", "BAD, badly", 1),
]


@pytest.mark.parametrize(("language", "flagged", "text", "units"), CUTS)
def test_words_are_cut_as_the_text_is(tmp_path, shipped, language, flagged, text, units):
    (tmp_path / "words").write_text(f"\n{flagged} \n\n", "utf-8")
    words = shipped[language].words
    assert Flagged(of_file(str(tmp_path / "words"), "key", words)).count(words(text)) == units


def test_the_public_list(cache, shipped):
    cache()
    words = {language: shipped[language].words for language in shipped.languages}
    assert of_list("en", words["en"]) == [["bad"], ["very", "bad", "thing"]]
    assert of_list("tl", words["tl"]) == [["masama"]]
    assert ["".join(phrase) for phrase in of_list("th", words["th"])] == ["เลวมาก"]
    assert of_list("zh", words["zh"]) == [["坏", "蛋"]]
    assert of_list("id", words["id"]) == []


def test_a_list_that_can_not_be_had_is_an_error(cache, shipped):
    with pytest.raises(DataError, match=r"flagged_list.*npm is not installed.*rules\.flagged"):
        of_list("en", shipped["en"].words)


def test_a_report_tells_the_shares(tmp_path, packs):  # noqa: F811
    of = Language("xa")
    documents = of.documents(40, "clean")
    for document in documents[:7]:
        document.text += " Zkaka zmimi."
    documents[0].text += " zkaka"
    (tmp_path / "flagged").write_text("zkaka zmimi\n")
    path = config(
        tmp_path, raw(tmp_path / "raw", documents), packs, f'[rules.flagged]\nxa = "{tmp_path}/flagged"'
    )
    out = run(path)
    report = json.loads((out / "report.json").read_text())
    counts = report["languages"]["xa"]["flagged"]
    assert {key: counts[key] for key in ("documents", "touched", "flagged words")} == {
        "documents": 40, "touched": 7, "flagged words": 14
    }  # fmt: skip
    assert counts["words"] == sum(len(document.text.replace(".", " ").split()) for document in documents)
    assert not any("flagged" in rule for rule in report["languages"]["xa"]["drops"])
    assert report["flagged"] == {"lists": [], "words": {"xa": 1}}
    page = (out / "report.html").read_text()
    assert "Flagged words" in page and "17.50 %" in page


def test_the_lists_source_and_licence_are_told(tmp_path, packs, cache):  # noqa: F811
    cache()
    path = config(
        tmp_path,
        raw(tmp_path / "raw", Language("xa").documents(20)),
        packs,
        '[rules]\nflagged_list = "ldnoobw"',
    )
    path.write_text(path.read_text().replace('["xa", "xb", "xk"]', '["xa", "en"]'))
    out = run(path)
    found = json.loads((out / "report.json").read_text())["flagged"]
    assert found["words"] == {"en": 2}
    assert [(one["name"], one["licence"]) for one in found["lists"]] == [("LDNOOBW", "CC-BY-4.0")]
