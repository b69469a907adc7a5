"""Says which rank holds which rows of the vocabulary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from pinisi.base.errors import ConfigError, DataError


@dataclass(frozen=True)
class Shards:
    """Rank r holds rows offsets[r] to offsets[r + 1]. V need not divide by p; a shard may be empty."""

    offsets: tuple[int, ...]

    def __post_init__(self) -> None:
        offsets = self.offsets
        if len(offsets) < 2 or offsets[0] != 0 or any(b < a for a, b in pairwise(offsets)):
            raise ConfigError(
                f"Row offsets of the vocabulary must be p + 1 numbers that start at 0 and never fall, "
                f"got {list(offsets)}; make them with Shards.even or Shards.weighted."
            )

    @classmethod
    def even(cls, vocabulary: int, ranks: int) -> "Shards":
        """Shards whose sizes differ by one row at most, the larger ones first."""
        return cls.weighted(vocabulary, [1.0] * ranks)

    @classmethod
    def weighted(cls, vocabulary: int, weights: Sequence[float]) -> "Shards":
        """Sizes in proportion to `weights`, whole by the method of the largest remainder."""
        total = float(sum(weights))
        if vocabulary < 1 or not 0 < total < float("inf") or min(weights) < 0:
            raise ConfigError(
                f"Cannot split {vocabulary} vocabulary rows by the weights {list(weights)}: needed at least "
                "one row, and weights that are 0 or more with a sum above 0."
            )
        shares = [vocabulary * (weight / total) for weight in weights]
        sizes = [int(share) for share in shares]
        by_remainder = sorted(range(len(shares)), key=lambda rank: (sizes[rank] - shares[rank], rank))
        for rank in by_remainder[: vocabulary - sum(sizes)]:
            sizes[rank] += 1
        return cls.from_list(accumulate(sizes, initial=0))

    @classmethod
    def balanced(cls, vocabulary: int, layers_per_rank: Sequence[float], head_layers: float) -> "Shards":
        """Sizes that even out ranks with unequal layers: V_r = V((L + w)/p - n_r)/w, none below 0.

        `layers_per_rank`: n_r. `head_layers`: w, the cost of the undivided head, in layers.
        """
        if not head_layers > 0:
            raise ConfigError(
                f"The head's cost must be above 0 layers, got {head_layers}; measure or count it."
            )
        busy = (sum(layers_per_rank) + head_layers) / len(layers_per_rank)
        return cls.weighted(vocabulary, [max(0.0, busy - layers) for layers in layers_per_rank])

    @classmethod
    def from_list(cls, offsets: Iterable[int]) -> "Shards":
        return cls(tuple(int(offset) for offset in offsets))

    def to_list(self) -> list[int]:
        return list(self.offsets)

    @property
    def ranks(self) -> int:
        return len(self.offsets) - 1

    @property
    def vocabulary(self) -> int:
        return self.offsets[-1]

    def rows(self, rank: int) -> range:
        return range(self.offsets[rank], self.offsets[rank + 1])

    def size(self, rank: int) -> int:
        return len(self.rows(rank))

    def owner(self, ids: Tensor) -> Tensor:
        """The rank that holds each id, in the shape of `ids`. DataError if one is outside the vocabulary."""
        self.check(ids)
        bounds = torch.tensor(self.offsets[1:], dtype=torch.long, device=ids.device)
        return torch.bucketize(ids, bounds, right=True)

    def check(self, ids: Tensor, *, ignore_index: int | None = None) -> None:
        """DataError if an id is outside the vocabulary (and not `ignore_index`). Reads `ids` on the host."""
        wrong = (ids < 0) | (ids >= self.vocabulary)
        if ignore_index is not None:
            wrong &= ids != ignore_index
        if not bool(wrong.any()):
            return
        place = wrong.nonzero()[0].tolist()
        found = int(ids[tuple(place)])
        where = place[0] if len(place) == 1 else tuple(place)
        raise DataError(
            f"Token id {found} at position {where} is outside the vocabulary of {self.vocabulary} rows "
            f"(needed 0 to {self.vocabulary - 1}); tokenize with this model's own tokenizer, or expand the "
            "vocabulary first."
        )
