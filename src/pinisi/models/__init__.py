"""Reads and writes Hugging Face models, and cuts them into pipeline stages."""

from pinisi.models.adapted import AdaptedWeights, MergedWeights, with_adapters
from pinisi.models.adapters import Adapters, adapters_of
from pinisi.models.architectures import ARCHITECTURES, Architecture
from pinisi.models.context import Context, make_context, reference_inputs
from pinisi.models.export import copy_companions, write_folder
from pinisi.models.folder import Published, tokenizer_files
from pinisi.models.heads import is_extra_head, with_extra_heads
from pinisi.models.new_parts import TrainedParts, new_layers, new_rows, trained_parts
from pinisi.models.spec import TESTED_TRANSFORMERS, ModelSpec, VocabularyNames, read_spec, vocabulary_names
from pinisi.models.stage import Stage, adapter_shapes, build_stage, parameter_names, parameter_shapes
from pinisi.models.weights import FolderWeights, RandomWeights

__all__ = [
    "ARCHITECTURES",
    "TESTED_TRANSFORMERS",
    "AdaptedWeights",
    "Adapters",
    "Architecture",
    "Context",
    "FolderWeights",
    "MergedWeights",
    "ModelSpec",
    "Published",
    "RandomWeights",
    "Stage",
    "TrainedParts",
    "VocabularyNames",
    "adapter_shapes",
    "adapters_of",
    "build_stage",
    "copy_companions",
    "is_extra_head",
    "make_context",
    "new_layers",
    "new_rows",
    "parameter_names",
    "parameter_shapes",
    "read_spec",
    "reference_inputs",
    "tokenizer_files",
    "trained_parts",
    "vocabulary_names",
    "with_adapters",
    "with_extra_heads",
    "write_folder",
]
