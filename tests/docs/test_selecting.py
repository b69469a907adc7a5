"""The command of the page on selecting chats runs as it stands there, with tiny models of the names that it has."""

from __future__ import annotations

import json

from pinisi.cli import main
from tests.cookbook.selection.test_run import made_reward, records
from tests.data.conversations.made import write_chats
from tests.docs.pages import ROOT, commands
from tests.train.test_sft import made_model


def test_the_command_of_the_page_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-chats").mkdir()
    write_chats(tmp_path / "my-chats" / "id.jsonl", records()[0])
    made_model(tmp_path, "qwen3").rename(tmp_path / "my-model")
    made_reward(tmp_path / "my-reward-model")
    select, sft = (each for each in commands(ROOT / "docs" / "select.md") if each.whole)
    assert main(select.words[1:]) == 0
    assert (tmp_path / sft.words[sft.words.index("--then") + 1]).read_text()
    rows = [json.loads(line) for line in (tmp_path / "selected" / "scores.jsonl").read_text().splitlines()]
    assert all(row["perplexity"] > 0 and row["reward"] is not None for row in rows)
