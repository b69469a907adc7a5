"""Working space is a thread's own."""

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
