"""Mending: damage goes, clean text of any script stays as it is."""

import html
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinisi.curate.config import Repair
from pinisi.curate.repair import STEPS, repaired

CLEAN = {
    "en": "If a < b and b > c, then AT&T's “quotes” stay — as they are; x <= y.\nSecond line.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. Ấy là đã đủ.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ น้ำ",
    "km": "មនុស្សទាំងអស់\u200bកើតមក\u200bមានសេរីភាព និងសមភាព",
    "my": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်လည်းကောင်း",
    "lo": "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະສະເໝີໜ້າກັນ",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，（并应以兄弟关系的精神相对待）。",
    "fr": "Été, café, «naïve», œuvre, 10 €, À bientôt.",
}


@pytest.mark.parametrize("language", CLEAN)
def test_clean_text_stays(language):
    assert repaired(CLEAN[language]) == (CLEAN[language], [])


@pytest.mark.parametrize("language", [language for language in CLEAN if language not in ("en", "fr")])
@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_utf_8_read_as_another_encoding(language, wrong):
    text = CLEAN[language]
    try:
        damaged = text.encode("utf-8").decode(wrong)
    except UnicodeDecodeError:
        damaged = text.encode("utf-8").decode("latin-1")
    mended, done = repaired(damaged)
    assert mended == text and "encoding" in done


def test_a_page_may_mix_encodings():
    lines = [text.split("\n")[0] for text in CLEAN.values()]
    mixed = [line.encode().decode("latin-1") if number % 2 else line for number, line in enumerate(lines)]
    assert repaired("\n".join(mixed)) == ("\n".join(lines), ["encoding"])


@pytest.mark.parametrize("language", CLEAN)
def test_markup_and_entities(language):
    lines = CLEAN[language].split("\n")
    inside = "".join(f'<p class="a"><b>{html.escape(line)}</b></p>' for line in lines)
    head = "<!-- x --><html><head><title>t</title><style>p{}</style></head>"
    page = f"{head}<body>{inside}<script>if (a<b) {{}}</script></body></html>"
    mended, done = repaired(page)
    assert mended == "\n\n".join(lines)
    assert "markup" in done
    assert repaired(page, ["space"])[0].startswith("<!--")


@pytest.mark.parametrize(
    ("damaged", "mended", "step"),
    [
        ("Ya, don\x92t.", "Ya, don’t.", "encoding"),
        ("\x93Hi\x94 \x96 \x80 10, wait\x85 and", "“Hi” – € 10, wait… and", "encoding"),
        ("wait\x85 and see", "wait… and see", "encoding"),
        ("one\x85two", "one\ntwo", "newlines"),
        ("a\x0bb\x0cc\x1cd\x1de\x1ef\rg\u2028h\u2029i", "a\nb\nc\nd\ne\nf\ng\nh\n\ni", "newlines"),
        ("<td>a</td><td>b</td>", "a\tb", "markup"),
        ("<h1>A</h1>text", "A\ntext", "markup"),
        ("<p>Selamat pagi.</p><br/>", "Selamat pagi.", "markup"),
        ("Hari ini.<br/>Besok.<br/><br/>Lusa &amp; nanti.", "Hari ini.\nBesok.\n\nLusa & nanti.", "markup"),
        ("<p>it&#8217;s &ldquo;x&rdquo;</p>", "it’s “x”", "markup"),
        ("<p>Nama: (a)</p><p>Umur: 3</p><p>Kota:</p>", "Nama: (a)\n\nUmur: 3\n\nKota:", "markup"),
        ("x<pre>\n  a</pre>", "x\n  a", "markup"),
        ("<p>a<b and c>d</p>", "a<b and c>d", "markup"),
        ("one.</p><p>two.", "one.\n\ntwo.", "markup"),
        ("Satu. <br /> Dua. <br /> Tiga.", "Satu.\nDua.\nTiga.", "markup"),
        ("<tr><th>A<th>B<tr><td>1<td><td>3", "A\tB\n1\t\t3", "markup"),
        ("<P ALIGN=CENTER>Halo<BR>dunia</P>", "Halo\ndunia", "markup"),
        ("Satu <b>x</b> y\n\n  Dua <a href='u'>z</a>.", "Satu x y\n\n  Dua z.", "markup"),
        ("<html><body>\n<p>a\nb <i>c</i>\n  d</p>\n\n\n<p>e</p></body></html>", "a b c d\n\ne", "markup"),
        ("<pre>\n  a\n    b</pre>", "  a\n    b", "markup"),
        ("<p>a &lt;b&gt; &copy; x&section=2</p>", "a <b> © x&section=2", "markup"),
        ("<p>x<script>if (a<b) {}</script>y<style>p{}</style>z<!-- c --></p>", "x y z", "markup"),
        ("&lt;p&gt;Halo dunia&lt;/p&gt;", "Halo dunia", "entities"),
        ("Tom &amp;amp; Jerry &quot;hi&quot; caf&eacute;", 'Tom & Jerry "hi" café', "entities"),
        ("Tom &amp; http://x.id/?a=1&sect;=2", "Tom & http://x.id/?a=1&sect;=2", "entities"),
        ("\ufeffso\u00adft\u2060 \x1b[31mred\x1b[0m \ud83d\x00", "soft red", "control"),
        ("e\u0301", "é", "form"),
        ("\n \n  a  b\u00a0c \t\n\n\n\n\n\n\td\n\n", "  a  b c\n\n\n\n\td\n", "space"),
    ],
)
def test_damage_is_mended_by_its_step(damaged, mended, step):
    text, done = repaired(damaged)
    assert text == mended and step in done
    without = Repair(**{step: False}).steps
    assert set(without) == set(STEPS) - {step}
    assert repaired(damaged, without)[0] != mended


def test_control_characters_and_white_space():
    draw = random.Random(3)
    for text in CLEAN.values():
        damaged = "".join(
            c + draw.choice(["", "", "", "\x00", "\x1b", "\ufeff", "\u202e", "\u00ad", "\ud83d"])
            for c in text
        )
        assert repaired(damaged)[0] == text
    assert repaired("a \t\u00a0b \r\n\r\nc\u2028d ") == ("a \t b\n\nc\nd", ["newlines", "space"])


def test_marks_of_direction_stay_where_letters_run_from_right_to_left():
    hebrew = "שלום \u2067abc\u2069 \u200fעולם"
    assert repaired(hebrew) == (hebrew, [])
    assert repaired("abc \u2067def\u2069")[0] == "abc def"


PIECES = [
    *(
        "a",
        "é",
        "<",
        ">",
        "&",
        ";",
        " ",
        "\n",
        "\u0301",
        "\u1ea5",
        "\u17d2",
        "\u200b",
        "\x07",
        "Ã©",
        "â€œ",
        "\x92",
        "\x85",
    ),
    *(
        "\r",
        "\x0c",
        "<p>",
        "</p>",
        "<b>",
        "</b>",
        "<br/>",
        "<td>",
        "<pre>",
        "</pre>",
        "<html>",
        "<script>",
        "</script>",
    ),
    *(
        "<!--",
        "-->",
        "&amp;",
        "&lt;",
        "&gt;",
        "&#38;",
        "&#13;",
        "lt;",
        "`",
        '"',
        "http://",
        "\u00a0",
        "\u3000",
        "\t",
        "Â",
        "Ã",
    ),
    *(
        "word. ",
        "x = 1",
        "<a href='u'>",
        "</a>",
        "<li>",
        "</div>",
        "<div>",
        "\ud83d",
        "\u202b",
        "ש",
        *CLEAN.values(),
    ),
]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_what_is_mended_is_clean(text):
    once, _ = repaired(text)
    assert unicodedata.is_normalized("NFC", once)
    assert not any(line != line.rstrip() for line in once.split("\n")) and "\n" * 5 not in once
    assert (
        not once.startswith("\n")
        and not once.endswith("\n\n")
        and not set(once) & set("\r\x07\x0c\x85\x92\u00a0\ud83d")
    )
    assert repaired(once) == (once, [])


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("aé \u0301\u0327\u0344\u0345≠\u05b0\u3099"), max_size=400))
def test_nfc_is_the_standard_s(text):
    long = text.replace("é", "\u0301\u0327" * 40)
    assert repaired(long, ["form"])[0] == unicodedata.normalize("NFC", long)


@pytest.mark.parametrize(
    "text",
    [
        "Luasnya sepuluh m<sup>2</sup> saja.",
        "<br>\nis what <br> in a <p> with </p> or an <li> and a <td> does.",
        'He writes "&nbsp;" there, and never a space.',
        ">>> 'tÃ©st'.encode('latin-1').decode()\n'tést'",
        "Kirim ke <a.budi@x.id> atau <b@y.id>; a<b and c>d; List<i>.",
        "http://x.id/?a=1&section=2",
    ],
)
def test_what_looks_like_damage_stays(text):
    assert repaired(text) == (text, [])


def test_a_byte_among_letters_of_another_script_is_no_windows_1252():
    assert repaired("សម្\x9aាប់")[0] == "សម្ាប់"
