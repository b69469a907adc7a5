"""The page of a run under way: whole at every moment, loaded again by itself until the run has ended."""

import json
import re
import threading
import time
from pathlib import Path

from pinisi.report import write_report
from pinisi.report.live import NAME, kept_live, write_live

from .made_run import LANGUAGES, evaluation_line, make_run
from .test_report import parsed, part, table_rows, words


def refresh(page: Path) -> list[str]:
    return [
        node.get("content", "") for node in parsed(page).iter("meta") if node.get("http-equiv") == "refresh"
    ]


def test_it_says_when_it_was_written_and_is_loaded_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "demo")
    page = write_live(run, 30.0)
    assert page == run / "live.html" and refresh(page) == ["30"]
    told = words(parsed(page).find(".//p[@id='live']"))
    assert re.fullmatch(r"written \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, and anew every 30 s", told)
    assert refresh(write_live(run, 30.0, ended=True)) == []
    report = parsed(write_report(run))
    assert not [node for node in report.iter("meta") if node.get("http-equiv")]
    assert report.find(".//p[@id='live']") is None


def test_what_is_forgotten_stands_on_top_and_in_the_table(tmp_path: Path) -> None:
    page = parsed(write_live(make_run(tmp_path / "demo"), 30.0))
    standing = evaluation_line(150)["standing"]
    warned = [words(node) for node in page.findall(".//p[@class='alarm']")]
    assert warned == [f"Step 150: being forgotten: ceb {100 * standing['ceb']['worse']:+.1f} %."]
    rows = {row[0]: row[1:] for row in table_rows(part(page, "forgetting"))}
    assert sorted(rows) == LANGUAGES
    assert rows["ceb"] == ["forgotten", "+2.52 %", "0.40 %", "6.3", "0"]
    assert "went back to step 80" in words(part(page, "forgetting"))
    seen = {row[0]: row[1:] for row in table_rows(part(page, "components"))}
    assert seen["ban"][0] == f"{997 * 150:,}" and seen["ceb"][2] == "1.50"


def test_a_reader_never_sees_half_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "demo", steps=30)
    (run / NAME).unlink(missing_ok=True)
    seen: set[bytes] = set()
    end = threading.Event()

    def read() -> None:
        while not end.is_set():
            if (run / NAME).is_file():
                seen.add((run / NAME).read_bytes()[-9:])

    reader = threading.Thread(target=read)
    reader.start()
    with kept_live(run, 0.01):
        last = time.monotonic() + 10
        while not (run / NAME).is_file() and time.monotonic() < last:
            time.sleep(0.005)
        lines = (run / "metrics.jsonl").read_text().splitlines()
        step = json.loads(lines[-1]) | {"step": 31}
        (run / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(step)]) + "\n")
    end.set()
    reader.join()
    assert seen == {b"></html>\n"}
    assert "ended" in words(parsed(run / NAME).find(".//p[@id='live']"))


def test_no_seconds_are_no_page_and_a_folder_without_metrics_is_left_alone(tmp_path: Path) -> None:
    with kept_live(tmp_path, 0.0):
        pass
    with kept_live(tmp_path, 0.01):
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())
