"""Every backend gives the logits and gradients of transformers' whole model with a dense mask, and keeps documents apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from pinisi.models import RandomWeights, make_context, read_spec, reference_inputs
from pinisi.models.attention import BACKENDS, DocumentBounds, PackedRows
from tests.effort import FULL, only_full
from tests.models.attention.cases import on_a_cpu
from tests.models.tiny import NAMES, VOCABULARY, DictWeights, perturbed, run, stages, tiny_config, whole_model

LIMIT = {torch.float32: 1e-5, torch.float64: 1e-11}
LENGTHS = [[5, 23, 1, 24], [53], [1, 1, 34, 17]]  # of documents, in rows of 53
WINDOWS = (5, 2, 8, 9, 17, 40, 64)  # 64: more than a row; of 1, nothing would reach queries and keys
WINDOWED = [name for name in NAMES if name not in ("llama", "olmo2")]
KERNELS = [name for name, row in BACKENDS.items() if row.attend is not None]


def packed(lengths: list[list[int]] = LENGTHS, seed: int = 0):
    """tokens, documents, positions [b,s]; documents' numbers are in no order."""
    random = torch.Generator().manual_seed(seed)
    documents = torch.tensor([[100 - 7 * i for i, n in enumerate(row) for _ in range(n)] for row in lengths])
    positions = torch.tensor([[place for n in row for place in range(n)] for row in lengths])
    return torch.randint(1, VOCABULARY, documents.shape, generator=random), documents, positions


def able(name: str, backend: str) -> bool:
    return name != "gemma2" or BACKENDS[backend].soft_cap


def spec_of(name: str, backend: str, window: int = 5, **changes):
    config = tiny_config(name, **changes)
    if "sliding_window" in config:
        config["sliding_window"] = window
    if name == "gemma2" and not BACKENDS[backend].soft_cap:
        config["attn_logit_softcapping"] = None
    return read_spec(config, attention=backend)


def gradients(logits, parameters) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(8)
    targets = torch.randint(VOCABULARY, logits.shape[:-1], generator=random)
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    return {name: parameter.grad for name, parameter in parameters}


def compare(name: str, backend: str, dtype: torch.dtype, window: int, monkeypatch) -> None:
    on_a_cpu(backend, monkeypatch)
    spec = spec_of(name, backend, window)
    tensors = perturbed(RandomWeights(spec, 3, dtype))
    tokens, documents, positions = packed(seed=window)
    assert all(isinstance(x, PackedRows) for x in make_context(spec, documents, positions).masks.values())
    (part,) = stages(spec, DictWeights(tensors), [], dtype)
    found = run([part], tokens, documents, positions, dtype)
    reference = whole_model(spec, tensors, dtype)
    expected = reference(**reference_inputs(spec, tokens, documents, positions, dtype)).logits
    assert (found - expected).norm() <= LIMIT[dtype] * expected.norm()
    ours, theirs = (gradients(x, y.named_parameters()) for x, y in ((found, part), (expected, reference)))
    assert ours.keys() == theirs.keys()
    for key, gradient in theirs.items():
        assert (ours[key] - gradient).norm() <= LIMIT[dtype] * gradient.norm(), key


CASES = [
    (name, backend, dtype, window)
    for name, backend, dtype in product(NAMES, KERNELS, LIMIT)
    for window in (WINDOWS if name in WINDOWED else WINDOWS[:1])
]


def in_turns() -> list[tuple[str, str, torch.dtype, int]]:
    """Every architecture with every backend, dtypes and windows by turns."""
    found = []
    for at, ((n, name), (k, backend)) in enumerate(product(enumerate(NAMES), enumerate(KERNELS))):
        dtype = (torch.float32, torch.float64)[(n + k) % 2]
        found.append((name, backend, dtype, WINDOWS[at % len(WINDOWS)]))
    return found


@pytest.mark.parametrize("name,backend,dtype,window", CASES if FULL else in_turns())
def test_logits_and_gradients_are_those_of_a_dense_mask(name, backend, dtype, window, monkeypatch, double):
    compare(name, backend, dtype, window, monkeypatch)


def test_the_turns_meet_every_window_and_dtype():
    found = in_turns()
    assert {window for name, _, _, window in found if name in WINDOWED} == set(WINDOWS)
    assert {(backend, dtype) for _, backend, dtype, _ in found} == set(product(KERNELS, LIMIT))


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", NAMES)
def test_a_token_moves_nothing_in_another_document(name, backend, monkeypatch):
    on_a_cpu(backend, monkeypatch)
    spec = spec_of(name, backend, 9)
    (part,) = stages(spec, DictWeights(perturbed(RandomWeights(spec, 3))), [], torch.float32)
    tokens, documents, positions = packed()
    with torch.no_grad():
        first = run([part], tokens, documents, positions, torch.float32)
        for row, number, place in ((0, 93, 27), (2, 86, 20), (0, 86, 28)):
            changed = tokens.clone()
            changed[row, place] = (tokens[row, place] + 1) % VOCABULARY
            again = run([part], changed, documents, positions, torch.float32)
            mine = torch.zeros_like(documents, dtype=torch.bool)
            mine[row] = documents[row] == number
            assert mine[row, place]
            assert torch.equal(again[~mine], first[~mine])
            assert not torch.equal(again[row, place], first[row, place])


@pytest.mark.parametrize("backend", KERNELS)
def test_gradients_stay_in_their_document(backend, monkeypatch):
    on_a_cpu(backend, monkeypatch)
    spec = spec_of("qwen3", backend, 9)
    (part,) = stages(spec, DictWeights(perturbed(RandomWeights(spec, 3))), [], torch.float32)
    _, documents, positions = packed()
    hidden = torch.randn(*documents.shape, spec.hidden, requires_grad=True)
    context = make_context(spec, documents, positions)
    out = hidden
    for layer in part.layers:
        out = layer(out, context)
    out[0, 20].square().sum().backward()  # of the document at places 5 to 27
    assert hidden.grad is not None
    touched = hidden.grad.abs().sum(-1).nonzero().tolist()
    assert touched == [[0, place] for place in range(5, 21)]


@pytest.mark.parametrize("tile", [3, 8, 512])
@pytest.mark.parametrize("window", [1, 2, 7, 8, 9, 25, 33])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_tiles_of_every_size_give_the_same(tile, window, cap, monkeypatch):
    on_a_cpu("blocks", monkeypatch, tile=tile)
    row = BACKENDS["blocks"]
    random = torch.Generator().manual_seed(window)
    query, key, value = (torch.randn(1, h, 33, 6, generator=random).double() for h in (6, 2, 2))
    assert row.prepare is not None and row.attend is not None
    for lengths in ((33,), (9, 24), (1, 31, 1)):
        bounds = DocumentBounds((lengths,))
        prepared = row.prepare(bounds, window, torch.device("cpu"))
        found = row.attend(query, key, value, prepared, 0.7, cap)
        numbers = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        place = torch.arange(33)
        seen = (numbers[:, None] == numbers) & (place <= place[:, None]) & (place > place[:, None] - window)
        scores = query @ key.repeat_interleave(3, 1).transpose(2, 3) * 0.7
        scores = scores if cap is None else cap * torch.tanh(scores / cap)
        expected = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value.repeat_interleave(3, 1)
        assert (found - expected.transpose(1, 2)).abs().max() <= 1e-12


@pytest.mark.parametrize("name", ["qwen2", "gemma2"])
def test_blocks_in_bf16_are_as_near_as_dense(name):
    errors = {"dense": 0.0, "blocks": 0.0}
    for seed in range(6):
        tokens, documents, positions = packed(seed=seed)
        spec = read_spec(tiny_config(name))
        tensors = perturbed(RandomWeights(spec, seed, torch.bfloat16))
        exact = {key: tensor.float() for key, tensor in tensors.items()}
        (whole,) = stages(spec, DictWeights(exact), [], torch.float32)
        with torch.no_grad():
            expected = run([whole], tokens, documents, positions, torch.float32)
            for backend in errors:
                other = replace(spec, backend=backend)
                (part,) = stages(other, DictWeights(tensors), [], torch.bfloat16)
                found = run([part], tokens, documents, positions, torch.bfloat16)
                errors[backend] += float((found.float() - expected).norm() / expected.norm())
    assert errors["blocks"] <= 1.1 * errors["dense"]


@only_full
def test_the_product_is_complete():
    assert len(CASES) == len(KERNELS) * 2 * (len(WINDOWED) * len(WINDOWS) + len(NAMES) - len(WINDOWED))
