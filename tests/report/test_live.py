"""The page of a run under way: whole at every moment, loaded again by itself until the run has ended."""

import json
import re
import threading
import time
from functools import partial
from pathlib import Path

from pinisi.base.lock import is_held, only_one
from pinisi.cli import main
from pinisi.launch.run import LOCK
from pinisi.report import write_report
from pinisi.report.files import read_run
from pinisi.report.live import NAME, follow, is_whole, kept_live, write_live

from .made_run import LANGUAGES, evaluation_line, make_run
from .test_report import parsed, part, table_rows, words


def cards(page: Path) -> dict[str, str]:
    found = [div for div in part(parsed(page), "headline").iter("div") if div.get("class") == "card"]
    return {words(card.find("span")): words(card) for card in found}


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


def test_a_page_is_kept_beside_a_run_until_the_run_has_ended(tmp_path: Path, capsys) -> None:
    run = make_run(tmp_path / "demo", steps=2)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    step = json.loads(next(line for line in reversed(lines) if '"losses"' in line))
    seen: list[tuple[str, list[str]]] = []

    def go_on() -> None:
        """A run that holds its lock, makes a step once a page shows the one before, and ends with its fifth."""
        with only_one(run, run / LOCK, "run.folder"):
            held.set()
            for number in range(step["step"] + 1, step["step"] + 4):
                wait_for(partial(shows_step, run / NAME, number - 1))
                seen.append((cards(run / NAME)["trained"], refresh(run / NAME)))
                lines.append(json.dumps(step | {"step": number}))
                (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")

    held = threading.Event()
    thread = threading.Thread(target=go_on)
    thread.start()
    assert held.wait(10)
    follow(run, 0.05, LOCK, print)
    thread.join()
    assert [trained.split(" steps")[0].split()[-1] for trained, _ in seen] == ["2", "3", "4"]
    assert [found for _, found in seen] == [["1"]] * 3
    assert "in 5 steps" in cards(run / NAME)["trained"] and refresh(run / NAME) == []
    assert "ended" in words(parsed(run / NAME).find(".//p[@id='live']"))
    said = capsys.readouterr().out.splitlines()
    assert said == [str(run / NAME), "the page is written for the last time"]


def shows_step(page: Path, step: int) -> bool:
    return page.is_file() and f"in {step} steps" in cards(page)["trained"]


def wait_for(true) -> None:
    last = time.monotonic() + 30
    while not true() and time.monotonic() < last:
        time.sleep(0.005)
    assert true()


def test_a_run_that_is_over_has_its_page_written_once(tmp_path: Path, capsys) -> None:
    run = make_run(tmp_path / "demo", steps=3)
    text = (run / "config.toml").read_text()
    assert is_whole(read_run(run)) and "steps = 3" in text
    assert main(["report", str(run), "--live"]) == 0
    assert refresh(run / NAME) == [] and "last time" in capsys.readouterr().out
    phases = "[[phases]]\nsteps = 2\n[[phases]]\nsteps = {}\n"
    for steps, whole in ((1, True), (2, False)):
        (run / "config.toml").write_text(text.replace("steps = 3\n", "") + phases.format(steps))
        assert is_whole(read_run(run)) == whole


def test_a_run_that_has_not_begun_is_waited_for_and_ctrl_c_ends_it(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    (tmp_path / "lock").touch()
    assert not is_held(tmp_path / "lock") and not is_held(tmp_path / "nowhere")
    monkeypatch.setattr("pinisi.report.live.time.sleep", pressed)
    assert main(["report", str(tmp_path), "--live"]) == 0
    assert "no run is at work there yet" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "nowhere"), "--live"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_no_seconds_are_no_page_and_a_folder_without_metrics_is_left_alone(tmp_path: Path) -> None:
    with kept_live(tmp_path, 0.0):
        pass
    with kept_live(tmp_path, 0.01):
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())
