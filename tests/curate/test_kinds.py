"""No kind of clean text is lost: twenty-one kinds of Indonesian through the whole default pipeline."""

import pytest

from pinisi.curate import records
from pinisi.curate.run import curate
from pinisi.data.documents import Document, write_documents
from tests.curate.kinds import KINDS


@pytest.mark.parametrize("language", ["", "auto"])
def test_no_kind_of_indonesian_text_is_lost(tmp_path, language):
    """Of seventeen such kinds fourteen were dropped by limits fitted to help and interface text."""
    write_documents(tmp_path / "id.jsonl", (Document(kind, text, "id") for kind, text in KINDS.items()))
    config = tmp_path / "curate.toml"
    config.write_text(
        f'[run]\nfolder = "{tmp_path}/out"\nworkers = 1\n[[sources]]\npath = "{tmp_path}/id.jsonl"\nlanguage = "{language}"\n'
    )
    curate(config, report=lambda line: None)
    kept = {d.id: d.text for d in records.read_documents(tmp_path / "out" / "documents" / "id.jsonl.zst")}
    assert {kind: kept.get(kind) for kind in KINDS} == KINDS
