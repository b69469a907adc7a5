"""Writes the page of a run: one HTML file that loads nothing from anywhere."""

from collections.abc import Callable
from pathlib import Path

from pinisi.base.files import write_whole
from pinisi.report import sections
from pinisi.report.files import RunFiles, read_run
from pinisi.report.headline import headline
from pinisi.report.render import render
from pinisi.report.timelines import timelines

SECTIONS: dict[str, Callable[[RunFiles], sections.View]] = {
    "headline": headline,
    "loss": sections.loss,
    "languages": sections.languages,
    "held_out": sections.held_out,
    "throughput": sections.throughput,
    "timelines": timelines,
    "memory": sections.memory,
    "comparison": sections.comparison,
    "configuration": sections.configuration,
}


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
    views = {section: {"missing": "", **make(run)} for section, make in SECTIONS.items()}
    return render("run.html", title=name, lead=describe(run), faults=faults, **views)


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
