"""Exchanges messages between all ranks, as JSON in tensors: nothing that a peer sends is unpickled."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist

from pinisi.base.errors import CommunicationError
from pinisi.parallel.status import waiting


def gather_json(value: Any, group: dist.ProcessGroup | None = None) -> list[Any]:
    """Returns each rank's value, in order of rank; a collective call. Tuples come back as lists, keys as strings.

    Without a process group this process is alone, and its value is the only one.
    """
    if not dist.is_initialized():
        return [json.loads(json.dumps(value))]
    with waiting():
        device = torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")
        text = json.dumps(value).encode()
        sizes = torch.zeros(dist.get_world_size(group), 1, dtype=torch.int64, device=device)
        dist.all_gather(list(sizes.unbind(0)), torch.tensor([len(text)], device=device), group=group)
        mine = torch.zeros(int(sizes.max()), dtype=torch.uint8, device=device)
        mine[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(device)
        everyone = torch.zeros(len(sizes), len(mine), dtype=torch.uint8, device=device)
        dist.all_gather(list(everyone.unbind(0)), mine, group=group)
    rows = zip(sizes.flatten().tolist(), everyone.cpu(), strict=True)
    return [json.loads(bytes(row[:size].tolist())) for size, row in rows]


def agree_on(group: dist.ProcessGroup | None = None, **mine: Any) -> None:
    """Compares what each rank has under each name, which must be alike everywhere; a collective call.

    Raises CommunicationError, on every rank, that names the ranks that differ from the first one.
    """
    everyone = gather_json(mine, group)
    for name in mine:
        values = [value[name] for value in everyone]
        if others := [rank for rank, value in enumerate(values) if value != values[0]]:
            shown, other = (json.dumps(value)[:100] for value in (values[0], values[others[0]]))
            ranks = f"{'rank' if len(others) == 1 else 'ranks'} {', '.join(map(str, others))}"
            verb = "has" if len(others) == 1 else "have"
            raise CommunicationError(
                f"{ranks} {verb} another {name} ({other}) than rank 0 ({shown}): start all ranks with the same configuration, "
                "the same files and the same version of pinisi"
            )
