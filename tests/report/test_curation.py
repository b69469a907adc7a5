"""The page of a curation shows what documents say, and never runs it."""

import xml.etree.ElementTree as ElementTree

from pinisi.curate.counts import Counts
from pinisi.data.documents import Document
from pinisi.report.curation import page

PLAIN = "<script>alert(1)</script><b a=\"x\" b='y'>&amp;"
MARKUP = PLAIN + "\x01"


def hostile(language: str) -> dict:
    """What a run counts where every name is markup."""
    counts = Counts()
    for n in range(3):
        document = Document(f"{MARKUP}{n}", MARKUP, language, MARKUP, MARKUP)
        counts.taken(document, [MARKUP])
        counts.found(language, f"{MARKUP}{n}")
        counts.personal(document, MARKUP, 1)
        counts.flagged(document, 1, 2)
        counts.removed(document, MARKUP, 3, MARKUP)
        counts.dropped(document, "read", f"{PLAIN}/{n}", MARKUP)
        counts.kept(document)
        counts.graded(document, n == 0, 0.5)
        counts.unreadable(f"{MARKUP}{n}")
    table = counts.table()
    facts = {"good": 50, "sample": 3, "area": 0.5, "cut": None}
    words = {"lists": [dict.fromkeys(("name", "source", "licence"), MARKUP)], "words": {language: 1}}
    return {**table, "quality": {language: facts}, "flagged": words}


def test_a_rule_is_explained_and_what_has_no_data_is_not_shown():
    rules = {"word_repetition": {"about": "How often words return.", "limit": "at most 85 %"}}
    empty = {"languages": {}, "errors": {}}
    shown = page({**empty, "rules": rules}, "t")
    tree = ElementTree.fromstring(shown.removeprefix("<!DOCTYPE html>\n"))
    assert [section.get("id") for section in tree.iter("section")] == ["headline", "told"]
    assert [card.findtext("span") for card in tree.iter("div") if card.get("class") == "card"] == [
        "documents",
        "kept",
    ]
    told = tree.find(".//dl[@class='told']")
    assert told.findtext("dt") == "word repetition" and told.findtext("dd/small") == "at most 85 %"
    assert told.find("dd").text == "How often words return."
    full = page(hostile("id"), "t")
    for section in (
        "funnel",
        "rules",
        "cuts",
        "personal",
        "flagged",
        "identified",
        "lengths",
        "samples",
        "unreadable",
    ):
        assert f'<section id="{section}">' in full
    assert 'id="told"' not in full


def test_markup_in_any_field_is_shown_as_text():
    shown = page(hostile(PLAIN), PLAIN)
    assert "<script" not in shown and "<b " not in shown and "\x01" not in shown
    tree = ElementTree.fromstring(shown.removeprefix("<!DOCTYPE html>\n"))
    seen = "".join(tree.itertext())
    assert seen.count("<script>alert(1)</script>") > 30
    assert {element.get("lang") for element in tree.iter("div")} >= {PLAIN}
