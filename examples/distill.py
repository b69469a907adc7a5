"""Trains a small model to imitate a larger one with the same vocabulary, on two ranks.

python examples/distill.py TEACHER SHARDS OUT    # TEACHER: a Hugging Face folder; SHARDS: made with its tokenizer
"""

import json
import sys
from pathlib import Path

from pinisi import configure, run


def main(teacher: str, shards: str, out: str) -> None:
    student = json.loads((Path(teacher) / "config.json").read_text())
    student["num_hidden_layers"] //= 2
    student.pop("layer_types", None)
    config = configure(
        run={"folder": f"{out}/run", "steps": 20},
        model={"config": student, "tokenizer": teacher},
        data={"shards": shards, "sequence": 64},
        pipeline={"ranks": 2, "microbatches": 4},
        optimizer={"learning_rate": 1e-3},
        task={"name": "distill", "teacher": teacher, "share": 0.5},
    )
    print(run(config).export(f"{out}/model"))


if __name__ == "__main__":
    main(*sys.argv[1:])
