import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def double(monkeypatch):
    """Doubles stay doubles where Gemma's code takes norms and softmaxes in fp32, whose sums hang on a row's length."""
    single, softmax = torch.Tensor.float, F.softmax

    def wide(x, *args, dtype=None, **options):
        return softmax(x, *args, dtype=x.dtype if x.dtype == torch.float64 else dtype, **options)

    monkeypatch.setattr(torch.Tensor, "float", lambda x: x if x.dtype == torch.float64 else single(x))
    monkeypatch.setattr(F, "softmax", wide)
