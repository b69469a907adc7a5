"""Gathers the files that go along with a merged model: the tokenizer of one model, the chat template of another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pinisi.base.errors import ModelError
from pinisi.data.tokenizer import settings_of
from pinisi.models.export import copy_companions
from pinisi.models.folder import GENERATION, TOKENIZER_FILES, json_object, matching, tokenizer_files
from pinisi.models.surgery.vocabulary import renumbered

TEMPLATES = tuple(each for each in TOKENIZER_FILES if "jinja" in each or "chat_template" in each)
ROLES = ("bos_token", "eos_token", "pad_token")


class HasFiles(Protocol):
    """Holds a model's folder, and id by token (None: it has no tokenizer)."""

    @property
    def folder(self) -> Path: ...
    @property
    def tokens(self) -> dict[str, int] | None: ...


def companions(frame: HasFiles, voice: HasFiles, files: Path, report: Callable[[str], None]) -> str | None:
    """Puts tokenizer, templates and licences of the merged model into a folder; returns the text of its generation_config.json.

    frame: whose vocabulary the result has. voice: whose chat template, special tokens and generation_config.json it has. Where both
    have the same tokens, all files are those of `voice`. Raises ModelError for a token of its generation_config.json that `frame`
    lacks.
    """
    path = voice.folder / GENERATION
    generation = path.read_text("utf-8") if path.is_file() else None
    same = frame.tokens == voice.tokens or voice.tokens is None or frame.tokens is None
    of = voice.folder if same and voice.tokens is not None else frame.folder
    copy_companions(of if tokenizer_files(of) else None, frame.folder, files)
    if same:
        return generation
    assert frame.tokens is not None and voice.tokens is not None
    _give_voice(frame, voice, files, report)
    if generation is None:
        return None
    spoken, taken = {id: token for token, id in voice.tokens.items()}, set(frame.tokens.values())

    def new_id(id: int) -> int:
        token = spoken.get(id)
        if (token is None and id in taken) or (token is not None and token not in frame_tokens):
            raise ModelError(
                f"{path} names {id}, the token {token!r}, which {frame.folder} lacks: give it that token, or leave it out."
            )
        return id if token is None else frame_tokens[token]

    frame_tokens = frame.tokens
    values = renumbered(json_object(generation, path), new_id)
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _give_voice(frame: HasFiles, voice: HasFiles, files: Path, report: Callable[[str], None]) -> None:
    """Puts the chat template of one model, and the tokens that end its texts, beside the tokenizer of the other."""
    assert frame.tokens is not None
    settings, spoken = settings_of(files), settings_of(voice.folder)
    given = matching(voice.folder, TEMPLATES)
    if given or spoken.get("chat_template"):
        for old in matching(files, TEMPLATES):
            old.unlink()
        settings.pop("chat_template", None)
    for each in given:
        name = each.relative_to(voice.folder)
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(each.read_bytes())
    if not given and spoken.get("chat_template"):
        settings["chat_template"] = spoken["chat_template"]
    for role in ROLES:
        token = _text(spoken.get(role))
        if token is None:
            continue
        if token not in frame.tokens:
            report(f"{role} of {voice.folder}, {token!r}, is no token of {frame.folder}: its own stays")
            continue
        settings[role] = token
    (files / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )
    if (files / "special_tokens_map.json").is_file():  # an older place of the same, which would win
        (files / "special_tokens_map.json").unlink()


def _text(token: Any) -> str | None:
    """A token as tokenizer_config.json has it: its text, or an object that holds it."""
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None
