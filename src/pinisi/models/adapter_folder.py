"""Writes adapters as a peft folder, which `PeftModel.from_pretrained` loads on the model that they stand on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file

from pinisi.base.files import new_folder
from pinisi.base.made import check_ours, mark
from pinisi.models.adapters import peft_config
from pinisi.models.export import copy_companions
from pinisi.models.spec import ModelSpec

WHAT = "adapters"
PREFIX = "base_model.model."  # of the names in peft's files
FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def write_adapter(
    spec: ModelSpec,
    tensors: Iterable[tuple[str, torch.Tensor]],
    folder: str | os.PathLike[str],
    base: str | None,
    tokenizer_folder: Path | None = None,
) -> Path:
    """Writes adapter_model.safetensors, adapter_config.json and the tokenizer's files, whole or not at all; returns the folder.

    tensors: (name, A or B). base: the folder or hub id of the model that they stand on, if it has one. Raises DataError for a
    folder that holds anything else than what was written so before, or where something cannot be written.
    """
    assert spec.adapters is not None, "a model without adapters has none to write"
    out = Path(os.path.realpath(folder))
    check_ours(out, WHAT, "--adapter")
    settings = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in peft_config(spec.adapters, base).to_dict().items()
    }
    with new_folder(out) as new:
        named = {PREFIX + name: tensor.contiguous() for name, tensor in tensors}
        save_file(named, new / FILE, metadata={"format": "pt"})
        text = json.dumps({**settings, "inference_mode": True}, indent=2, sort_keys=True)
        (new / CONFIG).write_text(text + "\n", "utf-8")
        if tokenizer_folder is not None:
            copy_companions(tokenizer_folder, None, new)
        mark(new, WHAT)
    return out
