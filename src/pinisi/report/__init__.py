"""Makes self-contained HTML pages: of a run, a curation, a tokenizer's costs, timelines. Imports `schedule` only.

Reading order: files (what a run left), marks and charts (SVG), sections (what the page says, as values), render and
templates/ (how it looks: every value is escaped there), page (the whole). Beside it: trace (timelines for Perfetto), explore
(a page of timelines to zoom), curation, fertility, picture (one timeline as an SVG file).
"""

from pinisi.report.files import RunFiles, read_run
from pinisi.report.page import write_report

__all__ = ["RunFiles", "read_run", "write_report"]
