"""Working space is a thread's own."""

from threading import Thread, get_ident

import torch

from pinisi.vocabulary import buffers
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


def test_buffers_are_given_back_while_another_thread_takes_its_first(monkeypatch):
    scratch, cpu = Scratch(), torch.device("cpu")
    for dtype in (torch.float32, torch.float64):
        scratch.take("block", 3, 5, dtype, cpu)
    mine = get_ident()

    def meanwhile():
        """Whoever asks for its own number finds that another thread came in between."""
        monkeypatch.setattr(buffers, "get_ident", lambda: mine + 1)
        scratch.take(f"of another, {len(scratch._buffers)}", 3, 5, torch.float32, cpu)
        monkeypatch.setattr(buffers, "get_ident", meanwhile)
        return mine

    monkeypatch.setattr(buffers, "get_ident", meanwhile)
    scratch.drop("block")
    assert scratch._buffers and not any(name == "block" for name, _, _ in scratch._buffers)
