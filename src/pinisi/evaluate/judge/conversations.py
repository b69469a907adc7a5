"""Reads sets of conversations that a model is to answer, in WildBench's form and plainer ones, and what models answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.base.json_text import parse, read_utf8
from pinisi.evaluate.prompting import Generated, Message, OpenPrompt, without_reasoning

ROLES = ("system", "user", "assistant")
# Codes of languages as SEA-WildBench and FLORES have them, and ours.
CODES = {
    "tha": "th", "vie": "vi", "ind": "id", "tgl": "tl", "fil": "tl", "zsm": "ms", "msa": "ms", "khm": "km", "lao": "lo",
    "mya": "my", "zho": "zh", "eng": "en", "jav": "jv", "sun": "su",
}  # fmt: skip


class Conversation(NamedTuple):
    """Holds turns that end with a user's, to be answered.

    checklist: what a good answer does. harmful: of a safety set, whether it is to be refused; None where nobody says.
    """

    id: str
    language: str
    messages: tuple[Message, ...]
    checklist: tuple[str, ...] = ()
    category: str = ""
    harmful: bool | None = None

    @property
    def prompt(self) -> OpenPrompt:
        return OpenPrompt(messages=self.messages)


def read_conversations(file: str | Path) -> list[Conversation]:
    """Reads JSON lines: conversation_input (WildBench) or messages, turns of role and content; or prompt, a text.

    Also read: session_id or id, language, checklist, primary_tag or category, and for safety harmful (true or false) or label
    (harmful, harmless). Raises DataError that names file and line.
    """
    path = Path(file)
    found = [_conversation(record, where, number) for number, (where, record) in enumerate(_lines(path))]
    if not found:
        raise DataError(f"{path} holds no conversation")
    _unique(path, [each.id for each in found])
    return found


def _conversation(record: Mapping[str, Any], where: str, number: int) -> Conversation:
    turns = record.get("conversation_input", record.get("messages"))
    if turns is None and isinstance(record.get("prompt"), str):
        turns = [{"role": "user", "content": record["prompt"]}]
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise DataError(f"{where}: needed conversation_input or messages, a list of turns, or prompt, a text")
    messages = tuple(_turn(turn, where) for turn in turns)
    if messages[-1]["role"] != "user":
        raise DataError(
            f"{where}: the last turn is of the role {messages[-1]['role']!r}, needed user: it is answered"
        )
    checklist = record.get("checklist") or ()
    if isinstance(checklist, str) or not all(isinstance(each, str) for each in checklist):
        raise DataError(f"{where}: checklist is no list of texts")
    return Conversation(
        str(record.get("session_id", record.get("id", number))),
        _language(str(record.get("language", ""))),
        messages,
        tuple(checklist),
        str(record.get("primary_tag", record.get("category", ""))),
        _harmful(record, where),
    )


def _turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping) or turn.get("role") not in ROLES:
        raise DataError(f"{where}: a turn has no role of {', '.join(ROLES)}: {str(turn)[:80]}")
    content = turn.get("content")
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{where}: a turn of the role {turn['role']} has no text")
    return {"role": turn["role"], "content": content}


def _harmful(record: Mapping[str, Any], where: str) -> bool | None:
    value = record.get("harmful", record.get("label"))
    if value is None or isinstance(value, bool):
        return value
    words = {"harmful": True, "unsafe": True, "harmless": False, "safe": False}
    if str(value).lower() in words:
        return words[str(value).lower()]
    raise DataError(f"{where}: label is {value!r}, needed harmful or harmless")


def _language(name: str) -> str:
    """A language's code, also of names such as tha_Thai."""
    short = name.partition("_")[0].lower()
    return CODES.get(short, short)


def read_answers(file: str | Path) -> dict[str, str]:
    """Reads {id: answer} from JSON lines, or a JSON list, of session_id or id and output, a text or a list of one.

    Raises DataError that names file and line.
    """
    path = Path(file)
    found: list[tuple[str, str]] = []
    for where, record in _records(path):
        name = record.get("session_id", record.get("id"))
        output = record.get("output")
        output = output[0] if isinstance(output, list) and output else output
        if name is None or not isinstance(output, str):
            raise DataError(f"{where}: no answer: needed id (or session_id) and output, a text")
        found.append((str(name), output))
    _unique(path, [name for name, _ in found])
    return dict(found)


def write_answers(
    file: str | Path, conversations: Sequence[Conversation], answers: Sequence[Generated], generator: str
) -> None:
    """Writes answers in the form that `read_answers` reads, and WildBench."""
    from json import dumps

    records = [
        {
            "session_id": asked.id,
            "language": asked.language,
            "output": [answer.text],
            "ended": answer.ended,
            "generator": generator,
        }
        for asked, answer in zip(conversations, answers, strict=True)
    ]
    write_whole(file, "".join(dumps(record, ensure_ascii=False) + "\n" for record in records))


def answers_of(
    conversations: Sequence[Conversation], answers: Mapping[str, str], file: str | Path
) -> list[str]:
    """Each conversation's answer, without its reasoning. Raises DataError that names those without an answer."""
    if missing := [asked.id for asked in conversations if asked.id not in answers]:
        raise DataError(
            f"{file} has no answer to {len(missing)} of {len(conversations)} conversations, such as {missing[0]!r}: let the model "
            "answer all of the set"
        )
    return [without_reasoning(answers[asked.id]) for asked in conversations]


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix != ".json":
        yield from _lines(path)
        return
    try:
        value = parse(read_utf8(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, list) or not all(isinstance(record, Mapping) for record in value):
        raise DataError(f"{path}: needed a list of objects")
    yield from ((f"{path}, item {number}", record) for number, record in enumerate(value, 1))


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(read_utf8(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = parse(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({error})") from None
        if not isinstance(record, Mapping):
            raise DataError(f"{where}: a JSON {type(record).__name__}, needed an object")
        yield where, record


def _unique(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path} has the id {name!r} twice: each is told apart by it")
        seen.add(name)
