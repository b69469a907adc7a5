"""Keeps some items of a task to read: what was asked, what the model answered, what is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pinisi.evaluate.choices import ChoiceRecord
from pinisi.evaluate.examples import ChoiceItem, Item
from pinisi.evaluate.tasks import AskedTask

SHOWN = 24  # items of a task, evenly taken, so that several models keep the same
LONGEST = 1200  # characters of a question or an answer


def choice_examples(asked: AskedTask, records: Sequence[ChoiceRecord]) -> list[dict[str, Any]]:
    """Items whose answer is the most likely choice. score: 1 where it is right."""
    found = []
    for number in _places(len(records)):
        item, record = asked.items[number], records[number]
        assert isinstance(item, ChoiceItem)
        chosen = record.chosen["accuracy"]
        said = {"answer": item.choices[chosen], "right": item.choices[item.answer]}
        choices = [_short(choice) for choice in item.choices]
        found.append(
            {
                **_asked(asked, item),
                "choices": choices,
                **_all_short(said),
                "score": float(chosen == item.answer),
            }
        )
    return found


def open_examples(asked: AskedTask, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items whose answer was written. score: F1 of an answer; none of a translation, which a whole set has."""
    found = []
    for number in _places(len(records)):
        item, record = asked.items[number], records[number]
        said = {"answer": record["answer"], "right": " / ".join(record["references"])}
        found.append({**_asked(asked, item), "choices": [], **_all_short(said), "score": record.get("f1")})
    return found


def _places(count: int) -> Iterator[int]:
    kept = min(count, SHOWN)
    return (number * count // kept for number in range(kept))


def _asked(asked: AskedTask, item: Item) -> dict[str, Any]:
    return {"id": item.id, "question": _short(asked.prompt(item))}


def _all_short(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: _short(text) for name, text in texts.items()}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
