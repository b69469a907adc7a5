"""Tells every rank what each of them has to say, as JSON in tensors: nothing that a peer sends is unpickled."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist

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
