"""Microbatches that are made one step early: the same as without, wherever a state is taken, and errors in their step."""

import threading
from typing import Any

import pytest
import torch

from pinisi.base.errors import DataError
from pinisi.data.batches import Microbatch
from pinisi.train.ahead import BatchesAhead


class Counted:
    """Deals numbered microbatches; `fails` at one number. Holds the threads that it was called on."""

    languages = ("id",)

    def __init__(self, fails: int = -1) -> None:
        self.drawn, self.fails = 0, fails
        self.bytes_read = 0
        self.threads: set[threading.Thread] = set()

    def step(self, microbatches: int) -> list[Microbatch]:
        self.threads.add(threading.current_thread())
        made = []
        for _ in range(microbatches):
            if self.drawn == self.fails:
                raise DataError(f"number {self.drawn} is damaged")
            tokens = torch.full((1, 2), self.drawn)
            made.append(Microbatch(tokens, tokens, tokens, tokens, tokens))
            self.drawn += 1
            self.bytes_read += 8
        return made

    def state(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def restore(self, state: dict[str, Any]) -> None:
        self.drawn = state["drawn"]


def numbers(batches: BatchesAhead, microbatches: int) -> list[int]:
    return [int(each.tokens[0, 0]) for each in batches.step(microbatches)]


@pytest.mark.parametrize("early", [True, False])
def test_states_are_of_what_was_dealt(early) -> None:
    batches = BatchesAhead(Counted(), early=early)
    assert batches.state() == {"drawn": 0}
    assert numbers(batches, 3) == [0, 1, 2] and batches.state() == {"drawn": 3}
    assert numbers(batches, 3) == [3, 4, 5] and batches.bytes_read == 24
    batches.restore({"drawn": 3})
    assert batches.state() == {"drawn": 3} and numbers(batches, 3) == [3, 4, 5]
    assert numbers(batches, 2) == [6, 7], "another number of microbatches than was made early"
    assert batches.state() == {"drawn": 8}
    batches.close()
    assert batches.state() == {"drawn": 8}


def test_makes_the_next_step_while_this_one_runs() -> None:
    counted = Counted()
    batches = BatchesAhead(counted)
    batches.step(2)
    batches._making[1].result(timeout=10)
    assert counted.drawn == 4 and batches.state() == {"drawn": 2}
    assert threading.current_thread() not in counted.threads
    late = BatchesAhead(Counted(), early=False)
    late.step(2)
    assert late.batches.drawn == 2


def test_an_error_is_raised_by_the_step_that_needs_it() -> None:
    batches = BatchesAhead(Counted(fails=4))
    assert numbers(batches, 2) == [0, 1] and numbers(batches, 2) == [2, 3]
    with pytest.raises(DataError, match="number 4 is damaged"):
        batches.step(2)
    forgotten = BatchesAhead(Counted(fails=2))
    assert numbers(forgotten, 2) == [0, 1]
    forgotten.close()  # the phase ended before
    assert forgotten.state() == {"drawn": 2}
