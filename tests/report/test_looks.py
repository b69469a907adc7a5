"""Every kind of page as wide as a phone, a tablet and a desk: nothing overlaps, is too small to read or cut without a sign."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pinisi.report import write_report
from pinisi.report.curation import write_curation_report
from pinisi.report.evaluation import write_evaluation
from pinisi.report.explore import write_explorer
from pinisi.report.fertility import write_fertility
from pinisi.report.live import write_live
from pinisi.report.vocabulary_advice import write_advice

from . import browser
from .made_advice import made_advice
from .made_curation import made_table
from .made_evaluation import made_comparison, made_results
from .made_run import make_run
from .test_explore import some
from .test_fertility import COSTS, made

WIDTHS = (390, 768, 1300)
MEASURE = Path(__file__).with_name("measure.js").read_text("utf-8")


def run_page(folder: Path) -> Path:
    return write_report(make_run(folder / "demo", ranks=8, microbatches=11))


def live_page(folder: Path) -> Path:
    return write_live(make_run(folder / "demo", ranks=3, microbatches=5), 30.0)


def small_run_page(folder: Path) -> Path:
    run = make_run(folder / "demo", ranks=2, microbatches=3, steps=20)
    for name in ("memory.json", "comparison.json"):
        (run / name).unlink()
    (run / "config.toml").write_text("a line that is no TOML " * 20)
    return write_report(run)


def curation_page(folder: Path) -> Path:
    return write_curation_report(made_table(), folder / "curation.html", title="web-2026")


def fertility_page(folder: Path) -> Path:
    return write_fertility(made(COSTS), folder / "fertility.html")


def explorer_page(folder: Path) -> Path:
    return write_explorer(folder / "explore.html", "Ways to run it", some(), memory_limit=7e7)


def evaluation_page(folder: Path) -> Path:
    results = made_results()
    note = "xcopa-th isn't compared: two models were given other files or other items of them."
    return write_evaluation(
        results,
        folder / "evaluation.html",
        comparison=made_comparison(results),
        left_out=[note],
        languages={"th": "Thai"},
    )


def advice_page(folder: Path) -> Path:
    return write_advice(made_advice(), folder / "advice.html")


PAGES = [
    run_page,
    live_page,
    small_run_page,
    curation_page,
    fertility_page,
    explorer_page,
    evaluation_page,
    advice_page,
]


@pytest.mark.parametrize("make", PAGES, ids=lambda make: make.__name__)
def test_a_page_can_be_read_at_every_width(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    if browser.find() is None:
        pytest.skip("no Chromium on this machine")
    found = browser.at_widths(make(tmp_path), MEASURE + "return faultsOf(win);", WIDTHS)
    for width, seen in found.items():
        assert abs(seen["width"] - width) <= 20 and seen["texts"] > 10  # a scroll bar's width
        assert not seen["faults"], f"{width} px: {seen['faults'][:20]}"
