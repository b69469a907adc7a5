"""Relative paths of `pinisi sft` and `pinisi prefer` are meant from the working folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pinisi.cookbook.prefer import PreferOptions, prefer_config
from pinisi.cookbook.sft import SftOptions, sft_config
from tests.data.conversations.made import hi, write_chats
from tests.train.test_sft import made_model


def test_data_lie_where_the_command_was_typed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made_model(tmp_path / "made", "qwen3"), "my-model")
    write_chats(Path("chats.jsonl"), [hi() for _ in range(40)])
    config = sft_config(
        SftOptions("my-model", "chats.jsonl", Path("runs/chat"), then="chats.jsonl", sequence=64)
    )
    assert [each["path"] for each in config.task["sources"]] == [str(tmp_path / "chats.jsonl")] * 2
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    Path("pairs.jsonl").write_text(40 * (json.dumps(pair) + "\n"))
    options = PreferOptions(
        "my-model",
        "pairs.jsonl",
        Path("runs/preferred"),
        held_out="pairs.jsonl",
        reference="my-model",
        epochs=3,
        sequence=64,
    )
    found = prefer_config(options, ["pipeline.microbatches=2", "data.microbatch_size=4"])
    assert found.task["pairs"] == found.task["held_out"] == str(tmp_path / "pairs.jsonl")
    assert found.task["reference"] == str(tmp_path / "my-model")
    assert found.run.steps == 15 and found.optimizer.warmup == 1  # 3 times 40 pairs, 8 a step
