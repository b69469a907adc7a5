"""Which backend a microbatch gets, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pinisi.base.errors import ModelError
from pinisi.models import RandomWeights, build_stage, make_context, read_spec
from pinisi.models.attention import BACKENDS, DocumentBounds, PackedRows, choose, varlen
from tests.models.attention.cases import plain_varlen
from tests.models.tiny import tiny_config, tiny_spec

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PACKED, WHOLE = DocumentBounds(((300,) * 4,)), DocumentBounds(((1200,), (1200,)))


def chosen(spec, bounds, dtype=torch.float32, device=CPU) -> str:
    return choose(spec.backend, spec.attention_features, bounds, spec.window, dtype, device).name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_auto_takes_blocks_for_packed_rows_on_a_cpu(dtype):
    for name in ("llama", "mistral", "gemma3_text"):
        assert chosen(tiny_spec(name), PACKED, dtype) == "blocks"
        assert chosen(tiny_spec(name), WHOLE, dtype) == "dense"
        assert chosen(tiny_spec(name), None, dtype) == "dense"
        assert chosen(tiny_spec(name), DocumentBounds(((2,) * 30,)), dtype) == "dense"  # nothing is gained


def test_auto_keeps_what_a_backend_cannot_do():
    assert chosen(tiny_spec("qwen2", attention_dropout=0.1), PACKED) == "dense"
    assert chosen(tiny_spec("phi3", resid_pdrop=0.1), PACKED) == "blocks"  # nothing of attention's
    assert chosen(tiny_spec("gemma2"), PACKED) == "blocks"
    assert chosen(tiny_spec("gemma2"), PACKED, torch.float64) == "dense"  # transformers' softmax in fp32


def _tried(monkeypatch, fault: str | None) -> None:
    """Stands in for the trial, which needs a GPU."""
    row = replace(BACKENDS["varlen"], fault=lambda dtype, device: fault)
    monkeypatch.setitem(BACKENDS, "varlen", row)


def test_auto_on_a_gpu(monkeypatch):
    _tried(monkeypatch, "it fails")
    assert chosen(tiny_spec("mistral"), PACKED, torch.bfloat16, CUDA) == "dense"
    _tried(monkeypatch, None)
    assert chosen(tiny_spec("mistral"), PACKED, torch.bfloat16, CUDA) == "varlen"
    assert chosen(tiny_spec("mistral"), PACKED, torch.float32, CUDA) == "dense"
    assert chosen(tiny_spec("mistral"), WHOLE, torch.bfloat16, CUDA) == "dense"
    assert chosen(tiny_spec("gemma2"), PACKED, torch.bfloat16, CUDA) == "dense"
    assert chosen(tiny_spec("qwen3", head_dim=264), PACKED, torch.bfloat16, CUDA) == "dense"


def test_a_kernel_is_tried_before_it_is_taken(monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel image is available\nfor this device")

    def one_too_many(*given: object, window_size: tuple[int, int], **more: object) -> torch.Tensor:
        return plain_varlen(*given, window_size=(window_size[0] + 1, 0), **more)

    for kernel, said in (
        (plain_varlen, None),
        (never, r"fails on cpu \(RuntimeError: no kernel image is available\)"),
        (one_too_many, "off on cpu"),
    ):
        monkeypatch.setattr(varlen, "_kernel", lambda kernel=kernel: kernel)
        varlen.varlen_fault.cache_clear()
        if said is None:
            assert varlen.varlen_fault(torch.bfloat16, CPU) is None
            continue
        with pytest.warns(UserWarning, match=said):
            assert varlen.varlen_fault(torch.bfloat16, CPU) is not None
    varlen.varlen_fault.cache_clear()


def test_what_a_backend_lacks_is_refused_by_name():
    with pytest.raises(
        ModelError, match="'varlen', which has no soft-capped scores: set it to 'auto' or 'dense'"
    ):
        read_spec(tiny_config("gemma2"), attention="varlen")
    for name in ("blocks", "flex", "varlen"):
        with pytest.raises(ModelError, match=f"'{name}', which has no attention_dropout"):
            read_spec(tiny_config("qwen2", attention_dropout=0.1), attention=name)
    with pytest.raises(ModelError, match=r"'varlen', which has no heads wider than 256 \(head_dim is 264\)"):
        read_spec(tiny_config("qwen3", head_dim=264), attention="varlen")


def test_a_place_where_a_backend_does_not_run_is_named():
    for name in ("flex", "varlen"):
        spec = read_spec(tiny_config("llama"), attention=name)
        with pytest.raises(ModelError, match=f"'{name}', but it runs on cuda, not on cpu"):
            build_stage(spec, range(1), RandomWeights(spec, 0))
    reason = BACKENDS["varlen"].unfit(torch.float32, CUDA)
    assert reason == "it computes in float16 and bfloat16, not in float32"


def test_a_document_in_two_pieces_needs_the_dense_mask():
    documents = torch.tensor([[1, 2, 1]])
    spec = read_spec(tiny_config("llama"), attention="blocks")
    with pytest.raises(ModelError, match="a row has a document in two pieces apart: set it to 'dense'"):
        make_context(spec, documents, torch.arange(3)[None])
    assert isinstance(
        make_context(tiny_spec("llama"), documents, torch.arange(3)[None]).masks["full_attention"],
        torch.Tensor,
    )


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2"])
def test_nothing_of_a_rows_square_is_made_or_kept(name):
    s = 640
    documents = torch.arange(s)[None] // 80
    spec = read_spec(tiny_config(name), attention="blocks")
    part = build_stage(spec, range(4), RandomWeights(spec, 0))
    context = make_context(spec, documents, torch.arange(s)[None])
    assert all(isinstance(rows, PackedRows) for rows in context.masks.values())
    largest = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    hidden = torch.randn(1, s, spec.hidden, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for layer in part.layers:
            hidden = layer(hidden, context)
    assert largest <= s * 52 * 2 < s * s / 4  # the MLP's width is the largest


def test_a_changed_config_is_read_in_the_same_way():
    for choice, form in (
        ("auto", "sdpa"),
        ("blocks", "sdpa"),
        ("dense", "sdpa"),
        ("eager", "eager"),
        ("sdpa", "sdpa"),
    ):
        spec = read_spec(tiny_config("llama"), attention=choice)
        again = read_spec(tiny_config("llama"), attention=spec.attention_choice)
        assert (again.attention, again.backend) == (spec.attention, spec.backend) and spec.attention == form
