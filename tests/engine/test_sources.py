"""Where a run's first weights and its tokenizer come from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from pinisi.base.errors import DataError
from pinisi.config import load
from pinisi.train.building import check_rows, first_weights, spec_of
from pinisi.train.model_files import tokenizer_of
from tests.engine.runs import pinisi

NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def exported(whole, project) -> Path:
    out = project / "sources-model"
    assert pinisi("export", str(whole), "--out", str(out)).returncode == 0
    return out


def config_from(project: Path, **model):
    config = load(project / "config.toml")
    return replace(config, model=replace(config.model, config=None, **model))


def test_a_hub_id_starts_from_the_weights_of_the_hub(project, exported, monkeypatch):
    """A hub id has no local folder when its configuration is read; a random start instead would go unnoticed."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(exported))
    config = config_from(project, source="someone/somemodel")
    weights = first_weights(config, spec_of(config), torch.float32)
    assert torch.equal(weights.get(NAME), load_file(exported / "model.safetensors")[NAME])


def test_a_source_folder_brings_its_own_tokenizer(project, exported):
    config = config_from(project, source=str(exported), tokenizer=None)
    assert tokenizer_of(config, spec_of(config)) == str(exported)
    named = config_from(project, source=str(exported), tokenizer="elsewhere")
    assert tokenizer_of(named, spec_of(named)) == "elsewhere"


def test_a_tokenizer_that_is_not_there_is_named(project):
    config = load(project / "config.toml")
    with pytest.raises(DataError, match="no tokenizer in /nowhere"):
        check_rows(spec_of(config), "/nowhere")


def test_control_tokens_beyond_the_models_rows_stop_nothing(project, tmp_path):
    """As Gemma 3's <image_soft_token>, id 262144 of a model of 262,144 rows; a word there would."""
    config = load(project / "config.toml")
    rows = spec_of(config).vocabulary
    for number, (name, special) in enumerate(
        (("<image_soft_token>", True), ("<think>", False), ("kapal", False))
    ):
        folder = tmp_path / str(number)
        shutil.copytree(project / "tokenizer", folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        have = tokenizer.get_vocab_size()
        tokenizer.add_tokens([f"word{n}" for n in range(rows - have)])
        add = tokenizer.add_special_tokens if special else tokenizer.add_tokens
        add([name])
        tokenizer.save(str(folder / "tokenizer.json"))
        assert tokenizer.token_to_id(name) == rows
        if name == "kapal":
            with pytest.raises(DataError, match=f"has {rows + 1} entries, the model {rows} rows"):
                check_rows(spec_of(config), str(folder))
        else:
            check_rows(spec_of(config), str(folder))
