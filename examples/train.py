"""Trains a small model on two ranks of this machine, then writes it as a Hugging Face folder.

python examples/train.py SHARDS TOKENIZER OUT    # SHARDS: made by `pinisi tokenize`
"""

import sys

from pinisi import configure, run

MODEL = {
    "model_type": "qwen2",
    "vocab_size": 151936,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def main(shards: str, tokenizer: str, out: str) -> None:
    config = configure(
        run={"folder": f"{out}/run", "steps": 20},
        model={"config": MODEL, "tokenizer": tokenizer},
        data={"shards": shards, "sequence": 64},
        pipeline={"ranks": 2, "microbatches": 4},
        optimizer={"learning_rate": 1e-3, "warmup": 2},
    )
    result = run(config)  # the same call resumes a run that was stopped
    print(result.export(f"{out}/model"))


if __name__ == "__main__":
    main(*sys.argv[1:])
