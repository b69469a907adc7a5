"""Tells in which dtype a model is to be trained where nobody says: that of its weights' files."""

from __future__ import annotations

from pinisi.models.folder import file_of, open_file
from pinisi.models.spec import ModelSpec, vocabulary_names

# As safetensors calls them. In any other, float16 too, a weight can be lost or overflow: it is read into float32.
_TRAINABLE = {"BF16": "bfloat16", "F64": "float64"}
RANDOM = "float32"  # of a random start


def stored_dtype(spec: ModelSpec) -> str:
    """Returns float32, bfloat16 or float64: as the embedding is stored in the folder that `spec` was read from, float32 for a
    model without one. Raises ModelError for files that can't be read."""
    if spec.folder is None:
        return RANDOM
    files = file_of(spec.folder)
    name = vocabulary_names(spec).embedding
    name = name if name in files else next(iter(files))
    return _TRAINABLE.get(open_file(files[name]).get_slice(name).get_dtype(), RANDOM)
