"""Writes the page of a selection of chats: what was kept, and why each other was dropped, with file and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pinisi.report.render import render

SHOWN = 40  # chats of a reason that stand on the page; dropped.jsonl has all


def selection_page(result: Mapping[str, Any], dropped: Sequence[Mapping[str, Any]]) -> str:
    """Returns the page's HTML, which is also well-formed XML.

    result: {"options", "read", "kept", "groups": [{"language", "category", "read", "kept", "quota", "dropped": {reason: count},
    "perplexity", "reward": {"all", "kept"}}]}.
    dropped: of each {"file", "line", "language", "category", "reason", "detail", "text"}.
    """
    reasons = Counter(each["reason"] for each in dropped)
    options = result["options"]
    by = [f"perplexity under {options['model']}"] if options["model"] else []
    by += [f"reward of {options['reward']}"] if options["reward"] else []
    return render(
        "selection.html",
        title="Selected chats",
        lead=f"{result['kept']:,} of {result['read']:,} chats of {options['chats']}",
        cards=list(_cards(result, reasons)),
        by=by,
        options=options,
        groups=list(_groups(result["groups"], options)),
        scored=[
            name for name in ("perplexity", "reward") if options["model" if name == "perplexity" else name]
        ],
        reasons=[(reason, f"{count:,}") for reason, count in reasons.most_common()],
        examples=[
            (reason, count, list(_examples(reason, dropped))) for reason, count in reasons.most_common()
        ],
        shown=SHOWN,
    )


def _cards(result: Mapping[str, Any], reasons: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    share = result["kept"] / result["read"] if result["read"] else 0.0
    yield "kept", f"{result['kept']:,}", f"of {result['read']:,} chats, {share:.1%}"
    full, alike = (reasons.get(name, 0) for name in ("no place left", "like one that is kept"))
    yield "no place left", f"{full:,}", "behind better ones of their group"
    yield "alike", f"{alike:,}", "like one that is kept"
    rest = sum(reasons.values()) - full - alike
    yield "not fit", f"{rest:,}", "form, language, length, evaluation texts"


def _groups(groups: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Iterator[list[str]]:
    for each in groups:
        row = [each["language"] or "–", each["category"] or "–", f"{each['read']:,}", f"{each['kept']:,}"]
        row.append("–" if each["quota"] is None else f"{each['quota']:,}")
        for name, option in (("perplexity", "model"), ("reward", "reward")):
            if options[option]:
                row += [_number(each[name]["all"]), _number(each[name]["kept"])]
        yield row


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}"


def _examples(reason: str, dropped: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    found = [each for each in dropped if each["reason"] == reason]
    for each in found[:SHOWN]:
        yield [f"{each['file']}:{each['line']}", each["language"] or "–", each["detail"] or "–", each["text"]]
