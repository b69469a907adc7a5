"""Trains a model of one's own with the LM head split by rows over all ranks, in a loop of one's own.

torchrun --nproc-per-node 2 examples/head_alone.py
"""

import torch
import torch.distributed as dist
from torch import nn

from pinisi.losses import weighted_cross_entropy
from pinisi.vocabulary import HeadShard, Shards

VOCABULARY, HIDDEN, TOKENS = 50_000, 64, 128


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)  # the same body on every rank
    body = nn.Sequential(nn.Embedding(VOCABULARY, HIDDEN), nn.Linear(HIDDEN, HIDDEN))
    rows = Shards.even(VOCABULARY, dist.get_world_size()).rows(dist.get_rank())
    weight = nn.Parameter(torch.randn(len(rows), HIDDEN) * 0.02)
    weight.grad = torch.zeros_like(weight)
    head = HeadShard(weight, weight.grad, rows.start, barriers=2)
    optimizer = torch.optim.AdamW([*body.parameters(), weight], lr=1e-3)
    for step in range(5):
        ids = torch.randint(VOCABULARY, (TOKENS + 1,))
        x = body(ids[:-1])
        s = head.s(x.detach(), ids[1:])
        gathered = s.statistics.new_empty((dist.get_world_size(), *s.statistics.shape))
        dist.all_gather(list(gathered), s.statistics)
        seen = head.combine(s, gathered)  # the log-probability of every target, on every rank
        loss = weighted_cross_entropy(seen.lp, seen.lse, torch.full((TOKENS,), 1 / TOKENS))
        dx = head.t(s, loss)  # this rank's part of dX; dW is in weight.grad
        dist.all_reduce(dx)
        x.backward(dx)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        head.weights_changed()
        print(f"step {step}  loss {loss.value:.4f}")


if __name__ == "__main__":
    main()
