"""Advice on a dtype against torch's own account of what the CPU has, and against times that are made up."""

import pytest
import torch

from pinisi.train import dtype_speed


@pytest.mark.parametrize(("times", "said"), [(6.4, True), (2.0, True), (1.9, False), (0.5, False)])
def test_only_a_dtype_that_is_much_slower_is_advised_against(monkeypatch, times, said):
    seconds = {torch.float32: 0.25, torch.bfloat16: 0.25 * times}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(dtype_speed, "_seconds", seconds.__getitem__)
    assert bool(dtype_speed.advice(torch.bfloat16)) == said
    if said:
        assert f"takes {times:.0f} times as long" in dtype_speed.advice(torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not dtype_speed.advice(torch.bfloat16)


def test_float64_is_nobodys_mistake(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(dtype_speed, "_seconds", {torch.float32: 1.0, torch.float64: 9.0}.__getitem__)
    assert not dtype_speed.advice(torch.float64)


def test_the_time_is_of_the_dtype_and_threads_stay(monkeypatch):
    threads = torch.get_num_threads()
    seen = []
    monkeypatch.setattr(
        dtype_speed, "_once", lambda left, right: seen.append((left.dtype, right.dtype)) or 1.0
    )
    assert dtype_speed.slowness(torch.bfloat16) == 1.0
    assert set(seen) == {(torch.bfloat16,) * 2, (torch.float32,) * 2} and torch.get_num_threads() == threads
