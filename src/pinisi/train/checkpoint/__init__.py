"""Saves and reads checkpoints: safetensors and JSON under Hugging Face names, whole or not there, for any number of ranks.

    checkpoints/step-00000100/
        index.json              step, the sampler's state, the model's identity, the files' digests, and for each tensor its
                                shape and its pieces: a file, a key, and the box (offset and size of each dimension) of each
        rank-00000.safetensors  master weights (`name`), moments (`exp_avg/name`, `exp_avg_sq/name`) and, where the run keeps
                                one, the weights' moving average (`average/name`) of one rank

Any box of any tensor is read from whatever pieces there are, which is what makes the number of ranks, and later the axes that
shard a tensor, free at load time (torch's distributed checkpoint reads its metadata with pickle). Format 1, whose pieces are
rows, is read as well.
"""

from pinisi.train.checkpoint.index import AVERAGE, FORMAT, KINDS
from pinisi.train.checkpoint.reader import Reader
from pinisi.train.checkpoint.restore import mean_weights, restore, start_from, weights
from pinisi.train.checkpoint.retention import NewestWhole, latest, newest_whole, steps
from pinisi.train.checkpoint.writer import save

__all__ = [
    "AVERAGE",
    "FORMAT",
    "KINDS",
    "NewestWhole",
    "Reader",
    "latest",
    "mean_weights",
    "newest_whole",
    "restore",
    "save",
    "start_from",
    "steps",
    "weights",
]
