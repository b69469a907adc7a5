"""Makes the small project that identity.py runs: made-up text in three languages, a tokenizer, and configurations.

All comes from fixed seeds, so that two checkouts get the same bytes. Every path in it is relative to its folder.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# Frequent words, so that the rules of a language and its identification have something to decide.
WORDS = {
    "en": "the to a of in and is you for or that can be if are this with as on from not by when use will all one there",
    "id": "yang untuk dan di ini dalam dari tidak dengan atau pada ke dapat akan jika saat sebagai adalah sebuah semua ada",
    "th": "ที่ ไม่ ใช้ ใน ได้ นี้ จะ มี และ ให้ เป็น ของ การ หรือ จาก กับ คุณ ว่า แล้ว ต้อง อยู่ ทั้งหมด",
}
SYLLABLES = {
    "en": "ter ing ment con pre able shi har lo ver est und ma den ri",
    "id": "ka nya ber ter me lang kan su ra di pu lih mi ta ngan",
    "th": "กา ริ มา นุ สา ดี ลู ปี รา โท เก แม ชา วิ บุ",
}
END = "<|end|>"
TOKENS = 509  # of the tokenizer: a number that no number of ranks divides
ROWS = 515  # of the models: some rows without a token


def words_of(language: str, seed: int) -> Iterator[str]:
    """Draws frequent words and made-up ones, without end."""
    draw = random.Random(f"{language} {seed}")
    known, syllables = WORDS[language].split(), SYLLABLES[language].split()
    made = ["".join(draw.choice(syllables) for _ in range(draw.randint(2, 4))) for _ in range(400)]
    while True:
        yield draw.choice(known) if draw.random() < 0.65 else draw.choice(made)


def prose(language: str, seed: int, count: int) -> str:
    """Returns sentences of `count` words in all, some to a paragraph; Thai has no spaces between words."""
    draw, words = random.Random(seed), words_of(language, seed)
    space, stop = ("", " ") if language == "th" else (" ", ". ")
    text = ""
    while count > 0:
        length = min(count, draw.randint(5, 16))
        count -= length
        sentence = space.join(next(words) for _ in range(length))
        text += (
            sentence[:1].upper() + sentence[1:] + (stop if draw.random() < 0.8 else stop.rstrip() + "\n\n")
        )
    return text.strip()


def raw(language: str, seed: int) -> list[str]:
    """Returns documents that curation has to decide on: good ones and one for each kind of fault."""
    good = [prose(language, seed + n, 120 + 3 * n) for n in range(60)]
    other = "id" if language == "en" else "en"
    mojibake = "café – naïve".encode().decode("cp1252")
    footer = "This very line stands below every page of the place that it was taken from."
    return [
        *(f"{text}\n{footer}" if n % 3 == 0 else text for n, text in enumerate(good)),
        good[3],
        good[4] + " " + prose(language, seed + 900, 4),
        prose(language, seed + 901, 60) + "\n\n" + good[5][:400] + "\n\n" + prose(language, seed + 902, 60),
        prose(other, seed + 903, 150),
        prose(language, seed + 904, 3),
        prose(language, seed + 905, 8) * 40,
        "=== ### *** !!! " * 60,
        " ".join(f"{n}:{n * n}" for n in range(300)),
        f"<html><body><p>{prose(language, seed + 906, 150)}</p><script>let a = 1;</script></body></html>",
        f"{prose(language, seed + 907, 150)} {mojibake} &quot;{prose(language, seed + 908, 20)}&quot;\r\n",
        f"{prose(language, seed + 909, 150)} someone@example.org 8.8.4.4 +62 812-3456-7890 4111 1111 1111 1111",
        "",
    ]


def write_lines(path: Path, language: str, texts: list[str]) -> None:
    """Writes a text a line, each with an id and, some of them, with a URL that another one has too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for n, text in enumerate(texts):
            record = {
                "id": f"{language}-{n}",
                "text": text,
                "url": f"https://example.org/{language}/{n // 2}",
            }
            file.write(json.dumps(record if n % 4 else {"id": record["id"], "text": text}) + "\n")


def write_tokenizer(folder: Path, texts: list[str]) -> None:
    """Learns a byte-level BPE tokenizer and writes it as transformers reads it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


CURATION = """
[run]
folder = "curated"
estimate = false

[[sources]]
path = "text/raw/*.jsonl"

[[sources]]
path = "text/mixed/unknown.jsonl"
language = "auto"
name = "mixed"

[quality]
positives = {id = "text/held_out/id.jsonl"}

[rules]
outliers = 0.05

[alarm]
share = 1.0
"""


@dataclass(frozen=True)
class Setting:
    """A run of training. kernels: what computes the head, as PINISI_KERNELS names it. kill_at: the step after which the run is
    killed, and started again; 0: never."""

    kernels: str
    config: dict[str, object]
    kill_at: int = 0

    def toml(self, folder: str) -> str:
        keys = {"run.folder": folder, **SHARED, **self.config}
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


SHARED: dict[str, object] = {
    "data.shards": "shards/train",
    "data.sequence": 33,
    "model.tokenizer": "tokenizer",
    "model.config.vocab_size": ROWS,
    "model.config.hidden_size": 32,
    "model.config.intermediate_size": 72,
    "model.config.num_hidden_layers": 4,
    "model.config.num_attention_heads": 4,
    "model.config.num_key_value_heads": 2,
    "model.config.max_position_embeddings": 64,
    "schedule.ranks": 2,
    "optimizer.learning_rate": 3e-3,
    "optimizer.warmup": 2,
}
SETTINGS = {
    "1f1b, barriers 1, fp32, tied, killed": Setting(
        "native",
        {
            "run.steps": 8,
            "run.seed": 7,
            "model.config.model_type": "qwen2",
            "model.config.tie_word_embeddings": True,
            "data.microbatch": 2,
            "data.temperature": 0.5,
            "data.evaluation": "shards/held_out",
            "schedule.name": "1f1b",
            "schedule.barriers": 1,
            "schedule.microbatches": 5,
            "checkpoint.every": 2,
            "evaluation.every": 3,
            "evaluation.microbatches": 2,
        },
        kill_at=3,
    ),
    "zbv, barriers 2, bf16, recomputed": Setting(
        "native",
        {
            "run.steps": 6,
            "run.seed": 8,
            "model.dtype": "bfloat16",
            "model.config.model_type": "llama",
            "model.config.tie_word_embeddings": False,
            "model.config.attention_dropout": 0.1,
            "data.positions": "row",
            "data.mixture.en": 1.0,
            "data.mixture.id": 2.0,
            "data.mixture.th": 0.5,
            "schedule.name": "zbv",
            "schedule.barriers": 2,
            "schedule.microbatches": 4,
            "loss.z_loss": 1e-4,
            "memory.recompute": "full",
            "memory.head": "recompute",
            "optimizer.schedule": "wsd",
        },
    ),
    "interleaved, barriers 0, extra heads, two replicas": Setting(
        "torch",
        {
            "run.steps": 6,
            "run.seed": 9,
            "model.config.model_type": "gemma2",
            "model.config.head_dim": 8,
            "model.config.tie_word_embeddings": True,
            "data.microbatch": 2,
            "data.balance": True,
            "schedule.name": "interleaved-1f1b",
            "schedule.barriers": 0,
            "schedule.microbatches": 4,
            "schedule.replicas": 2,
            "loss.extra_heads": 2,
            "loss.label_smoothing": 0.1,
        },
    ),
}


def make(folder: Path) -> None:
    """Writes text/, tokenizer/ and curate.toml."""
    for number, language in enumerate(WORDS):
        seed = 10_000 * (number + 1)
        train = [prose(language, seed + n, 20 + n) for n in range(90)]
        write_lines(folder / "text/train" / f"{language}.jsonl", language, train)
        held_out = [prose(language, seed + 1000 + n, 60) for n in range(120)]
        write_lines(folder / "text/held_out" / f"{language}.jsonl", language, held_out)
        write_lines(folder / "text/raw" / f"{language}.jsonl", language, raw(language, seed + 2000))
    mixed = [prose(language, 77_000 + n, 150) for n in range(12) for language in WORDS]
    write_lines(folder / "text/mixed/unknown.jsonl", "unknown", mixed)
    write_tokenizer(folder / "tokenizer", [prose(name, n, 200) for name in WORDS for n in range(20)])
    (folder / "curate.toml").write_text(CURATION)
