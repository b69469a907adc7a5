"""Folders of ours through torch.distributed.checkpoint's Hugging Face layout, out and in, without pickle."""

from __future__ import annotations

import json

import pytest
import torch
import torch.distributed.checkpoint as dcp

from pinisi.models import FolderWeights, RandomWeights, read_spec, write_folder
from tests.models.tiny import tiny_config

READER, WRITER = dcp.HuggingFaceStorageReader, dcp.HuggingFaceStorageWriter


def tensors_of(name: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    spec = read_spec(tiny_config(name))
    weights = RandomWeights(spec, 3, dtype)
    return {each: weights.get(each) for each in weights.names()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["qwen2", "gemma2"])
@pytest.mark.parametrize("limit", [2**30, 2**13])
def test_torchs_reader_reads_what_we_write(tmp_path, name, dtype, limit):
    """In one file, and in several with an index."""
    tensors = tensors_of(name, dtype)
    folder = write_folder(
        read_spec(tiny_config(name)), tensors.items(), tmp_path / "model", max_shard_bytes=limit
    )
    found = {key: torch.zeros_like(value) for key, value in tensors.items()}
    dcp.load(found, storage_reader=READER(str(folder)), no_dist=True)
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("name", ["qwen2", "gemma2"])
def test_what_torchs_writer_wrote_is_a_model_of_ours(tmp_path, name, files, dtype):
    tensors = tensors_of(name, dtype)
    folder = tmp_path / "theirs"
    where = {key: 1 + at % files for at, key in enumerate(tensors)}
    dcp.save(dict(tensors), storage_writer=WRITER(str(folder), fqn_to_index_mapping=where), no_dist=True)
    assert not [path for path in folder.iterdir() if path.suffix not in (".safetensors", ".json")]
    (folder / "config.json").write_text(json.dumps(tiny_config(name)))
    spec = read_spec(folder)
    weights = FolderWeights(spec, folder, dtype)
    weights.check()
    assert set(weights.names()) == set(tensors)
    assert all(torch.equal(weights.get(key), tensors[key]) for key in tensors)


def test_moments_go_out_and_in_beside_the_weights_without_pickle(tmp_path):
    """As tensors with names of their own: the layout has nothing for numbers such as a count of steps."""
    weights = tensors_of("qwen2", torch.float32)
    state = {key: value for key, value in weights.items()}
    for kind in ("exp_avg", "exp_avg_sq"):
        state |= {f"{kind}/{key}": torch.rand_like(value) for key, value in weights.items()}
    dcp.save(dict(state), storage_writer=WRITER(str(tmp_path / "both")), no_dist=True)
    assert {path.suffix for path in (tmp_path / "both").iterdir()} <= {".safetensors", ".json"}
    found = {key: torch.zeros_like(value) for key, value in state.items()}
    dcp.load(found, storage_reader=READER(str(tmp_path / "both")), no_dist=True)
    assert all(torch.equal(found[key], state[key]) for key in state)
