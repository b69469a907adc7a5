"""Writes the page of a run: one HTML file that loads nothing from anywhere."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pinisi.base.files import write_whole
from pinisi.report import sections, watching
from pinisi.report.files import RunFiles, read_run
from pinisi.report.headline import headline
from pinisi.report.preference import preference
from pinisi.report.render import render
from pinisi.report.run_tasks import run_tasks
from pinisi.report.timelines import timelines

# A section's name in run.html: its title, and what makes its values.
SECTIONS: dict[str, tuple[str, Callable[[RunFiles], sections.View]]] = {
    "headline": ("In short", headline),
    "loss": ("Loss", sections.loss),
    "languages": ("Loss by language", sections.languages),
    "preference": ("Pairs of answers", preference),
    "held_out": ("Held-out text, before and after", sections.held_out),
    "tasks": ("Tasks", run_tasks),
    "forgetting": ("Kept and forgotten", watching.forgetting),
    "components": ("What was seen", watching.components),
    "throughput": ("Throughput", sections.throughput),
    "gradients": ("Gradients", watching.gradients),
    "timelines": ("One step on every rank", timelines),
    "memory": ("Memory", sections.memory),
    "comparison": ("Side by side", sections.comparison),
    "configuration": ("Configuration", sections.configuration),
}
# That many runs lack: a demo or a bench writes the first one's file, evaluation.tasks asks for the second, and runs of before tell
# nothing of the others.
OPTIONAL = {"comparison", "preference", "tasks", "forgetting", "components", "gradients"}


def write_report(run_folder: str | Path, out: Path | None = None) -> Path:
    """Write the report of a run, by default to report.html in its folder; returns where it is.

    Works for a run that is under way, was killed or lacks files: the page says what is missing. Raises
    DataError if there is no such folder.
    """
    folder = Path(run_folder)
    return write_whole(out or folder / "report.html", page(read_run(folder)))


def page(run: RunFiles, live: Mapping[str, Any] | None = None) -> str:
    """The page's HTML, which is also well-formed XML. live: of a run under way, see `live`."""
    name = (run.config or {}).get("run", {}).get("name") or run.folder.resolve().name
    faults = [note for note in run.notes.values() if "missing" not in note]
    views = {
        section: {"title": title, "missing": "", **make(run)} for section, (title, make) in SECTIONS.items()
    }
    values: dict[str, Any] = {"title": name, "lead": describe(run), "faults": faults, "live": live}
    return render("run.html", **values, alarms=watching.alarms(run), lacking=lacking(views), **views)


def lacking(views: Mapping[str, sections.View]) -> dict[str, list[str]]:
    """Why sections are not shown: reason -> their titles."""
    reasons: dict[str, list[str]] = {}
    for section, view in views.items():
        if view["missing"] and section not in OPTIONAL:
            reasons.setdefault(view["missing"], []).append(view["title"])
    return reasons


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
