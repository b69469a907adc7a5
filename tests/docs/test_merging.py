"""The commands of the page on merging run as they stand there, on tiny models of the names that they have."""

from __future__ import annotations

import json
import shutil

import torch
from safetensors.torch import load_file

from pinisi.cli import main
from tests.cookbook.made_models import tiny_model
from tests.docs.pages import ROOT, commands


def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    base = tiny_model(tmp_path / "base", "qwen3", "qwen", tied=True, max_position_embeddings=256)
    for name in ("run-1", "run-2", "run-3", "math", "code", "my-model", "chat"):
        shutil.copytree(base, tmp_path / name)
    (tmp_path / "chat" / "generation_config.json").write_text(
        json.dumps({"max_new_tokens": 3, "eos_token_id": 2})
    )
    ran = 0
    for command in commands(ROOT / "docs" / "merge.md"):
        if command.whole:
            assert main(command.words[1:]) == 0, command
            ran += 1
    assert ran == 4
    for name in ("mean", "both", "my-chat"):
        found, wanted = (load_file(tmp_path / each / "model.safetensors") for each in (name, "base"))
        assert all(torch.allclose(found[each], wanted[each], atol=1e-6) for each in wanted)
    assert "weights 0.8, 0.5" in capsys.readouterr().out
