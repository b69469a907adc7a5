"""Lets a model go on with a text: a Hugging Face folder, or the newest checkpoint of a run, by transformers' own generation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from pinisi.base.errors import ConfigError, DataError, ModelError
from pinisi.data import load_tokenizer
from pinisi.data.document_bounds import beginning_id
from pinisi.models.folder import CONFIG
from pinisi.train.export import export
from pinisi.train.saved import CHECKPOINTS


def generate(
    source: str | Path, text: str, *, tokens: int = 64, temperature: float = 0.0, seed: int = 0
) -> str:
    """Returns what the model says after `text`: at most `tokens` tokens, fewer where it ends the text itself.

    source: a run's folder, or a Hugging Face folder with a tokenizer. temperature: 0 takes the likeliest token each time; above
    0, tokens are drawn by `seed` from the whole distribution. The text is taken as it stands: no chat template is applied. Raises
    ConfigError, DataError, ModelError or CheckpointError.
    """
    if tokens < 1 or not 0 <= temperature < float("inf"):
        raise ConfigError(
            f"got {tokens} tokens at temperature {temperature:g}: needed at least 1, and a temperature of at least 0"
        )
    with model_folder(Path(source)) as folder:
        tokenizer = load_tokenizer(folder)
        model = _load(folder)
    prompt = _prompt(tokenizer, text)
    _check_prompt(model.config, prompt, tokens)
    model.generation_config = _settings(model, tokenizer, tokens, temperature)
    given = torch.tensor([prompt], device=model.device)
    torch.manual_seed(seed)
    with torch.inference_mode():
        found = model.generate(given, attention_mask=torch.ones_like(given))[0].tolist()
    return _continuation(tokenizer, prompt, found)


@contextmanager
def model_folder(source: Path) -> Iterator[Path]:
    """Yields a folder that transformers reads: `source` itself, or, of a run, an export that goes again. Raises ModelError."""
    if (source / CONFIG).is_file():
        yield source
    elif (source / CHECKPOINTS).is_dir():
        with tempfile.TemporaryDirectory(prefix="pinisi-generate-") as room:
            yield export(source, Path(room) / "model", report=lambda _: None)
    else:
        raise ModelError(
            f"{source.absolute()} is neither a run (it has no {CHECKPOINTS}) nor a model's folder (it has no {CONFIG}): give "
            "run.folder of a run, or a folder that `pinisi export` wrote; a model on the hub has to be downloaded first"
        )


def _load(folder: Path) -> Any:
    """The model in its own dtype, on the first GPU if there is one."""
    transformers.utils.logging.disable_progress_bar()  # of loading, which takes a moment
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype="auto", trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"transformers can't load the model in {folder}: {error}") from None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.nn.Module.to(model, device).eval()


def _prompt(tokenizer: Any, text: str) -> list[int]:
    """The text's tokens behind the token that documents begin with, as `pinisi tokenize` puts it."""
    begin = beginning_id(tokenizer)
    ids = ([] if begin is None else [begin]) + tokenizer(text, add_special_tokens=False)["input_ids"]
    if ids:
        return ids
    start = next((id for id in (tokenizer.bos_token_id, tokenizer.eos_token_id) if id is not None), None)
    if start is None:
        raise DataError(
            "the text is empty, and the tokenizer has no token that begins one: give some words to go on from"
        )
    return [start]


def _check_prompt(config: Any, prompt: list[int], tokens: int) -> None:
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and len(prompt) + tokens > longest:
        raise DataError(
            f"the text has {len(prompt)} tokens, and {tokens} more don't fit into the {longest} positions that the model has: give "
            f"a shorter text, or fewer --tokens"
        )
    if max(prompt) >= config.vocab_size:
        raise DataError(
            f"the text has the token {max(prompt)}, the model {config.vocab_size} rows (vocab_size): its tokenizer isn't this one"
        )


def _settings(model: Any, tokenizer: Any, tokens: int, temperature: float) -> transformers.GenerationConfig:
    """How to generate. Of the model's generation_config.json only the special tokens count, each token that ends a text among
    them: penalties and cuts there would show another model than the one that was trained."""
    own = model.generation_config
    ends = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    first = ends[0] if isinstance(ends, list) and ends else ends
    drawn = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    return transformers.GenerationConfig(
        max_new_tokens=tokens,
        do_sample=temperature > 0,
        eos_token_id=ends,
        pad_token_id=own.pad_token_id if own.pad_token_id is not None else first,
        bos_token_id=own.bos_token_id,
        **drawn,
    )


def _continuation(tokenizer: Any, prompt: list[int], found: list[int]) -> str:
    """The text of the new tokens, decoded beside the old ones, since some tokenizers write a first word in another way; a letter
    that is there in part at the end is left out."""
    before = tokenizer.decode(prompt, skip_special_tokens=True)
    whole = tokenizer.decode(found, skip_special_tokens=True)
    if not whole.startswith(before):
        whole, before = tokenizer.decode(found[len(prompt) :], skip_special_tokens=True), ""
    return whole[len(before) :].rstrip("\ufffd")
