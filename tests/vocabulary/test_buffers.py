"""Working space is a thread's own."""

import sys
from threading import Thread

import torch

from pinisi.vocabulary.buffers import Scratch


def test_two_threads_never_share_a_buffer():
    """U is made by another thread than S and T of the same shard."""
    scratch, found = Scratch(), []

    def take():
        found.append(scratch.take("block", 3, 5, torch.float32, torch.device("cpu")).fill_(2.0))

    mine = scratch.take("block", 3, 5, torch.float32, torch.device("cpu")).fill_(1.0)
    thread = Thread(target=take)
    thread.start()
    thread.join()
    assert (mine == 1.0).all() and (found[0] == 2.0).all()
    take()
    assert found[1].data_ptr() == mine.data_ptr()  # the same thread's is the same one again


def test_a_thread_gives_back_its_own_alone():
    scratch, found = Scratch(), []

    def take():
        found.append(scratch.take("block", 3, 5, torch.float32, torch.device("cpu")))

    def take_and_drop_mine():
        take()
        scratch.drop("block")
        take()

    take()
    thread = Thread(target=take_and_drop_mine)
    thread.start()
    thread.join()
    take()
    assert found[3].data_ptr() == found[0].data_ptr()


def test_buffers_are_given_back_while_others_take_theirs():
    scratch, stop = Scratch(), []

    def take_many():
        while not stop:
            for name in range(200):
                scratch.take(str(name), 1, 1, torch.float32, torch.device("cpu"))
            for name in range(200):
                scratch.drop(str(name))

    thread = Thread(target=take_many)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(300):
            scratch.drop("none of that name")
    finally:
        stop.append(True)
        thread.join()
        sys.setswitchinterval(interval)
