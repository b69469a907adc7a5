"""Renders pages from the files in templates/: one environment, which escapes every value that it puts on a page."""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pinisi.report.marks import mark, visible

TEMPLATES = "templates"


def render(name: str, **values: Any) -> str:
    """Returns a page: the template with the values in it."""
    return environment().get_template(name).render(values) + "\n"


@cache
def environment() -> Environment:
    """Returns the one environment of all templates."""
    made = Environment(
        loader=PackageLoader("pinisi.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    # No sorting: the order of a dictionary is that of the page. What is not ASCII is written as \uXXXX.
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    made.globals |= {"asset": asset, "mark": mark}
    return made


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def asset(name: str) -> Markup:
    """Returns one of our own style sheets or scripts as it is; none may end the element that it stands in."""
    text = (files("pinisi.report") / TEMPLATES / name).read_text("utf-8")
    assert name.endswith((".css", ".js")) and "</" not in text and "]]>" not in text, name
    return Markup(text)
