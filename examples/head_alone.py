"""Trains a model of one's own with the LM head split by rows over all ranks, in a loop of one's own.

torchrun --nproc-per-node 2 examples/head_alone.py"""

import torch
import torch.distributed as dist

from pinisi.losses import weighted_cross_entropy
from pinisi.vocabulary import HeadShard, Shards


def main(vocabulary: int = 50_000, hidden: int = 64, tokens: int = 128) -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)  # the same body on every rank
    body = torch.nn.Sequential(torch.nn.Embedding(vocabulary, hidden), torch.nn.Linear(hidden, hidden))
    rows = Shards.even(vocabulary, dist.get_world_size()).rows(dist.get_rank())
    own = torch.Generator().manual_seed(1 + dist.get_rank())  # and other rows
    weight = torch.nn.Parameter(torch.randn(len(rows), hidden, generator=own) * 0.02)
    weight.grad = torch.zeros_like(weight)
    head = HeadShard(weight, weight.grad, rows.start, barriers=2)
    optimizer = torch.optim.AdamW([*body.parameters(), weight], lr=1e-3)
    for step in range(5):
        ids = torch.randint(vocabulary, (tokens + 1,))
        x = body(ids[:-1])
        s = head.s(x.detach(), ids[1:])
        gathered = s.statistics.new_empty((dist.get_world_size(), *s.statistics.shape))
        dist.all_gather(list(gathered), s.statistics)
        seen = head.combine(s, gathered)  # the log-probability of every target, on every rank
        loss = weighted_cross_entropy(seen.lp, seen.lse, torch.ones(tokens) / tokens)
        dx = head.t(s, loss)  # this rank's part of dX; dW is in weight.grad
        dist.all_reduce(dx)
        x.backward(dx)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        head.weights_changed()
        print(f"step {step}  loss {loss.value:.4f}")


if __name__ == "__main__":
    main()
