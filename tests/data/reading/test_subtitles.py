"""Subtitles: every spoken line once, in windows, and nothing else of the file."""

import pytest

from pinisi.data.reading import Source, documents_of, parts_of
from tests.data.reading.pages import LANGUAGES, encoded


def read(path):
    troubles: list[str] = []
    sources = [Source(str(path), language="th")]
    found = [
        d
        for part in parts_of(sources)
        for d in documents_of(part, sources[0], lambda e: troubles.append(str(e)))
    ]
    return found, troubles


def time(second, comma=","):
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}{comma}500"


def srt(lines):
    return "\n".join(
        f"{n + 1}\n{time(2 * n)} --> {time(2 * n + 1)}\n{line}\n" for n, line in enumerate(lines)
    )


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "cp874"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_each_line_stands_in_one_window(tmp_path, codec, newline):
    lines = [f"{LANGUAGES['th'][0][n % 5]} {n}" for n in range(250)]
    (tmp_path / "film.srt").write_bytes(srt(lines).replace("\n", newline).encode(codec))
    found, troubles = read(tmp_path)
    assert not troubles and [len(document.text.split("\n")) for document in found] == [100, 100, 50]
    assert [line for document in found for line in document.text.split("\n")] == lines
    assert [document.id.partition(":")[2] for document in found] == ["1-100", "101-200", "201-250"]
    assert found[1].metadata["begin"] == "00:03:20.500" and found[1].metadata["end"] == "00:06:39.500"


@pytest.mark.parametrize("language", ["vi", "zh", "ja", "ko"])
def test_old_encodings(tmp_path, language):
    lines = LANGUAGES[language][0] * 4
    codec = {"vi": "cp1258", "zh": "gb18030", "ja": "shift_jis", "ko": "cp949"}[language]
    (tmp_path / "film.srt").write_bytes(encoded(srt(lines), codec))
    (document,), troubles = read(tmp_path)
    assert document.text.split("\n") == lines and not troubles


VTT = """\ufeffWEBVTT Kind: captions; Language: en
X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000

STYLE
::cue { color: white }

NOTE 00:00 a comment
over two lines

intro
00:01.000 --> 00:02.000 align:start position:0%
<v Ann><i>Where</i> is the bridge?</v>
- It was <c.yellow>here</c>.

1:00:03.000 --> 1:00:04.000
[music] ♪ la la ♪ (laughs)

01:00:05.000 --> 01:00:06.000
He<00:00:05.500><c> said</c> &lt;no&gt; &amp; left. [door]

01:00:07.000 --> 01:00:08.000
42
"""


def test_what_is_not_spoken_goes(tmp_path):
    (tmp_path / "a.vtt").write_text(VTT, "utf-8")
    (document,), troubles = read(tmp_path)
    assert document.text.split("\n") == [
        "Where is the bridge?",
        "It was here.",
        "la la",
        "He said <no> & left.",
        "42",
    ]
    assert not troubles and document.metadata["begin"] == "00:01.000"


def test_srt_as_it_is_found(tmp_path):
    text = (
        '1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<font color="#ff0000">One</font>\n{b}two{/b}\n'
        "2\n00:00:03.0 --> 00:00:04.0 X1:0\nThree\\Nfour\n\n\n3\n00:00:05,000 --> 00:00:06,000\n\n4\n"
        "00:00:07,000 --> 00:00:08,000\n-Who?\n- I < you > me"
    )
    (tmp_path / "a.srt").write_text(text, "utf-8")
    (document,), _ = read(tmp_path)
    assert document.text.split("\n") == ["One", "two", "Three four", "Who?", "I < you > me"]


def test_what_holds_no_subtitles_is_named(tmp_path):
    (tmp_path / "a.srt").write_text("Hello\n", "utf-8")
    (tmp_path / "b.srt").write_bytes(bytes(range(256)) * 4)
    found, troubles = read(tmp_path)
    assert (
        not found
        and "a.srt: no subtitles in it" in troubles[0]
        and "b.srt: bytes of no encoding" in troubles[1]
    )
