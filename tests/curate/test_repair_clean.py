"""Repair changes nothing in a thousand clean documents: prose, code, data, verse, tables, and talk about tags."""

import random
import re
import sysconfig
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinisi.curate.repair import repaired
from tests.curate.texts import Language

# Neither clean text as repair's first lines say, nor safe to judge by: tests of encodings have damage on purpose.
UNCLEAN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\xff]|[ \t]\n|\n{5}|\n\n\Z|\A\n|\A\s*\Z")


def programs(number: int) -> Iterator[str]:
    """Of Python's own library, as its authors wrote them."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("**/*.py"))
    files = [
        file for file in files if not {"site-packages", "dist-packages", "test", "tests"} & set(file.parts)
    ]
    random.Random(0).shuffle(files)
    for file in files:
        try:
            text = file.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        if not UNCLEAN.search(text) and unicodedata.is_normalized("NFC", text):
            yield text
            number -= 1
            if number == 0:
                return


def words(draw: random.Random, of: Language, most: int) -> str:
    return " ".join(draw.choices(of.words, k=draw.randrange(1, most)))


def prose(draw: random.Random, of: Language) -> str:
    paragraphs = [
        " ".join(of.sentence() for _ in range(draw.randrange(1, 6))) for _ in range(draw.randrange(1, 5))
    ]
    return "\n\n".join(paragraphs)


def verse(draw: random.Random, of: Language) -> str:
    lines = [" " * draw.randrange(0, 30) + words(draw, of, 6) for _ in range(12)]
    return "\n".join(
        line + ("\n" * draw.randrange(1, 4) if n % 4 == 3 else "") for n, line in enumerate(lines)
    ).rstrip("\n")


def yaml(draw: random.Random, of: Language) -> str:
    lines = []
    for _ in range(draw.randrange(2, 12)):
        lines.append(f"{draw.choice(of.words)}:")
        depth = draw.randrange(1, 4)
        lines.append(
            "  " * depth + f"- {draw.choice(of.words)}: {words(draw, of, 4)}  # {words(draw, of, 3)}"
        )
        lines.append("  " * depth + f"  html: '<b>{draw.choice(of.words)}</b><br/>'")
    return "\n".join(lines)


def table(draw: random.Random, of: Language) -> str:
    rows = [[draw.choice(of.words) for _ in range(4)] for _ in range(draw.randrange(3, 9))]
    form = draw.randrange(4)
    if form == 0:
        return "\n".join("\t".join(row) for row in rows)
    if form == 1:
        return "\n".join("  ".join(f"{cell:<14}" for cell in row).rstrip() for row in rows)
    if form == 2:
        return "\n".join("| " + " | ".join(f"{cell:>12}" for cell in row) + " |" for row in rows)
    return "\n".join(f"{row[0]:.<30}{draw.randrange(1000):>6},{draw.randrange(100):02}" for row in rows)


def mathematics(draw: random.Random, of: Language) -> str:
    x, y = draw.choices("abipqsu", k=2)
    return draw.choice(
        [
            f"If {x}<{y} and {y}>{x}, then {x}<b and c>d; {x} << {y} >> 2, {words(draw, of, 5)}.",
            f"\\begin{{align}}\n  {x} &< {y} \\\\\n  {y} &> {x}&amp; \\text{{{words(draw, of, 3)}}}\n\\end{{align}}",
            f"{words(draw, of, 5)} ∀{x} < {y}: {x}≤{y}  ⇔  {y}≥{x}\n\n    {x} <-> {y} <=> <{x}|{y}>",
        ]
    )


def dialogue(draw: random.Random, of: Language) -> str:
    a, b = draw.choice(["budi", "b", "i", "ani", "p"]), draw.choice(["u", "q", "ani_77", "s"])
    turns = [
        draw.choice([f"<{a}> {words(draw, of, 9)}", f"<{b}> {words(draw, of, 9)} <3 <3"]) for _ in range(9)
    ]
    mail = f"From: {a.title()} <{a}.{b}@example.id>\nTo: <{b}@example.id>\n\n> > {words(draw, of, 9)}\n> {words(draw, of, 5)}"
    return draw.choice(["\n".join(turns), mail])


def typed(draw: random.Random, of: Language) -> str:
    """C++, Java, C and XML, whose angle brackets and ampersands are no HTML."""
    name, kind = (
        draw.choice(of.words).encode("ascii", "replace").decode().replace("?", "e"),
        draw.choice("abipqsu"),
    )
    return draw.choice(
        [
            f"std::vector<{kind}> {name};\nfor (auto& x : {name}) {{\n    f<{kind}>(x);\n}}",
            f"List<{kind}> {name} = new ArrayList<{kind}>();\nMap<{kind}, List<b>> m;\n\tm.put(k, {name});",
            f"struct {name} copy;\nuse(&copy, 1);\nint *p = &copy;\nint *q = &lt;\nreturn a && b;\n",
            f'<?xml version="1.0"?>\n<{name}>\n  <title>{name}</title>\n  <p>x &amp; y</p>\n</{name}>\n',
            f'#include <{name}.h>\n#define HTML "<p>{name}</p><br/>&nbsp;"\n',
            f"let page = <div className='x'>\n  <p>{{{name}}}</p>\n</div>;\nreturn page;\n",
            f'{{"html": "<p>{name}</p><p>x &amp; y</p>"}}',
            f"Type {name}<{kind}> is generic: `List<{kind}>` or {name}<b>, not {name}<i>.",
        ]
    )


def tutorial(draw: random.Random, of: Language) -> str:
    """Text that speaks of tags and entities."""
    tag, words_ = draw.choice(["script", "style", "b", "p", "div", "br", "table", "li"]), words(draw, of, 7)
    return draw.choice(
        [
            f"The `<{tag}>` tag {words_} `</{tag}>` {words_}.\n\nThen {words_}.",
            f"Put the <{tag}> tag before {words_}, and the </{tag}> tag behind {words_}.",
            f"# {words_}\n\n```html\n<!DOCTYPE html>\n<html><body>\n  <{tag}>x</{tag}>\n</body></html>\n```\n\n{words_} &amp;\n",
            f"Write `&lt;{tag}&gt;` for <{tag}>, and `&amp;` for an ampersand: {words_}.",
            f'What "<{tag}>" means ("&nbsp;" too): {words_}.',
            f"{words_}::\n\n    <{tag}>\n      {words_}\n    </{tag}>\n\n.. note:: {words_}",
            f"{prose(draw, of)}\n\n<p>{words_}</p>\n\n{prose(draw, of)}",
            f"See https://example.id/?a=1&section=2&copy=3&lt=4 and http://example.id/?x&para;=1 {words_}.",
        ]
    )


KINDS: dict[str, tuple[Callable[[random.Random, Language], str], int]] = {
    "prose": (prose, 150),
    "verse": (verse, 120),
    "yaml": (yaml, 80),
    "table": (table, 120),
    "mathematics": (mathematics, 60),
    "dialogue": (dialogue, 60),
    "typed": (typed, 100),
    "tutorial": (tutorial, 120),
}


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_documents_stay(kind):
    make, number = KINDS[kind]
    draw, languages = random.Random(kind), [Language(code, seed=5) for code in ("xa", "xb", "xk")]
    for _ in range(number):
        text = make(draw, draw.choice(languages))
        assert repaired(text) == (text, []), text


def test_programs_stay():
    texts = list(programs(250))
    assert len(texts) >= 200 and sum(number for _, number in KINDS.values()) + len(texts) >= 1000
    for text in texts:
        assert repaired(text) == (text, []), text[:300]
