"""Reports on a vocabulary: what it costs each language, what text leaves unused, and which rows never learned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinisi.cookbook.vocabulary import texts_of
from pinisi.data.fertility import fertility
from pinisi.data.vocabulary.usage import Usage, usage
from pinisi.models import read_spec
from pinisi.models.folder import CONFIG
from pinisi.models.surgery.norms import row_norms
from pinisi.models.surgery.vocabulary import stored_weights

NAMED = 20  # tokens that are named in a printed list


def vocabulary_report(
    folder: str | Path, text: str | Path, *, reference: str = "en", tokenizer: str | Path | None = None
) -> dict[str, Any]:
    """Everything that is known of a vocabulary, as plain data for JSON.

    folder: a model's, or a tokenizer's alone. text: a folder of <language>.jsonl files. reference: the language that costs are
    relative to; any that the text has. "fertility" is what `fertility` gives for the one tokenizer, named "vocabulary"; "languages"
    has for each: distinct, own (tokens that no other language uses), fallen (share of bytes in characters written as parts);
    "unused" and "untrained" are lists of ids; "rows" is None without a model.
    """
    names = str(tokenizer or folder)
    found = usage(names, texts_of(text))
    costs = fertility(text, {"vocabulary": names}, reference=reference, report=lambda line: None)
    result: dict[str, Any] = {
        "tokens": len(found.names),
        "fertility": costs,
        "languages": {
            language: {
                "distinct": len(counts),
                "own": found.own(language),
                "fallen": found.fallen[language] / found.sizes[language] if found.sizes[language] else None,
            }
            for language, counts in found.counts.items()
        },
        "unused": found.unused(),
        "rows": None,
    }
    if (Path(folder) / CONFIG).is_file():
        result["rows"] = _rows(folder, found)
    return result


def _rows(folder: str | Path, found: Usage) -> dict[str, Any]:
    spec = read_spec(folder)
    norms = row_norms(spec, stored_weights(spec), found.names.keys())
    total = found.total
    return {
        "rows": spec.vocabulary,
        "without_token": sum(id not in found.names for id in range(spec.vocabulary)),
        "without_row": [id for id in found.names if id >= spec.vocabulary],
        "limit": norms.limit,
        "reference_rows": norms.reference,
        "untrained": norms.untrained,
        "untrained_in_text": {str(id): total[id] for id in norms.untrained if total[id]},
        "names": {str(id): found.names[id] for id in norms.untrained},
    }


def report_lines(result: Mapping[str, Any]) -> list[str]:
    """The report as text, a line a fact."""
    costs = result["fertility"]
    lines = []
    for language, found in costs["languages"].items():
        figures, more = found["tokenizers"]["vocabulary"], result["languages"][language]
        cost = (
            f", {figures['cost']:.2f} x {costs['reference']} ({figures['basis']})" if figures["cost"] else ""
        )
        rate = figures["tokens_per_byte"]
        lines.append(
            f"{language}: {'-' if rate is None else f'{rate:.3f}'} tokens a byte{cost}; {more['distinct']:,} tokens used, "
            f"{more['own']:,} by it alone; {more['fallen'] or 0:.1%} of bytes in characters without a piece"
        )
    lines.append(f"unused: {len(result['unused']):,} of {result['tokens']:,} tokens")
    if rows := result["rows"]:
        why = (
            f"as the {rows['reference_rows']:,} rows without a token"
            if rows["reference_rows"]
            else "far below all others"
        )
        lines.append(
            f"rows: {rows['rows']:,}, {rows['without_token']:,} without a token; {len(rows['untrained']):,} tokens hardly trained "
            f"(norm at most {rows['limit']:.3g}, {why}), {len(rows['untrained_in_text']):,} of them in this text"
        )
        if rows["untrained"]:
            shown = ", ".join(repr(rows["names"][str(id)]) for id in rows["untrained"][:NAMED])
            lines.append(f"hardly trained: {shown}{', ...' if len(rows['untrained']) > NAMED else ''}")
        if rows["without_row"]:
            lines.append(
                f"tokens that the model has no row for: {', '.join(map(str, rows['without_row'][:NAMED]))}"
            )
    return lines
