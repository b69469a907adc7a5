"""Says which tokens a document of a tokenizer's model begins and ends with."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError
from pinisi.data.tokenizer import settings_of

# The ends of a text, as base models are trained with them (tokenizers of Llama 3 and Granite; Qwen, GPT, Phi, OLMo; Gemma; Llama 2,
# Mistral, BLOOM; DeepSeek; Command; Hunyuan; Kimi).
TEXT_ENDS = (
    "<|end_of_text|>", "<|endoftext|>", "<eos>", "</s>", "<｜end▁of▁sentence｜>", "<|end▁of▁sentence|>", "<EOS_TOKEN>", "<|eos|>",
    "[EOS]",
)  # fmt: skip
# The ends of a turn in a chat, which instruct models name as their eos_token.
TURN_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|eom|>", "<end_of_turn>", "<turn|>", "<|return|>", "<|call|>",
    "<|END_OF_TURN_TOKEN|>", "<|user|>", "<|observation|>", "<|end_of_turn|>", "<|endofturn|>", "<|role_end|>",
)  # fmt: skip
BEGINNINGS = (
    "<bos>",
    "<s>",
    "<|begin_of_text|>",
    "<|startoftext|>",
    "<｜begin▁of▁sentence｜>",
    "<BOS_TOKEN>",
    "<|bos|>",
    "[BOS]",
)
SHOWN = 12  # candidates in an error


def beginning_id(tokenizer: Any, choice: str = "auto") -> int | None:
    """The token that each document begins with (BOS), or None.

    choice: "auto" takes what the tokenizer's post-processor puts before a text, or its bos_token where add_bos_token is true;
    "yes" its bos_token in any case; "no" none. Raises DataError for "yes" if the tokenizer has no such token.
    """
    if choice not in ("auto", "yes", "no"):
        raise DataError(f"bos is {choice!r}, needed auto, yes or no")
    if choice == "no":
        return None
    named = tokenizer.bos_token_id
    if choice == "auto":
        begins = {named, *_ids(tokenizer, BEGINNINGS)} - {None}
        put = next((id for id in _put_before(tokenizer) if id in begins), None)
        # transformers itself may lose the setting
        asked = put is None and settings_of(_folder(tokenizer)).get("add_bos_token") is True
        return named if asked else put
    if named is None:
        named = next(iter(_ids(tokenizer, BEGINNINGS)), None)
    if named is None:
        raise DataError(
            "the tokenizer names no token that begins a text (bos_token): leave --bos yes out, or give it one"
        )
    return int(named)


def _put_before(tokenizer: Any) -> list[int]:
    """What the post-processor puts before a text."""
    encoding = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True)
    marks = [*encoding.special_tokens_mask, 0]
    return encoding.ids[: marks.index(0)]


def end_of_document_id(tokenizer: Any) -> int:
    """The token that ends a text, not one that ends a chat's turn, as an instruct model's eos_token may (Qwen3: <|im_end|>).

    The eos_token if it is a known end of texts; else a known one among the special tokens; else the one of the model's
    generation_config.json that ends no turn; else the eos_token, unless that ends turns. Raises DataError with the candidates if
    none of that tells.
    """
    eos = tokenizer.eos_token
    special = _special(tokenizer)
    known = [name for name in TEXT_ENDS if name in special]
    if eos in TEXT_ENDS:
        return int(tokenizer.eos_token_id)
    if len(known) == 1:
        return special[known[0]]
    names = {id: name for name, id in special.items()}
    told = [id for id in _told(tokenizer) if id in names and not _ends_turns(names[id], tokenizer)]
    if not known and len(told) == 1:
        return told[0]
    if not known and eos is not None and not _ends_turns(eos, tokenizer):
        return int(tokenizer.eos_token_id)
    what = (
        "names no end-of-text token (eos_token)"
        if eos is None
        else f"ends turns of chats with its eos_token {eos}"
    )
    if len(known) > 1:
        what = "has several tokens that end a text"
    candidates = known or list(_candidates(special)) or list(special)
    listed = ", ".join(candidates[:SHOWN]) or "any token of it"
    raise DataError(
        f"the tokenizer {what}: pass the token that ends a document, a string or an id, with --end-of-document TOKEN; "
        f"candidates: {listed}"
    )


def token_id(tokenizer: Any, token: str | int) -> int:
    """The id of a token that is given as a number, or as a string of the vocabulary. Raises DataError if there is none."""
    if isinstance(token, int) or (token.isascii() and token.isdigit()):
        return int(token)
    try:
        return int(tokenizer.get_vocab()[token])
    except KeyError:
        raise DataError(
            f"the tokenizer has no token {token!r}; candidates: {', '.join(_candidates(_special(tokenizer))) or 'none'}"
        ) from None


def _ends_turns(name: str, tokenizer: Any) -> bool:
    """Whether a token is known to end turns, or a chat template writes it out."""
    template = getattr(tokenizer, "chat_template", None) or ""
    texts = [template] if isinstance(template, str) else list(map(str, template.values()))
    return name in TURN_ENDS or any(name in text for text in texts)


def _special(tokenizer: Any) -> dict[str, int]:
    """Special tokens by id; Gemma's </s> is a tag of HTML and not among them."""
    named = {tokenizer.eos_token, tokenizer.bos_token}
    added = sorted(tokenizer.added_tokens_decoder.items())
    return {token.content: int(id) for id, token in added if token.special or token.content in named}


def _ids(tokenizer: Any, names: Iterable[str]) -> list[int]:
    special = _special(tokenizer)
    return [special[name] for name in names if name in special]


def _candidates(special: Iterable[str]) -> Iterable[str]:
    return (
        name
        for name in special
        if any(word in name.lower() for word in ("end", "eos", "eot", "/s", "sep", "stop"))
    )


def _told(tokenizer: Any) -> list[int]:
    """eos_token_id of the generation_config.json beside the tokenizer, if there is one."""
    path = _folder(tokenizer) / "generation_config.json"
    try:
        found = json.loads(path.read_text("utf-8")).get("eos_token_id")
    except (OSError, ValueError, AttributeError):
        return []
    return [id for id in (found if isinstance(found, list) else [found]) if isinstance(id, int)]


def _folder(tokenizer: Any) -> Path:
    """Where it was read from."""
    return Path(str(tokenizer.name_or_path))
