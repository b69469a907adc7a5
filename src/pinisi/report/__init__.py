"""One self-contained HTML page from the files of a run's folder. Imports `schedule` only.

Reading order: files (what a run left), charts (SVG), sections (what the page says), page (the whole). Beside it: trace
(timelines for Perfetto), explore (a page of timelines to zoom).
"""

from pinisi.report.files import RunFiles, read_run
from pinisi.report.page import write_report

__all__ = ["RunFiles", "read_run", "write_report"]
