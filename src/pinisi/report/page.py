"""The whole page: one HTML file that loads nothing from anywhere."""

from html import escape
from pathlib import Path

from pinisi.base.files import write_whole
from pinisi.report import sections
from pinisi.report.files import RunFiles, read_run
from pinisi.report.script import SCRIPT
from pinisi.report.style import STYLE
from pinisi.report.timelines import timelines

SECTIONS = (
    sections.headline,
    sections.loss,
    sections.languages,
    sections.held_out,
    sections.throughput,
    timelines,
    sections.memory,
    sections.comparison,
    sections.configuration,
)


def write_report(run_folder: str | Path, out: Path | None = None) -> Path:
    """Write the report of a run, by default to report.html in its folder; returns where it is.

    Works for a run that is under way, was killed or lacks files: the page says what is missing. Raises
    DataError if there is no such folder.
    """
    folder = Path(run_folder)
    return write_whole(out or folder / "report.html", page(read_run(folder)))


def page(run: RunFiles) -> str:
    """The page's HTML, which is also well-formed XML."""
    name = (run.config or {}).get("run", {}).get("name") or run.folder.resolve().name
    faults = [note for note in run.notes.values() if "missing" not in note]
    warnings = "".join(f'<p class="warning">{escape(note)}</p>' for note in faults)
    body = "".join(make(run) for make in SECTIONS)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(name)} · Pinisi</title><style>{STYLE}</style></head><body>"
        f"<header><p>Pinisi run report</p><h1>{escape(name)}</h1><p>{escape(describe(run))}</p></header>"
        f'<main>{warnings}{body}</main><div id="tip" hidden="hidden"></div>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def describe(run: RunFiles) -> str:
    """One line on what was trained, from the configuration."""
    config = run.config or {}
    model, data = config.get("model", {}), config.get("data", {})
    inline = model.get("config") or {}
    parts = [
        model.get("source") or inline.get("model_type"),
        f"{inline['num_hidden_layers']} layers" if "num_hidden_layers" in inline else None,
        f"hidden {inline['hidden_size']}" if "hidden_size" in inline else None,
        f"{inline['vocab_size']:,} vocabulary entries" if isinstance(inline.get("vocab_size"), int) else None,
        model.get("dtype"),
        f"sequences of {data['sequence']} tokens" if "sequence" in data else None,
        f"{len(run.languages())} languages" if run.languages() else None,
    ]
    return ", ".join(str(part) for part in parts if part)
