"""Web pages in the forms of real sites: the main text comes out whole and in order, in any script and encoding."""

import pytest

from pinisi.data.reading.encoding import decoded
from pinisi.data.reading.html import main_text
from tests.data.reading.pages import FORMS, LANGUAGES, cases, page


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("number", range(40))
def test_a_page_comes_out_whole_without_its_menus(number):
    form, declared, made, data = cases()[number]
    _, text = main_text(decoded(data, declared.header))
    lines = [squeezed(cell) for line in text.split("\n") for cell in line.split("\t")]
    assert [line for line in lines if line in set(map(squeezed, made.main))] == list(
        map(squeezed, made.main)
    ), (form, declared.name)
    assert not [menu for menu in made.menus if squeezed(menu) in lines], (form, declared.name)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", FORMS)
def test_no_script_is_lost(form, language):
    made = page(form, language)
    text = squeezed(main_text(made.html)[1])
    assert [block for block in made.main if squeezed(block) not in text] == []
