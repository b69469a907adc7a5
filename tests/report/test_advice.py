"""The page of what vocabularies of several sizes cost."""

from xml.etree import ElementTree

import pytest

from pinisi.report.vocabulary_advice import advice_page

from .made_advice import made_advice


@pytest.mark.parametrize("law", [True, False])
def test_the_page_says_what_the_advice_found(law) -> None:
    page = advice_page(made_advice(law))
    ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))
    assert "<b>body" not in page and "&lt;b&gt;body&lt;/b&gt; &amp; more" in page
    assert "262,144 rows cost least" in page and "65,536, 524,288 cost at most 2 % more" in page
    assert ("never" in page) is law  # a size with which no text is enough
    assert ("0.700 (0.500 to 0.900)" in page) is law
    assert "294.4 %" in page and "0.080 (15%)" in page  # Burmese: now against English, and with 262,144 rows
    assert "too few pairs" in page
