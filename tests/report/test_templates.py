"""Every page is made by templates that escape: no template switches that off, and no module writes HTML by hand."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import UndefinedError, nodes
from markupsafe import Markup

import pinisi
from pinisi.report.marks import mark, together, visible
from pinisi.report.render import TEMPLATES, asset, environment

ROOT = Path(pinisi.__file__).parent
FOLDER = ROOT / "report" / TEMPLATES
PAGES = sorted(path.name for path in FOLDER.glob("*.html"))
EVIL = "</script><script>alert(1)</script>\"'&<!--"
TAG = re.compile(
    r"</?(?:html|head|body|title|style|script|section|div|span|p|a|b|i|h[1-6]|small|ul|li|dl|dt|dd|pre|table|t[rdh]|thead|tbody|"
    r"button|label|input|figure|details|summary|blockquote|canvas|svg|g|text|rect|line|circle|polyline|path)(?:$|[\s/>])|</$"
)
# The one place where text becomes markup unescaped: our own style sheets and scripts.
RAW = ("report/render.py", "asset")
READERS = ("curate/repair/markup.py", "curate/repair/tags.py")  # their patterns find tags in what they read


def test_there_is_one_environment_and_it_escapes() -> None:
    made = environment()
    assert made.autoescape is True and made is environment()
    assert set(PAGES) <= set(made.list_templates()) and len(PAGES) >= 5
    with pytest.raises(UndefinedError):
        made.from_string("{{ gone }}").render()
    shown = made.from_string("<p title='{{ x }}'>{{ x }}{{ y }}</p>").render(x=EVIL, y="\x01\ud800")
    assert "<script" not in shown and shown.count("'") == 2 and shown.endswith("\ufffd\ufffd</p>")


@pytest.mark.parametrize("name", PAGES)
def test_no_template_switches_escaping_off(name: str) -> None:
    tree = environment().parse((FOLDER / name).read_text("utf-8"))
    assert {found.name for found in tree.find_all(nodes.Filter)} <= {"capitalize", "join", "length", "tojson"}
    assert not list(tree.find_all((nodes.ScopedEvalContextModifier, nodes.EvalContextModifier)))
    assets = [call.args[0] for call in tree.find_all(nodes.Call) if getattr(call.node, "name", "") == "asset"]
    assert all(isinstance(arg, nodes.Const) for arg in assets) or name == "parts.html"


@pytest.mark.parametrize(
    ("macro", "given"),
    [
        ("legend", [[(EVIL, EVIL)]]),
        ("cards", [[(EVIL, EVIL, EVIL)]]),
        ("table", [[EVIL], [[EVIL, EVIL]]]),
        ("cells", [EVIL, [EVIL], 1]),
    ],
)
def test_the_macros_that_pages_share_escape_what_they_are_given(macro: str, given: list) -> None:
    shown = getattr(environment().get_template("parts.html").module, macro)(*given)
    assert isinstance(shown, Markup) and "<script" not in shown and "alert" in shown


def test_data_in_a_script_cannot_end_it() -> None:
    shown = environment().from_string("<script>{{ data|tojson }}</script>").render(data=[EVIL, "\u2028"])
    inside = shown.removeprefix("<script>").removesuffix("</script>")
    assert not re.search("[<>&'\u2028]", inside) and "\\u2028" in inside
    in_attribute = mark("svg", data_chart='{"a": "\' & <b>"}')
    assert in_attribute == '<svg data-chart="{&#34;a&#34;: &#34;&#39; &amp; &lt;b&gt;&#34;}"></svg>'


def test_a_style_sheet_that_would_end_its_element_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FOLDER.glob("*.[cj]s*"):
        assert asset(path.name) == path.read_text("utf-8")
    monkeypatch.setattr(Path, "read_text", lambda *_: "x </style> y")
    with pytest.raises(AssertionError):
        asset.__wrapped__("style.css")


def test_marks_escape_names_words_and_values() -> None:
    assert mark("i", EVIL, title=EVIL).count("<") == 2
    assert mark("line", x1=1.25, y_end=None, class_="a") == '<line x1="1.2" class="a"/>'
    assert together("<", mark("b", "\x02")) == "&lt;<b>\ufffd</b>"
    assert visible("a\n\tb\x00\ufffe\ud83d\U0001f600") == "a\n\tb\ufffd\ufffd\ufffd\U0001f600"


def faults(source: str, where: str) -> Iterator[str]:
    """What a module does that only templates and marks may do."""
    tree = ast.parse(source)
    within = {
        id(node): function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "html":
            if any(alias.name == "escape" for alias in node.names):
                yield f"{where}:{node.lineno} imports html.escape"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "html.escape":
            yield f"{where}:{node.lineno} calls html.escape"
        elif isinstance(node, (ast.ImportFrom, ast.Import)) and not where.startswith("report/"):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            errors = isinstance(node, ast.ImportFrom) and [a.name for a in node.names] == ["TemplateError"]
            if not errors and any(name.split(".")[0] in ("jinja2", "markupsafe") for name in names):
                yield f"{where}:{node.lineno} makes HTML: that is report's"
        elif isinstance(node, ast.JoinedStr):
            pieces = [value.value for value in node.values if isinstance(value, ast.Constant)]
            if any(TAG.search(str(piece)) for piece in pieces) and where not in READERS:
                yield f"{where}:{node.lineno} puts values between tags"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Markup":
            constant = all(isinstance(arg, ast.Constant) for arg in node.args)
            if not constant and (where, within.get(id(node))) != RAW:
                yield f"{where}:{node.lineno} makes markup of text"


def test_no_module_writes_html_by_hand() -> None:
    paths = sorted(ROOT.rglob("*.py"))
    found = [f for path in paths for f in faults(path.read_text("utf-8"), str(path.relative_to(ROOT)))]
    assert not found and len(paths) > 100, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "from html import escape",
        "import html\nx = html.escape(y)",
        "x = f'<p>{y}</p>'",
        "x = f'{y}</td>'",
        "x = f'</{tag}>'",
        "from markupsafe import Markup\nx = Markup(y)",
        "import jinja2",
        "from jinja2 import Template",
    ],
)
def test_html_by_hand_is_found(source: str) -> None:
    assert list(faults(source, "curate/run.py"))
