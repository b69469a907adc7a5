"""Personal data of documents: what the configuration says is done, and nothing of it is left in any file."""

import json

import pytest

from pinisi.base.errors import ConfigError
from pinisi.base.settings import load
from pinisi.curate import records
from pinisi.curate.config import CurateConfig, Personal
from pinisi.curate.personal.documents import shown_safely, without_personal_data
from pinisi.data.documents import Document
from tests.curate.test_run import config, kept, packs, raw, run  # noqa: F401
from tests.curate.texts import Language

SECRET = "siti.aminah@kantor.co.id"


def test_masks_cuts_and_drops():
    document = Document(
        "1",
        f"{SECRET}, {SECRET} and 118.97.12.34; 4111 1111 1111 1111",
        "en",
        metadata={"lineage": ["mended: space"]},
    )
    new, numbers, drop = without_personal_data(document, Personal(ip="cut", account="keep"))
    assert new.text == "email@example.com, email@example.com and ; 4111 1111 1111 1111"
    assert numbers == {"e-mail addresses": 2, "IP addresses": 1} and drop == ""
    assert new.metadata["lineage"] == ["mended: space", "masked: 2 e-mail addresses", "cut: 1 IP address"]
    new, numbers, drop = without_personal_data(document, Personal(email="drop", ip="keep"))
    assert drop == "e-mail addresses" and SECRET not in new.text
    assert without_personal_data(document, Personal(*["keep"] * 5)) == (document, {}, "")


def test_what_is_shown_of_a_long_text_is_masked():
    text = f"{SECRET} " + "x" * 1000
    assert shown_safely(text, "en", Personal()) == "email@example.com " + "x" * 1000


def test_a_wrong_setting_is_named(tmp_path):
    (tmp_path / "c.toml").write_text(
        '[run]\nfolder = "x"\n[[sources]]\npath = "y"\n[personal]\nphone = "hide"\n'
    )
    with pytest.raises(ConfigError, match=r"personal\.phone.*keep"):
        load(tmp_path / "c.toml", into=CurateConfig)
    with pytest.raises(ConfigError, match=r"personal\.countries.*'xx'"):
        load(tmp_path / "c.toml", ["personal.phone=mask", "personal.countries=['xx']"], into=CurateConfig)


def test_a_whole_curation(tmp_path, packs):  # noqa: F811
    """Masked before duplicates are looked for, counted, and in no file that a user reads."""
    of = Language("xa")
    documents = of.documents(40, "clean")
    documents[3].text += f"\n{SECRET}"
    documents[5].text += f"\n{SECRET} 118.97.12.34"
    documents.append(Document("short", SECRET, "xa"))  # dropped by a rule
    documents.append(Document("long", f"{SECRET} " + of.text() * 40, "xa"))
    documents.append(Document("card", of.text() + " 4111 1111 1111 1111", "xa"))
    path = config(tmp_path, raw(tmp_path / "raw", documents), packs)
    out = run(path, "repair.longest=20000", "personal.account=drop")
    stays = kept(out)
    assert stays[documents[3].id].text.endswith("\nemail@example.com")
    assert stays[documents[5].id].text.endswith("\nemail@example.com 192.0.2.1")
    assert stays[documents[5].id].metadata["lineage"] == ["masked: 1 e-mail address, 1 IP address"]
    assert [stays[each.id].text for each in documents[6:40]] == [each.text for each in documents[6:40]]
    gone = {record["id"]: record for record in records.read(out / "dropped" / "all.jsonl.zst")}
    assert gone["short"]["text"] == "email@example.com" and gone["long"]["rule"] == "length"
    assert gone["card"]["rule"] == "personal data" and gone["card"]["value"] == "account or card numbers"
    report = json.loads((out / "report.json").read_text())["languages"]["xa"]
    assert report["personal"] == {"e-mail addresses": 3, "IP addresses": 1, "account or card numbers": 1}
    assert report["personal_documents"] == {
        "e-mail addresses": 3,
        "IP addresses": 1,
        "account or card numbers": 1,
    }
    assert "Personal data" in (out / "report.html").read_text()
    for file in out.rglob("*"):
        if file.suffix == ".zst":
            raw_text = "".join(json.dumps(record) for record in records.read(file))
        elif file.suffix in (".json", ".html"):
            raw_text = file.read_text()
        else:
            continue
        assert (
            "siti.aminah" not in raw_text and "118.97.12.34" not in raw_text and "4111 1111" not in raw_text
        ), file
