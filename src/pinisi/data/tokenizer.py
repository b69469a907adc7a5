"""Loads any fast Hugging Face tokenizer from a local folder, and checks it against the model's vocabulary."""

import json
from pathlib import Path
from typing import Any

from pinisi.base.errors import DataError


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer that a folder's tokenizer.json describes, with the names and templates of its tokenizer_config.json.

    The tokenizer_class named there is not asked: transformers 5 builds some classes (GPT2Tokenizer, LlamaTokenizer, ...) anew from
    the vocabulary alone, without the file's own normalizer and splitting, and a text would get other tokens than in pre-training.
    Raises DataError if the folder has no tokenizer.json, if it is broken, or needs code of its own.
    """
    folder = Path(folder)
    if not (folder / "tokenizer.json").is_file():
        raise DataError(
            f"no tokenizer in {folder}: tokenizer.json is missing; "
            "give a folder with tokenizer.json (and tokenizer_config.json)"
        )
    import transformers  # slow to import

    settings = settings_of(folder)
    if settings.get("auto_map") and not hasattr(transformers, str(settings.get("tokenizer_class"))):
        raise DataError(
            f"the tokenizer in {folder} needs code of its own (auto_map in tokenizer_config.json), which is never run; "
            'set its tokenizer_class to "PreTrainedTokenizerFast" there if tokenizer.json is all of it'
        )
    try:
        return transformers.PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception on a broken file
        raise DataError(f"the tokenizer in {folder} cannot be read ({error}); copy it again") from error


def settings_of(folder: Path) -> dict[str, Any]:
    """The tokenizer_config.json of a folder; empty if there is none. Raises DataError if it is broken."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); copy it again") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a {type(found).__name__}, needed one JSON object; copy it again")
    return found


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the highest token id: the rows that a model needs for every token to have one."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def check_vocabulary(tokenizer: Any, rows: int) -> None:
    """Raises DataError, with both numbers, if the tokenizer has ids that a model of `rows` rows lacks."""
    size = vocabulary_size(tokenizer)
    if size > rows:
        beyond = [token for token, id in tokenizer.get_vocab().items() if id >= rows][:3]
        raise DataError(
            f"the tokenizer has {size} tokens but the model's vocabulary has {rows} rows "
            f"(beyond it: {', '.join(map(repr, beyond))}); use the model's own tokenizer or resize the model"
        )
