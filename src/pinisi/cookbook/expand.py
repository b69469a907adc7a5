"""Gives a model more layers: reads its folder, says what that costs, and writes another folder, one tensor at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pinisi.base.errors import ConfigError, ModelError
from pinisi.base.files import check_room
from pinisi.base.progress import with_bar
from pinisi.costs.shape import Shape, shape_of
from pinisi.costs.work import BYTES, Setting, model_flops
from pinisi.models import ModelSpec, copy_companions, parameter_names, tokenizer_files, write_folder
from pinisi.models.folder import EXTRA_HEADS, SMALL_FILES, local_folder
from pinisi.models.new_parts import write_new_layers
from pinisi.models.spec import read_spec
from pinisi.models.surgery.expand import (
    Expansion,
    check_same_ends,
    expanded_weights,
    expansion,
    with_layers,
)
from pinisi.models.surgery.vocabulary import stored_weights

Ends = Literal["keep", "tie", "untie"]
Report = Callable[[str], None]


@dataclass(frozen=True)
class ExpandOptions:
    """Says what a model is to become. layers: in all. ends: whether embedding and head are one matrix."""

    layers: int
    ends: Ends = "keep"


@dataclass(frozen=True)
class ExpandPreset:
    """Names a published expansion. base, base_layers: of which model, and how many layers that has."""

    base: str
    base_layers: int
    options: ExpandOptions

    def check(self, name: str, layers: int) -> None:
        """Raises ConfigError for a model of another number of layers."""
        if layers != self.base_layers:
            raise ConfigError(
                f"--preset {name} expands {self.base}, which has {self.base_layers} layers; this model has {layers}: give its "
                "folder, or --layers N"
            )


# Sailor2, arXiv 2502.12982, section 4: 0.5B, 7B and 14B of Qwen2.5 with 24, 4 and 16 blocks more, the smallest untied.
PRESETS = {
    "sailor2-1b": ExpandPreset("Qwen/Qwen2.5-0.5B", 24, ExpandOptions(48, "untie")),
    "sailor2-8b": ExpandPreset("Qwen/Qwen2.5-7B", 28, ExpandOptions(32)),
    "sailor2-20b": ExpandPreset("Qwen/Qwen2.5-14B", 48, ExpandOptions(64)),
}


def options_for(
    model: str, layers: int | None, preset: str | None, ends: Ends, spec: ModelSpec
) -> ExpandOptions:
    """Returns what the command line asks for. Raises ConfigError where that is neither or both of a number and a preset."""
    if (layers is None) == (preset is None):
        raise ConfigError(
            f"how many layers is {model} to have? Give --layers N, or --preset NAME: one of the two"
        )
    if preset is None:
        assert layers is not None
        return ExpandOptions(layers, ends)
    chosen = PRESETS[preset]
    chosen.check(preset, spec.layers)
    return chosen.options if ends == "keep" else ExpandOptions(chosen.options.layers, ends)


def expanded_spec(spec: ModelSpec, options: ExpandOptions) -> tuple[ModelSpec, Expansion]:
    """Returns what the model becomes, and which layer each is."""
    found = expansion(spec.layers, options.layers)
    return with_layers(spec, found, tied=None if options.ends == "keep" else options.ends == "tie"), found


def expand_model(
    model: str | Path,
    out: str | Path,
    options: ExpandOptions,
    *,
    max_shard_bytes: int = 4 * 2**30,
    report: Report = print,
) -> Expansion:
    """Writes the folder of a model with more layers that does the same; returns which they are.

    model: its folder, or its name on the hub. max_shard_bytes: of a file.
    Raises ModelError, `out` unchanged.
    """
    folder = local_folder(model, ("*.safetensors", *SMALL_FILES), "safetensors files")
    spec = read_spec(folder)
    weights = stored_weights(spec)
    new, found = expanded_spec(spec, options)
    if Path(os.path.realpath(out)) == Path(os.path.realpath(folder)):
        raise ModelError(f"{out} is the model that is read; give another folder for the new one.")
    if spec.tied is False and new.tied:
        check_same_ends(spec, weights)
    check_room(Path(out), shape_of(new).parameters * weights.dtype.itemsize)
    for line in told(found):
        report(line)
    if (folder / EXTRA_HEADS).exists():
        report(
            f"{EXTRA_HEADS} is left out: extra heads stand beside a model's last layer, which is another one now"
        )
    tokenizer = folder if tokenizer_files(folder) else None
    tensors = with_bar(expanded_weights(spec, weights, new, found), len(list(parameter_names(new))))
    with tempfile.TemporaryDirectory() as files:
        copy_companions(None, folder, Path(files))
        write_new_layers(Path(files), found.new)
        write_folder(_with_files(new, Path(files)), tensors, out, tokenizer, max_shard_bytes=max_shard_bytes)
    return found


def _with_files(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The same model, whose companions lie in another folder."""
    assert spec.published is not None
    return replace(spec, published=replace(spec.published, folder=folder))


def told(found: Expansion) -> Iterator[str]:
    """Says where the copies stand, as lines of text."""
    old = len(found.sources) - len(found.new)
    yield f"{old} layers become {len(found.sources)}, counted from 0"
    yield f"copied, each right behind itself: {', '.join(map(str, found.copied))}"
    yield f"new: {', '.join(map(str, found.new))}"


def costs(spec: ModelSpec, new: ModelSpec, dtype: str, sequence: int) -> dict[str, Any]:
    """Returns parameters, bytes of weights, and FLOPs of a trained token (forward and backward), before and after."""
    found: dict[str, Any] = {"dtype": dtype, "sequence": sequence}
    for name, each in (("before", shape_of(spec)), ("after", shape_of(new))):
        found[name] = _cost(each, dtype, sequence)
    return found


def _cost(shape: Shape, dtype: str, sequence: int) -> dict[str, Any]:
    setting = Setting(sequence, dtype=dtype)
    return {
        "layers": shape.layers,
        "tied": shape.tied,
        "parameters": shape.parameters,
        "bytes": shape.parameters * BYTES[dtype],
        "training_bytes": round(shape.parameters * setting.parameter),
        "flops_per_token": model_flops(shape, setting) / setting.tokens,
    }


def cost_lines(found: dict[str, Any]) -> Iterator[str]:
    """The same as lines of text."""
    before, after = found["before"], found["after"]

    def line(name: str, key: str, scale: float, unit: str) -> str:
        one, other = before[key], after[key]
        return f"{name:32}{one / scale:10,.2f} -> {other / scale:10,.2f} {unit}  ({other / one:.2f} x)"

    yield line("parameters", "parameters", 1e9, "B")
    yield line(f"weights, {found['dtype']}", "bytes", 2**30, "GiB")
    yield line("weights, gradients, optimizer", "training_bytes", 2**30, "GiB")
    yield line(f"FLOPs a trained token of {found['sequence']}", "flops_per_token", 1e9, "G")
