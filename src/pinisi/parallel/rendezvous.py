"""Lets ranks find one another and join: through a store on the loopback interface where all are of one machine."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import torch
import torch.distributed as dist

from pinisi.base.errors import CommunicationError
from pinisi.parallel.place import environment_number, place
from pinisi.parallel.status import waiting
from pinisi.parallel.watchdog import joining_limit, longest_wait

LOOPBACK = ("127.0.0.1", "localhost")
MARGIN = 30.0  # seconds for the watchdog to speak first
DEFAULT = 300.0  # seconds, torch's own


def init_process_group(backend: str | None, device: torch.device, stuck_after: float | None = None) -> None:
    """Joins the process group that the environment names (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    stuck_after: runtime.stuck_after, of which the limits of joining and of every collective follow; torch's own if left out.
    Raises CommunicationError, or ConfigError for an environment that names no rank.
    """
    backend = backend or ("nccl" if device.type == "cuda" else "gloo")
    rank, world = place()
    if missing := [k for k in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(k)]:
        raise CommunicationError(
            f"the environment lacks {', '.join(missing)}: start through `pinisi train` or torchrun, which set them"
        )
    environment_number("MASTER_PORT", least=1, most=65535)
    try:
        with waiting():
            store = join_store(rank, world, stuck_after)
            limit = timedelta(seconds=longest_wait(stuck_after)) if stuck_after else None
            dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)
    except (RuntimeError, OSError, dist.DistError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise CommunicationError(
            f"rank {rank} could not join the others at {where} over {backend}: {error}"
        ) from error


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
