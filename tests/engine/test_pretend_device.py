"""The engine on a device that computes nothing: host and device never mix, and nothing is read inside a step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pinisi.schedule import names
from tests.effort import FULL
from tests.engine.pretend_cases import FAULTS, LOSSES, RANKS, PretendCase, PretendProcess


@pytest.fixture(scope="module")
def device() -> Iterator[PretendProcess]:
    process = PretendProcess()
    yield process
    process.close()


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rank", range(RANKS))
@pytest.mark.parametrize("work", ["gradients", "evaluate", "log_probs", "hidden_states"])
@pytest.mark.parametrize("barriers", [0, 1, 2])
@pytest.mark.parametrize("schedule", names() if FULL else ["1f1b", "zb-h1", "zbv", "interlaced"])
def test_every_step_stays_on_the_device(device, schedule, barriers, work, rank, loss, recompute):
    if not barriers and (schedule == "interlaced" or work == "hidden_states"):
        pytest.skip("needs a split vocabulary")
    if FULL and work in ("log_probs", "hidden_states") and loss != "weighted":
        pytest.skip("reads no loss")
    error, operations = device.run(PretendCase(rank, schedule, barriers, recompute, work, loss))
    assert error is None, error
    assert operations > 20  # the device had something to do


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_at_its_line(device, fault):
    error, _ = device.run(PretendCase(1, "zb-h1", 1, fault=fault))
    assert error is not None, "nothing was found"
    last = error.strip().splitlines()[-1]
    assert FAULTS[fault].place in last, error


def test_a_rank_without_a_fault_passes_as_those_with_one(device):
    error, _ = device.run(PretendCase(1, "zb-h1", 1))
    assert error is None, error
