"""Merges models: an average, task arithmetic, or a chat vector of other models; reads folders and writes one, tensor by tensor."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from pinisi.base.errors import ConfigError, ModelError
from pinisi.base.files import check_room
from pinisi.base.progress import with_bar
from pinisi.cookbook.merge_files import companions
from pinisi.data.tokenizer import load_tokenizer
from pinisi.models import ModelSpec, parameter_names, write_folder
from pinisi.models.folder import EXTRA_HEADS, SMALL_FILES, file_of, local_folder, tokenizer_files
from pinisi.models.spec import read_spec, vocabulary_names
from pinisi.models.stage import parameter_shapes
from pinisi.models.surgery.expand import Expansion, with_layers
from pinisi.models.surgery.merge import (
    NO_ROW,
    Added,
    Average,
    MergeSource,
    Mixture,
    merged_weights,
    same_rows,
)
from pinisi.models.surgery.vocabulary import stored_weights
from pinisi.models.weights import FolderWeights

Report = Callable[[str], None]
# What a config.json says of saving, of sizes that are compared by tensor, and of tokens.
NOT_COMPARED = (
    "dtype",
    "torch_dtype",
    "architectures",
    "transformers_version",
    "_name_or_path",
    "vocab_size",
    "use_cache",
)
SHOWN = 5  # tokens that a line names


@dataclass(frozen=True)
class MergeModel:
    """Holds a model that is merged. tokens: id by token, None where it has no tokenizer."""

    folder: Path
    spec: ModelSpec
    weights: FolderWeights
    tokens: dict[str, int] | None

    @staticmethod
    def read(name: str | Path) -> MergeModel:
        """Reads a folder, or a model of the hub by its name. Raises ModelError or DataError."""
        folder = local_folder(name, ("*.safetensors", *SMALL_FILES), "safetensors files")
        spec = read_spec(folder)
        has = (folder / "tokenizer.json").is_file()
        return MergeModel(
            folder, spec, stored_weights(spec), load_tokenizer(folder).get_vocab() if has else None
        )


@dataclass
class Merged:
    """Says what was merged. left: by model, the tokens whose rows it lacks, and which so stay as they are or are of the others."""

    kind: str
    models: list[str]
    weights: list[float]
    parameters: int = 0
    dtype: str = ""
    left: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """Holds what a merge is made of. frame: the model whose shape, vocabulary and config.json the result has. voice: the one whose
    chat template and generation_config.json it has."""

    merged: Merged
    frame: MergeModel
    others: tuple[MergeModel, ...]
    voice: MergeModel
    mixture: Callable[[Callable[[MergeModel], MergeSource]], Mixture]


def average(models: Sequence[str | Path], weights: Sequence[float] = ()) -> Recipe:
    """Averages models; weights: of each, all alike if none are given. Raises ConfigError for weights that don't go with them."""
    shares = _weights(models, weights)
    if len(models) < 2:
        raise ConfigError("an average needs two models at least")
    if sum(shares) == 0:
        raise ConfigError(f"the weights {', '.join(map(str, shares))} sum to 0: give others")
    read = [MergeModel.read(each) for each in models]
    merged = Merged("average", [str(each) for each in models], shares)
    return Recipe(
        merged, read[0], tuple(read[1:]), read[0], lambda of: Average([of(each) for each in read], shares)
    )


def add_tasks(base: str | Path, tuned: Sequence[str | Path], weights: Sequence[float] = ()) -> Recipe:
    """Adds to a model, for each of others that were trained from it, weight * (other - model); 1 if no weights are given."""
    shares = _weights(tuned, weights)
    start, *others = (MergeModel.read(each) for each in (base, *tuned))
    merged = Merged("tasks", [str(each) for each in (base, *tuned)], shares)

    def mixture(of: Callable[[MergeModel], MergeSource]) -> Mixture:
        pairs = zip(shares, others, strict=True)
        return Added(of(start), [(share, of(each), of(start)) for share, each in pairs])

    return Recipe(merged, start, tuple(others), others[0], mixture)


def add_chat(model: str | Path, base: str | Path, chat: str | Path, weight: float = 1.0) -> Recipe:
    """Adds to a model weight * (chat - base): what made a chat model of the model that `model`, too, was trained from."""
    (shares,) = (_weights([chat], [weight]),)
    start, without, with_it = (MergeModel.read(each) for each in (model, base, chat))
    merged = Merged("chat", [str(each) for each in (model, base, chat)], shares)
    return Recipe(
        merged,
        start,
        (without, with_it),
        with_it,
        lambda of: Added(of(start), [(shares[0], of(with_it), of(without))]),
    )


def _weights(models: Sequence[Any], weights: Sequence[float]) -> list[float]:
    if weights and len(weights) != len(models):
        raise ConfigError(f"{len(models)} models and {len(weights)} weights: give one for each, or none")
    found = list(weights) or [1.0] * len(models)
    for each in found:
        if each != each or abs(each) == float("inf"):
            raise ConfigError(f"the weight {each} is no finite number")
    return found


def merge(
    recipe: Recipe, out: str | Path, *, max_shard_bytes: int = 4 * 2**30, report: Report = print
) -> Merged:
    """Writes the merged model's folder; returns what was merged.

    Sums are made in float32 (float64 where a model has such weights), and stored in the dtype of the model whose shape it has.
    Raises ModelError or DataError, `out` unchanged.
    """
    frame, models = recipe.frame, (recipe.frame, *recipe.others)
    for each in models:
        if Path(os.path.realpath(out)) == Path(os.path.realpath(each.folder)):
            raise ModelError(f"{out} is a model that is read; give another folder for the merged one.")
    for each in recipe.others:
        check_same(frame, each)
    new = _spec_of(recipe, report)
    sources = {str(each.folder): MergeSource(each.weights, _rows(frame, each)) for each in models}
    dtype = frame.weights.dtype
    recipe.merged.dtype = str(dtype).removeprefix("torch.")
    recipe.merged.parameters = sum(shape.numel() for shape in parameter_shapes(new).values())
    check_room(Path(out), recipe.merged.parameters * dtype.itemsize)
    for line in _told(recipe, sources):
        report(line)
    wide = torch.float64 if any(each.weights.dtype == torch.float64 for each in models) else torch.float32
    for each in models:
        each.weights.dtype = wide
    mixture = recipe.mixture(lambda model: sources[str(model.folder)])
    with tempfile.TemporaryDirectory() as files:
        generation = companions(frame, recipe.voice, Path(files), report)
        assert new.published is not None
        new = replace(new, published=replace(new.published, folder=Path(files), generation=generation))
        tensors = with_bar(merged_weights(new, mixture, dtype), len(list(parameter_names(new))))
        tokenizer = Path(files) if tokenizer_files(Path(files)) else None
        write_folder(new, tensors, out, tokenizer, max_shard_bytes=max_shard_bytes)
    return recipe.merged


def check_same(frame: MergeModel, other: MergeModel) -> None:
    """Raises ModelError, which names tensor and file, for models that can't be added up."""
    if frame.spec.model_type != other.spec.model_type:
        raise ModelError(
            f"{frame.folder} is a {frame.spec.model_type} model and {other.folder} a {other.spec.model_type} one: only models of "
            "one architecture can be merged."
        )
    of_vocabulary = {*vocabulary_names(frame.spec), *vocabulary_names(other.spec)}
    shapes = [
        {name: shape for name, shape in parameter_shapes(each.spec).items() if name not in of_vocabulary}
        for each in (frame, other)
    ]
    for name in [*shapes[0], *(each for each in shapes[1] if each not in shapes[0])]:
        if name in shapes[0] and name in shapes[1]:
            if shapes[0][name] != shapes[1][name]:
                raise ModelError(
                    f"{name} has shape {list(shapes[0][name])} in {_file(frame, name)} and {list(shapes[1][name])} in "
                    f"{_file(other, name)}: models that are merged have the same shapes."
                )
            continue
        one, none = (frame, other) if name in shapes[0] else (other, frame)
        raise ModelError(
            f"{name} is in {_file(one, name)} and not in {none.folder}: models that are merged have the same layers."
        )
    _check_rows(frame, other)


def _check_rows(frame: MergeModel, other: MergeModel) -> None:
    rows = frame.spec.vocabulary, other.spec.vocabulary
    lacking = next((each.folder for each in (frame, other) if each.tokens is None), None)
    if lacking is not None and rows[0] != rows[1]:
        name = frame.spec.architecture.embedding_name
        raise ModelError(
            f"{name} has {rows[0]} rows in {_file(frame, name)} and {rows[1]} in {_file(other, name)}, and {lacking} has no "
            "tokenizer.json that says which of them are of the same tokens: put its tokenizer there."
        )


def _file(model: MergeModel, name: str) -> Path:
    """The file that holds a tensor, or the folder where it goes by another name."""
    return file_of(model.folder).get(name, model.folder)


def _rows(frame: MergeModel, other: MergeModel) -> list[int]:
    rows = frame.spec.vocabulary
    if other is frame or frame.tokens is None or other.tokens is None:
        return list(range(rows))
    return same_rows(frame.tokens, rows, other.tokens, other.spec.vocabulary)


def _spec_of(recipe: Recipe, report: Report) -> ModelSpec:
    """The result's; its ends are one matrix where those of all models are."""
    spec = recipe.frame.spec
    apart = [str(each.folder) for each in recipe.others if not each.spec.tied]
    if spec.tied and apart:
        report(f"the head gets a matrix of its own, as in {', '.join(apart)}")
        spec = with_layers(spec, Expansion(tuple(range(spec.layers))), tied=False)
    return spec


def _told(recipe: Recipe, sources: dict[str, MergeSource]) -> Iterator[str]:
    """Says what is merged, what differs and which rows are left, as lines of text; notes the latter."""
    merged, frame = recipe.merged, recipe.frame
    yield f"{merged.kind}: {', '.join(merged.models)}; weights {', '.join(f'{each:g}' for each in merged.weights)}"
    by_row = {id: token for token, id in (frame.tokens or {}).items()}
    for other in recipe.others:
        yield from _different(frame, other)
        left = [row for row, found in enumerate(sources[str(other.folder)].rows) if found == NO_ROW]
        tokens = [by_row.get(row, f"row {row}, without a token") for row in left]
        merged.left[str(other.folder)] = tokens
        if tokens:
            shown = ", ".join(map(repr, tokens[:SHOWN])) + (", ..." if len(tokens) > SHOWN else "")
            yield f"{other.folder} lacks {len(tokens):,} of the {frame.spec.vocabulary:,} rows: nothing is added there ({shown})"
        more = [each for each in other.tokens or () if frame.tokens is not None and each not in frame.tokens]
        if more:
            shown = ", ".join(map(repr, more[:SHOWN])) + (", ..." if len(more) > SHOWN else "")
            yield f"{other.folder} has {len(more):,} tokens that {frame.folder} lacks, which are left out ({shown})"
    for each in (frame, *recipe.others):
        if (each.folder / EXTRA_HEADS).exists():
            yield f"{EXTRA_HEADS} of {each.folder} is left out"


def _different(frame: MergeModel, other: MergeModel) -> Iterator[str]:
    one, two = (each.spec.config.to_dict() for each in (frame, other))
    for key in sorted(one.keys() & two.keys()):
        if key in NOT_COMPARED or key.endswith(("_token_id", "_token_ids")) or key == "tie_word_embeddings":
            continue
        if one[key] != two[key]:
            yield f"config.json: {key} is {one[key]} in {frame.folder}, which stays, and {two[key]} in {other.folder}"


def as_json(merged: Merged) -> str:
    """The same for programs."""
    return json.dumps(merged.__dict__, indent=1, ensure_ascii=False) + "\n"
