"""Small tokenizers that are built as known ones are: what stands in their texts, before them and behind them."""

import json
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from .conftest import TEXTS, write_tokenizer

# special tokens, other added tokens, and tokenizer_config.json of each kind
LLAMA = (
    [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|start_header_id|>",
        "<|eot_id|>",
    ],
    [],
    {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
)
QWEN = (
    ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|repo_name|>", "<think>", "</think>", "§tool§"],
    {"eos_token": "<|im_end|>", "add_bos_token": False, "chat_template": "{{ '<|im_start|>§tool§' }}"},
)
GEMMA = (
    ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
    [
        "<mask>",
        "[multimodal]",
        "<unused0>",
        "<table>",
        "</table>",
        "<s>",
        "</s>",
        "\n\n",
        "\n\n\n",
        "▁▁",
        "\t\t",
    ],
    {"bos_token": "<bos>", "eos_token": "<end_of_turn>", "unk_token": "<unk>"},
)
KINDS = {"llama": LLAMA, "qwen": QWEN, "gemma": GEMMA}
TEXT_TOKENS = ("<table>", "</table>", "<s>", "</s>", "\n\n", "\n\n\n", "▁▁", "\t\t")  # no control tokens
ENDS = {"llama": "<|end_of_text|>", "qwen": "<|endoftext|>", "gemma": "<eos>"}
BEGINS = {"llama": "<|begin_of_text|>", "qwen": None, "gemma": "<bos>"}


def made(folder: Path, kind: str, **config: object) -> Path:
    """A tokenizer of that kind in a folder; config: what is otherwise in tokenizer_config.json."""
    special, others, settings = KINDS[kind]
    tokenizer = _pieces(special + others) if kind == "gemma" else _bytes(folder)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in others])
    if begin := BEGINS[kind]:
        put = processors.TemplateProcessing(
            single=f"{begin} $A",
            pair=f"{begin} $A {begin} $B",
            special_tokens=[(begin, tokenizer.token_to_id(begin))],
        )
        tokenizer.post_processor = put
    return write(folder, tokenizer, **{**settings, **config})


def write(folder: Path, tokenizer: Tokenizer, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _bytes(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(write_tokenizer(folder) / "tokenizer.json"))


def _pieces(added: list[str]) -> Tokenizer:
    """▁ for spaces, single bytes for unknown characters; added tokens have pieces too, and no merge leads to them."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    names = [name for name in added if name not in TEXT_TOKENS] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, special_tokens=names)
    tokenizer.train_from_iterator([text for of in TEXTS.values() for text in of], trainer)
    plain = json.loads(tokenizer.to_str())
    plain["added_tokens"] = []  # bytes are none
    return Tokenizer.from_str(json.dumps(plain))


def unigram(folder: Path) -> Path:
    """Control symbols are among the pieces, and the cheapest of all: the model itself would find them."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((letter, -9.0) for letter in "<>/▁abcdeisunk")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return write(folder, tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def looked_up_whole(folder: Path) -> Path:
    """Words that are in the vocabulary are taken whole, without merges (ignore_merges)."""
    plain = json.loads((write_tokenizer(folder) / "tokenizer.json").read_text())
    plain["model"]["ignore_merges"] = True
    plain["model"]["vocab"]["<|end|>"] = 0
    plain["pre_tokenizer"]["use_regex"] = False  # so that the whole text is a word
    return write(folder, Tokenizer.from_str(json.dumps(plain)), eos_token="<|end|>")
