"""Sums of 16-bit products in fp32, made in parts and blocks: against fp64, at sizes that divide nothing and with many of both."""

import pytest
import torch

from pinisi.vocabulary.buffers import Scratch
from pinisi.vocabulary.products import add_product, add_transposed_product_, only_product

from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here

# T, h, C: one part of one block, parts of two blocks with a rest in the first and in the second, many parts, h beyond T.
SIZES = [(29, 61, 83), (512, 512, 2003), (512, 512, 1950), (300, 700, 1201), (64, 1000, 3001)]


def drawn(tokens, hidden, columns, dtype):
    draws = torch.Generator().manual_seed(tokens + columns)
    p = torch.rand(tokens, columns, generator=draws).to(dtype)
    x, weight = (torch.randn(rows, hidden, generator=draws).to(dtype) for rows in (tokens, columns))
    factor = torch.rand(tokens, generator=draws) * 1e-6
    return p, x, weight, factor


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_gradient_of_a_tiles_rows(size, dtype):
    p, x, _, factor = drawn(*size, dtype)
    before = 1e-5
    sum_ = torch.full((size[2], size[1]), before)
    add_transposed_product_(sum_, p, x, Scratch(), factor)
    wanted = before + p.double().t() @ (factor.double().unsqueeze(1) * x.double())
    limit = (1e-5 if dtype == torch.float32 else 0.02) * (wanted - before).abs().amax(1, keepdim=True)
    assert ((sum_ - wanted).abs() <= limit).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sums_of_a_tiles_products(size, dtype):
    p, _, weight, factor = drawn(*size, dtype)
    scratch = Scratch()
    sum_ = add_product(None, p, weight, torch.float32, scratch, factor)
    sum_ = add_product(sum_, p, weight, torch.float32, scratch)
    wanted = (1 + factor.double().unsqueeze(1)) * (p.double() @ weight.double())
    limit = (1e-5 if dtype == torch.float32 else 0.02) * wanted.abs().amax(1, keepdim=True)
    assert ((sum_ - wanted).abs() <= limit).all()


def test_sums_that_fp16_has_no_room_for():
    """Each product of two numbers fits, and so does what a small factor leaves of the sum."""
    p, x, weight, factor = drawn(2048, 8, 512, torch.float16)
    p[:, 7], x[:, 3], weight[:, 5] = 1.0, 60.0, 500.0
    gradient = torch.zeros(512, 8)
    add_transposed_product_(gradient, p, x, Scratch(), factor)
    wanted = p.double().t() @ (factor.double().unsqueeze(1) * x.double())
    assert torch.allclose(gradient.double(), wanted, rtol=1e-4, atol=1e-6)
    products = p.double() @ weight.double()
    assert products.max() > 1e5
    only, scratch = only_product(p, weight, torch.float32), Scratch()
    sum_ = add_product(None, p, weight, torch.float32, scratch, factor)
    assert torch.allclose(sum_.double(), factor.double().unsqueeze(1) * products, rtol=1e-4, atol=1e-6)
    sum_ = add_product(only.clone(), p, weight, torch.float32, scratch)
    for found, times in ((only, 1), (sum_, 2)):
        assert found.dtype == torch.float32
        assert torch.allclose(found.double(), times * products, rtol=1e-4, atol=1e-2)
