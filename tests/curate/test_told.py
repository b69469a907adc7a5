"""Every rule has a sentence of what it looks at, and the limit that the configuration gives it."""

import ast
from pathlib import Path

import pytest

from pinisi import curate
from pinisi.base.settings import load
from pinisi.curate.config import CurateConfig
from pinisi.curate.measures import ORDER
from pinisi.curate.told import MEASURED, TOLD, told
from pinisi.curate.tools import Tools

STAGES = Path(curate.__file__).parent / "stages"


def rules_of(path: Path) -> set[str]:
    """The names of rules in a stage's source: (rule, value, limit) that are returned, and what is counted as dropped or removed."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Return):
            found |= {
                each.elts[0] for each in ast.walk(node) if isinstance(each, ast.Tuple) and len(each.elts) > 1
            }
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("counts.dropped", "counts.removed"):
            found |= set(node.args)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "(rule, value)":
            assert isinstance(node.value, ast.Tuple)
            found.add(node.value.elts[0])
    return {node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_rule_has_a_sentence() -> None:
    named = set().union(*(rules_of(STAGES / name) for name in ("read.py", "near.py", "finish.py")))
    assert (
        {"zawgyi", "same URL", "outlier", "stump", "frequent lines"} <= named <= MEASURED.keys() | TOLD.keys()
    )
    assert MEASURED.keys() == set(ORDER)
    for sentence in [*TOLD.values(), *(about for about, _ in MEASURED.values())]:
        assert sentence[0].isupper() and sentence.endswith(".") and len(sentence) < 120


@pytest.fixture
def tools(tmp_path: Path):
    def made(more: str = "") -> Tools:
        path = tmp_path / "curate.toml"
        path.write_text(f'[run]\nfolder = "{tmp_path}"\n[[sources]]\npath = "x"\n{more}')
        return Tools(load(path, [], into=CurateConfig))

    return made


def test_limits_are_those_of_the_configuration(tools) -> None:
    more = "[rules.limits.all]\nspecial = 0.5\n[rules.limits.id]\nspecial = 0.25\n[near]\nsimilarity = 0.8\n"
    found = told(tools(more), ["id", "ms", "vi", "unknown"])
    assert found["special"]["limit"] == "at most 50 %; id: 25 %"
    assert found["variety"]["limit"].startswith("at least 0.") and "bits" not in found
    assert found["near duplicate"]["limit"] == "less than 80 %"
    assert found["outlier"]["limit"] == "takes at most 1 % of a source"
    assert found["length"]["limit"] == "at most 2,000,000"


def test_a_rule_that_is_off_is_not_told(tools) -> None:
    more = '[rules]\noff = ["variety"]\noutliers = 0.0\n[near]\non = false\n[exact]\non = false\n[lines]\non = false\n'
    made = tools(more)
    whole = told(tools(), ["id"])
    gone = whole.keys() - told(made, ["id"]).keys()
    assert gone == {"variety", "outlier", "near duplicate", "repeated passages", "frequent lines"}
    assert "personal data" not in whole
    assert "personal data" in told(tools('[personal]\nemail = "drop"\n'), ["id"])
    assert told(made, ["unknown"]).keys().isdisjoint(ORDER)
