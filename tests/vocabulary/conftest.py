import pytest
import torch

from pinisi.vocabulary.kernels import DTYPES


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the fixture cpu_kernels: in other dtypes than the native ones both of its values are torch's operations."""
    twice = []
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        dtype = given.get("dtype", torch.float32)
        if given.get("cpu_kernels") == "by choice" and dtype not in DTYPES["native"]:
            twice.append(item)
    if twice:
        config.hook.pytest_deselected(items=twice)
        left_out = set(map(id, twice))
        items[:] = [item for item in items if id(item) not in left_out]
