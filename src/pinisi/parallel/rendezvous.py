"""The store in which ranks find one another: on the loopback interface where all are of one machine, new at each restart."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import torch.distributed as dist

from pinisi.parallel.place import environment_number
from pinisi.parallel.watchdog import joining_limit

LOOPBACK = ("127.0.0.1", "localhost")
MARGIN = 30.0  # seconds for the watchdog to speak first
DEFAULT = 300.0  # seconds, torch's own


def join_store(rank: int, world: int, stuck_after: float | None) -> dist.Store:
    """Returns the store of MASTER_ADDR and MASTER_PORT for this start of the run. Raises OSError and torch's errors."""
    seconds = joining_limit(stuck_after) + MARGIN if stuck_after else DEFAULT
    limit = timedelta(seconds=seconds)
    if os.environ["MASTER_ADDR"] in LOOPBACK and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        store: dist.Store = _on_loopback(rank, world, limit)
    else:
        store = next(iter(dist.rendezvous("env://", rank, world, timeout=limit)))[0]
    return dist.PrefixStore(attempt(world), store)


def attempt(world: int) -> str:
    """Names this start: torchrun's agent keeps one store over restarts, with the addresses of ranks that are gone."""
    run, count = (os.environ.get(f"TORCHELASTIC_{name}", "") for name in ("RUN_ID", "RESTART_COUNT"))
    return f"pinisi/{run}/{count or 0}/{world}"


def _on_loopback(rank: int, world: int, limit: timedelta) -> dist.TCPStore:
    """torch's own server would listen on every interface, and believes whoever comes."""
    port = environment_number("MASTER_PORT", least=1)
    if rank:
        return dist.TCPStore("127.0.0.1", port, world, False, limit)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(max(128, 2 * world))
        return dist.TCPStore(
            "127.0.0.1",
            port,
            world,
            True,
            limit,
            wait_for_workers=False,
            master_listen_fd=listening.detach(),
        )
