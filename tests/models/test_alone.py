"""A packed document is computed as the same document alone by transformers' own model, whatever stands beside it in the row."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pinisi.base.ids import IGNORE
from pinisi.data.batches import PackedRow, collate
from pinisi.models import RandomWeights, make_context

from ..effort import first
from .tiny import NAMES, VOCABULARY, DictWeights, perturbed, run, stages, tiny_spec, whole_model

LIMIT = {torch.float32: 1e-5, torch.float64: 1e-11}
ORIGINAL = 16  # positions; documents are shorter, as long, and longer in two ways
ROWS = [[5, 23, 16, 4], [41, 7], [17, 31]]


def rope(kind: str, half: int) -> dict:
    base = {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0}
    if kind == "yarn":
        return {**base, "original_max_position_embeddings": ORIGINAL}
    if kind == "longrope":
        factors = {
            "short_factor": [1.0 + n / 8 for n in range(half)],
            "long_factor": [2.0 + n for n in range(half)],
        }
        return {**base, **factors, "original_max_position_embeddings": ORIGINAL}
    return base


def spec_of(name: str, kind: str):
    half = 5 if name in ("qwen3", "gemma2", "gemma3_text") else 3
    if kind == "default":
        return tiny_spec(name)
    tables = rope(kind, half)
    if name == "gemma3_text":  # a table for each type of attention
        tables = {"full_attention": tables, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
    changes = {"rope_parameters": tables}
    if kind == "dynamic":
        changes["max_position_embeddings"] = ORIGINAL
    if name == "phi3":
        changes["original_max_position_embeddings"] = ORIGINAL
    return tiny_spec(name, **changes)


def documents() -> list[np.ndarray]:
    draw = np.random.default_rng(3)
    return [draw.integers(1, VOCABULARY, size) for row in ROWS for size in row]


def microbatch(of: list[np.ndarray]):
    """As training and evaluation have it; padding behind the documents."""
    rows, left = [], list(of)
    for sizes in ROWS:
        rows.append(PackedRow(sequence=53, padding=2))
        for _ in sizes:
            document = left.pop(0)
            assert rows[-1].add(document, 0) == len(document)
    return collate(rows, [0] * len(rows))


KINDS = ("default", "yarn", "longrope", "dynamic")
CASES = [(name, kind) for name in NAMES for kind in (KINDS if name != "phi3" else ("default", "longrope"))]


@pytest.mark.parametrize("name,kind", CASES)
@pytest.mark.parametrize("dtype", first(1, [torch.float64, torch.float32]))
def test_packed_equals_alone(name, dtype, kind, double):
    spec = spec_of(name, kind)
    tensors = perturbed(RandomWeights(spec, 3, dtype))
    of = documents()
    batch = microbatch(of)
    parts = stages(spec, DictWeights(tensors), [2], dtype)
    logits = run(parts, batch.tokens, batch.documents, batch.positions, dtype)
    F.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, reduction="sum"
    ).backward()
    found: dict[str, torch.Tensor] = {}
    for part in parts:
        for key, parameter in part.named_parameters():
            found[key] = found.get(key, 0) + parameter.grad
    numbers = [
        batch.documents[row].unique()[place] for row, sizes in enumerate(ROWS) for place in range(len(sizes))
    ]
    expected: dict[str, torch.Tensor] = {}
    for document, number in zip(of, numbers, strict=True):
        alone = whole_model(spec, tensors, dtype)  # a new one: its tables remember the longest
        ids = torch.from_numpy(document)[None]
        theirs = alone(input_ids=ids, use_cache=False).logits[0]
        ours = logits[batch.documents == number]
        assert (ours - theirs).norm() <= LIMIT[dtype] * theirs.norm(), (len(document), kind)
        F.cross_entropy(theirs[:-1], ids[0, 1:], reduction="sum").backward()
        for key, parameter in alone.named_parameters():
            expected[key] = expected.get(key, 0) + parameter.grad
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert (found[key] - gradient).norm() <= LIMIT[dtype] * gradient.norm(), key


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_tables_follow_the_document_and_not_the_row(name, kind):
    """A short document's are the same beside a long one as beside none; a long one's are others."""
    spec = spec_of(name, kind)
    positions = torch.tensor([[*range(9), *range(31)], [*range(31), *range(9)]])
    numbers = torch.tensor([[7] * 9 + [3] * 31, [3] * 31 + [3000000000] * 9])
    tables = make_context(spec, numbers, positions).rotary["full_attention"]
    short = make_context(spec, numbers[:1, :9], positions[:1, :9]).rotary["full_attention"]
    long = make_context(spec, numbers[:1, 9:], positions[:1, 9:]).rotary["full_attention"]
    for whole, few, many in zip(tables, short, long, strict=True):
        assert torch.equal(whole[0, :9], few[0]) and torch.equal(whole[1, 31:], few[0])
        assert torch.equal(whole[0, 9:], many[0]) and torch.equal(whole[1, :31], many[0])
        assert not torch.equal(few[0], many[0, :9])
