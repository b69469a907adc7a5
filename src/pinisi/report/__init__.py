"""One self-contained HTML page from the files of a run's folder. Imports `schedule` only.

Reading order: files (what a run left), charts (SVG), sections (what the page says), page (the whole). Beside it: trace
(timelines for Perfetto), explore (a page of timelines to zoom). What reads timelines is imported when it is first used: a page
of a curation needs no schedules.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinisi.report.files import RunFiles, read_run
    from pinisi.report.page import write_report

_LATE = {"RunFiles": "files", "read_run": "files", "write_report": "page"}

__all__ = ["RunFiles", "read_run", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'pinisi.report' has no attribute '{name}'")
    return getattr(import_module(f"pinisi.report.{_LATE[name]}"), name)
