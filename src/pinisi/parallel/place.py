"""Finds out which rank this process is, from the environment: set by our launcher, torchrun, Slurm's srun or Kubernetes."""

from __future__ import annotations

import os
import re
import socket

from pinisi.base.errors import ConfigError


def joined() -> bool:
    """True when the environment says which rank this process is."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def environment_number(name: str, *, least: int = 0, most: int = 2**31) -> int:
    """Returns a variable as a whole number. Raises ConfigError that says what it is."""
    text = os.environ.get(name, "")
    if not re.fullmatch("[0-9]{1,20}", text) or not least <= int(text) <= most:
        raise ConfigError(
            f"the environment has {name}={text!r}, needed a whole number from {least} to {most}: unset it, or start through "
            "`pinisi train` or torchrun, which set it"
            if name in os.environ
            else f"the environment lacks {name}: start through `pinisi train` or torchrun, which set it"
        )
    return int(text)


def place() -> tuple[int, int]:
    """Returns (rank, number of ranks). Raises ConfigError where the environment makes no sense."""
    rank, world = environment_number("RANK"), environment_number("WORLD_SIZE", least=1)
    if rank >= world:
        raise ConfigError(
            f"the environment has RANK={rank} and WORLD_SIZE={world}: ranks count from 0 to {world - 1}"
        )
    return rank, world


def local_place() -> int:
    """Returns the rank on this machine: LOCAL_RANK, or RANK where one machine has all ranks; raises ConfigError."""
    return environment_number("LOCAL_RANK" if "LOCAL_RANK" in os.environ else "RANK")


def free_port() -> int:
    """Returns a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
