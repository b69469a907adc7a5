"""Small tokenizers with the chat templates of known ones, and chats."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from tests.data.made_tokenizers import made, write

HERE = Path(__file__).parent
# as Qwen3's (Apache-2.0), which leaves earlier think blocks out
QWEN3 = (HERE / "qwen3.jinja").read_text("utf-8")
# one that alternates, trims and calls the assistant model, as Gemma 3's does
GEMMA = """{{ bos_token }}
{%- for message in messages -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
{%- endif -%}
{%- set role = 'model' if message.role == 'assistant' else message.role -%}
{{ '<start_of_turn>' + role + '\n' + message.content | trim + '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"""
# headers of control tokens and a trimmed text, as Llama 3's
LLAMA = """{% for message in messages %}{% set content = '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n'
+ message.content | trim + '<|eot_id|>' %}{% if loop.first %}{% set content = bos_token + content %}{% endif %}{{ content }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
# no header before an answer, and a space before its text, as Mistral's
MISTRAL = """{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}
{{- '[INST] ' + message.content + ' [/INST]' }}{% else %}{{ ' ' + message.content + eos_token }}{% endif %}{% endfor %}"""
# words alone, no control token behind an answer
PLAIN = """{% for message in messages %}{{ '### ' + message.role + ':\n' + message.content + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}"""
# marks what the model writes, without the control token behind it
MARKED = """{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% if message.role == 'assistant' %}
{%- generation %}{{ message.content }}{% endgeneration %}{% else %}{{ message.content }}{% endif %}{{ '<|im_end|>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
# transformers#47325: an answer that begins at token 0
BARE = """{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}
{%- endif %}{% endfor %}"""
TEMPLATES = {
    "qwen3": ("qwen", QWEN3),
    "gemma": ("gemma", GEMMA),
    "llama": ("llama", LLAMA.replace("\n+", "+")),
    "mistral": ("gemma", MISTRAL),
    "plain": ("qwen", PLAIN),
    "marked": ("qwen", MARKED),
    "bare": ("qwen", BARE),
}


def tokenizer(folder: Path, kind: str) -> Path:
    base, template = TEMPLATES[kind]
    if kind == "llama":
        return write(folder, _with_headers(folder), chat_template=template, **LLAMA_TOKENS)
    return made(folder, base, chat_template=template, **({"eos_token": "<eos>"} if base == "gemma" else {}))


LLAMA_TOKENS = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def _with_headers(folder: Path) -> Tokenizer:
    backend = Tokenizer.from_file(str(made(folder, "llama") / "tokenizer.json"))
    backend.add_special_tokens([AddedToken("<|end_header_id|>", special=True, normalized=False)])
    return backend


def gemma3_ids(folder: Path) -> Path:
    """A tokenizer of words that have the ids which Gemma 3's gives them, for TRAPS' example of ids."""
    ids = {"<eos>": 1, "<bos>": 2, "user": 2364, "\n": 107, "hi": 2202, "model": 4368, "yo": 9671, "<unk>": 3}
    ids |= {"<start_of_turn>": 105, "<end_of_turn>": 106}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    names = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return write(
        folder, backend, bos_token="<bos>", eos_token="<eos>", chat_template=GEMMA, add_bos_token=True
    )


def user(text: object) -> dict:
    return {"role": "user", "content": text}


def assistant(text: object, **more: object) -> dict:
    return {"role": "assistant", "content": text, **more}


def chat(*turns: dict, **more: object) -> dict:
    return {"messages": list(turns), **more}


def hi() -> dict:
    return chat(user("hi"), assistant("yo"))


CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def write_chats(file: Path, records: list) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in records]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(line + "\n" for line in lines), "utf-8")
    return file
