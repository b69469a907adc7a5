"""Whole curations of made-up languages with packs of their own: what is planted is found, nothing else is lost, and the result
is the same however the work was cut, interrupted and spread."""

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.settings import load
from pinisi.curate import records, stages
from pinisi.curate.config import CurateConfig
from pinisi.curate.fit import with_limits
from pinisi.curate.run import curate
from pinisi.curate.stages import near
from pinisi.data.documents import Document, write_documents
from pinisi.recipe import cluster as datatroves
from tests.curate import slurm
from tests.curate.texts import Language
from tests.data.reading.crawl import response
from tests.effort import only_full

CODES = ("xa", "xb", "xk")
DOCUMENTS = 60


@pytest.fixture(scope="module")
def packs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packs")
    for code in CODES:
        with_limits(code, Language(code, seed=1).documents(120)).save(folder / code)
    return folder


def planted() -> list[Document]:
    """Clean documents of three languages and junk; an id says what it is."""
    draw, found = random.Random(7), []
    for code in CODES:
        of = Language(code)
        clean = of.documents(DOCUMENTS, "clean")
        found += clean
        for n, source in enumerate(clean[:8]):
            lines = source.text.split("\n")
            found.append(Document(f"near/{code}/{n}", "\n".join([*lines[:-1], lines[-1][:-3]]), code))
        found.append(Document(f"url/{code}/0", of.text(2), code, clean[10].url + "#part"))
        passage = of.text(3)
        for n in range(2):
            found.append(Document(f"passage/{code}/{n}", f"{of.text(3)}\n{passage}\n{of.text(3)}", code))
        notice = "menu " + " ".join(of.sentence() for _ in range(4))[:60]
        for n in range(8):
            found.append(
                Document(f"line/{code}/{n}", f"{of.text()}\n{of.words[3].capitalize()} {notice}", code)
            )
        found.append(Document(f"refrain/{code}/0", (of.sentence() + " ") * 40, code))
        found += [Document(f"copy/{code}/{n}", clean[11].text, code) for n in range(3)]
        found.append(Document(f"short/{code}/0", of.words[0], code))
        found.append(Document(f"numbers/{code}/0", "12 345 | 6,789 » " * 60, code))
        found.append(
            Document(f"html/{code}/0", f"<div><p>{of.text()}</p><script>x<y</script></div>\x00", code)
        )
        other = CODES[(CODES.index(code) + 1) % 3]
        found.append(Document(f"foreign/{code}/0", Language(other, seed=5).text(), code))
    draw.shuffle(found)
    return found


def raw(folder: Path, documents: list[Document], files: int = 3) -> Path:
    for n in range(files):
        write_documents(folder / f"part-{n}.jsonl", documents[n::files])
    return folder


def config(folder: Path, source: Path, packs: Path, more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "curate.toml"
    path.write_text(
        f'languages = ["xa", "xb", "xk"]\npacks = ["{packs}"]\n[run]\nfolder = "{folder}/out"\nworkers = 1\n{more}\n'
        f'[[sources]]\npath = "{source}"\n'
    )
    return path


def run(path: Path, *overrides: str) -> Path:
    curate(path, overrides, report=lambda line: None)
    return path.parent / "out"


def kept(out: Path) -> dict[str, Document]:
    files = sorted((out / "documents").iterdir())
    return {document.id: document for path in files for document in records.read_documents(path)}


def dropped(out: Path) -> dict[str, dict]:
    return {record["id"]: record for record in records.read(out / "dropped" / "all.jsonl.zst")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, packs) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return run(config(folder, raw(folder / "raw", planted()), packs))


def test_every_document_is_kept_or_has_a_rule(whole):
    stays, gone = kept(whole), dropped(whole)
    assert not stays.keys() & gone.keys()
    assert stays.keys() | gone.keys() == {document.id for document in planted()}
    for record in gone.values():
        assert record["rule"] and record["stage"] in ("read", "near", "finish") and "value" in record


def test_the_page_explains_every_rule_that_took_something(whole):
    table, shown = (
        json.loads((whole / "report.json").read_text("utf-8")),
        (whole / "report.html").read_text("utf-8"),
    )
    of = table["languages"].values()
    taken = {rule.partition("/")[2] for each in of for rule in each["drops"]}
    taken |= {what for each in of for what in each["removed"]}
    assert {"words", "near duplicate", "frequent lines"} <= taken <= table["rules"].keys()
    for rule in table["rules"].values():
        assert (
            escape(rule["about"], quote=False) in shown.replace("&#39;", "'")
            and escape(rule["limit"]) in shown
        )
    assert table["rules"]["words"]["limit"] == "at least 5; xk: 10"


def test_what_is_planted_is_found_and_nothing_else(whole):
    stays, gone, found = kept(whole), dropped(whole), 0
    assert (
        sum(id.startswith("clean/") for id in gone) <= 9 * 3 + 3
    )  # a near duplicate may stay in its original's place
    for code in CODES:
        assert gone[f"short/{code}/0"]["rule"] == "words"
        assert gone[f"refrain/{code}/0"]["rule"].endswith("repetition")
        same = {f"clean/{code}/11", *(f"copy/{code}/{n}" for n in range(3))}
        assert len(same & stays.keys()) == 1 and all(gone[id]["value"] == 1.0 for id in same & gone.keys())
        assert f"numbers/{code}/0" in gone and f"foreign/{code}/0" in gone
        for n in range(8):
            pair = {f"near/{code}/{n}", f"clean/{code}/{n}"}
            losses = [gone[id] for id in pair if id in gone]
            assert len(losses) >= 1, pair
            if len(losses) == 1:
                found += (
                    losses[0]["rule"] == "near duplicate"
                    and losses[0]["of"] in pair
                    and losses[0]["value"] > 0.7
                )
        assert (
            gone[f"url/{code}/0"]["rule"] == "same URL" and gone[f"url/{code}/0"]["of"] == f"clean/{code}/10"
        )
        assert "<" not in stays[f"html/{code}/0"].text and "\x00" not in stays[f"html/{code}/0"].text
        assert stays[f"html/{code}/0"].metadata["lineage"][0].startswith("mended: markup")
        for n in range(8):
            assert "menu" not in stays[f"line/{code}/{n}"].text
    assert found >= 22  # of 24: rules that are fitted lose a document in a hundred


def test_a_passage_stays_where_it_came_first_and_documents_stay_one(whole):
    stays = kept(whole)
    before = {document.id: document for document in planted()}
    for code in CODES:
        pair = [f"passage/{code}/{n}" for n in range(2)]
        cut = [id for id in pair if "lineage" in stays[id].metadata]
        assert len(cut) == 1
        (other,) = set(pair) - set(cut)
        assert stays[other].text == before[other].text
        assert len(stays[cut[0]].text) < len(before[cut[0]].text) - 100


@only_full
def test_what_is_long_enough_to_be_cut_is_a_setting(packs, tmp_path):
    source = raw(tmp_path / "raw", planted())
    for name, overrides, cut in (
        ("none", ["exact.characters=90000", "lines.letters=90000"], set()),
        ("passages", ["lines.letters=90000"], {"repeated passages,"}),
        ("lines", ["exact.characters=90000", "lines.letters=10"], {"frequent lines,"}),
        ("share", ["exact.characters=90000", "lines.share=0.9"], set()),
    ):
        out = run(config(tmp_path / name, source, packs), *overrides)
        said = [note for document in kept(out).values() for note in document.metadata.get("lineage", [])]
        assert {note.split(" ", 2)[2].rsplit(" ", 2)[0] for note in said if note.startswith("cut:")} == cut


def test_what_a_cut_leaves_as_a_stump_is_dropped_with_its_reason(packs, tmp_path):
    of = Language("xa")
    # each long one repeats most of another: what stays is two sentences, enough for the rules
    passages = [of.text(12) for _ in range(3)]
    pairs = [
        Document(f"{half}/{n}", f"{passage}\n{of.text(1) if half == 'small' else of.text(14)}", "xa")
        for n, passage in enumerate(passages)
        for half in ("small", "large")
    ]
    others = of.documents(20, "other")
    source = raw(tmp_path / "raw", [*pairs, *others], files=1)
    out = run(config(tmp_path, source, packs), "near.on=false")
    gone, stays = dropped(out), kept(out)
    stumps = [id for id, record in gone.items() if record["rule"] == "stump"]
    assert all(id.startswith("small/") and gone[id]["stage"] == "finish" for id in stumps)
    assert all(0 < gone[id]["value"] < 0.2 for id in stumps)
    for n in range(3):
        pair = [f"small/{n}", f"large/{n}"]
        cut = [id for id in pair if id in stumps or "lineage" in stays[id].metadata]
        assert len(cut) == 1, pair
    assert stumps


def test_ids_urls_sources_and_places_are_never_lost(whole):
    before = {document.id: document for document in planted()}
    for id, document in kept(whole).items():
        assert (document.url, document.language) == (before[id].url, before[id].language)
        assert document.source and document.metadata["input"].startswith("raw/part-")
    for id, record in dropped(whole).items():
        assert record["url"] == before[id].url and record["input"].startswith("raw/part-")


def test_clean_text_is_not_touched(whole):
    before = {document.id: document for document in planted()}
    for id, document in kept(whole).items():
        if id.startswith("clean/"):
            assert document.text == before[id].text, id


def contents(out: Path) -> dict[str, bytes]:
    names = ("documents", "dropped", "report.json", "report.html")
    files = [
        path
        for name in names
        for path in ([out / name] if (out / name).is_file() else sorted((out / name).iterdir()))
    ]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_four_workers_make_the_same_bytes(whole, packs, tmp_path):
    shutil.copytree(whole.parent / "raw", tmp_path / "raw", copy_function=shutil.copy2)
    out = run(config(tmp_path, tmp_path / "raw", packs), "run.workers=4")
    assert contents(out) == contents(whole)


@only_full
def test_signatures_beyond_the_budget_are_compared_on_disk(packs, tmp_path, monkeypatch):
    source, mapped = raw(tmp_path / "raw", planted()), []
    signatures_of = near.signatures_of
    monkeypatch.setattr(near, "signatures_of", lambda *a: mapped.append(found := signatures_of(*a)) or found)
    found = []
    for budget, pieces in (("1 GiB", 1), ("90 KiB", 3)):
        mapped.clear()
        settings = (
            f"run.folder={tmp_path}/{budget[0]}",
            f"run.budget={budget}",
            "exact.on=false",
            "lines.on=false",
        )
        curate(config(tmp_path, source, packs), settings, report=lambda line: None)
        found.append(kept(tmp_path / budget[0]))
        assert [each.pieces for each in mapped] == [pieces] * 3
    assert found[0] == found[1]


@only_full
def test_datatroves_executor_makes_the_same_bytes(whole, packs, tmp_path):
    pytest.importorskip("datatrove")
    out = run(config(tmp_path, whole.parent / "raw", packs), "run.workers=2", "run.executor=local")
    assert contents(out) == contents(whole)


SLURM = "run.executor=slurm", "run.workers=2", "run.slurm={partition='test', time='1:00:00'}"


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    pytest.importorskip("datatrove")
    for name, value in slurm.install(tmp_path / "cluster").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(datatroves, "POLL", 0.2)
    monkeypatch.setattr(datatroves, "VISIBLE", 1.0)
    return tmp_path / "cluster"


@only_full
def test_slurms_jobs_make_the_same_bytes(whole, packs, tmp_path, cluster):
    out = run(config(tmp_path, whole.parent / "raw", packs), *SLURM)
    assert contents(out) == contents(whole)
    assert len([*cluster.glob("jobs/*.done")]) >= 3  # an array for each stage


def test_slurms_jobs_that_fail_are_noticed(whole, packs, tmp_path, cluster):
    (cluster / "bin" / "srun").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(DataError, match=r"3 of 3 tasks failed.*logs/read"):
        run(config(tmp_path, whole.parent / "raw", packs), *SLURM)


def test_an_interrupt_cancels_slurms_jobs(whole, packs, tmp_path, cluster, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(datatroves.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(config(tmp_path, whole.parent / "raw", packs), *SLURM)
    assert (cluster / "jobs" / "1.done").exists()  # long before its tasks could have ended
    assert not [*(tmp_path / "out" / "work").glob("read-*/0*")]


def test_a_job_that_slurm_forgot_has_ended_and_a_queue_that_does_not_answer_tells_nothing(cluster):
    assert datatroves._has_ended("7")
    (cluster / "bin" / "squeue").write_text(
        "#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n"
    )
    assert not datatroves._has_ended("7")


def test_slurms_memory_follows_the_budget_unless_given(packs, tmp_path, cluster):
    path = config(tmp_path, tmp_path, packs)
    own = "run.slurm={partition='test', time='1:00:00', mem_per_cpu_gb=3}"
    for more, wanted in (([], 4), (["run.budget=6.5 GiB"], 8), ([own], 3)):
        settings = load(path, [*SLURM, *more], into=CurateConfig).run.tasks
        found = datatroves.slurm_arguments(datatroves.ClusterJob(settings, None, "curate", "run"))
        assert found["mem_per_cpu_gb"] == wanted and found["partition"] == "test"


def test_without_slurm_nothing_is_begun(whole, packs, tmp_path, monkeypatch):
    pytest.importorskip("datatrove")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"login node"):
        run(config(tmp_path, whole.parent / "raw", packs), *SLURM)
    with pytest.raises(ConfigError, match=r"needs run\.slurm"):
        run(config(tmp_path, whole.parent / "raw", packs), "run.executor=slurm")


def test_the_order_of_the_input_does_not_matter(whole, packs, tmp_path):
    documents = planted()
    random.Random(1).shuffle(documents)
    out = run(config(tmp_path, raw(tmp_path / "raw", documents, files=2), packs))
    here, there = kept(out), kept(whole)
    assert {id: document.text for id, document in here.items()} == {
        id: document.text for id, document in there.items()
    }
    of = {id: record.get("of") for id, record in dropped(whole).items()}
    assert {id: record.get("of") for id, record in dropped(out).items()} == of


@pytest.mark.parametrize("at", [*(pytest.param(at, marks=only_full) for at in (0, 2)), 5])
def test_killed_anywhere_and_run_again(whole, packs, tmp_path, at):
    """Killed once so many tasks are done; what is half written then is done again."""
    path = config(tmp_path, whole.parent / "raw", packs)
    process = subprocess.Popen(
        [sys.executable, "-m", "pinisi", "curate", str(path)], stdout=subprocess.DEVNULL
    )
    work, end = tmp_path / "out" / "work", time.monotonic() + 300
    while (
        len(list(work.glob("*/[!.]*/stats.json"))) < at and process.poll() is None and time.monotonic() < end
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert contents(run(path)) == contents(whole)
    assert not list(work.glob("*/.*"))  # nothing of what was begun is left


def test_killed_it_leaves_no_worker_behind(packs, tmp_path):
    source = raw(tmp_path / "raw", [*Language("xa").documents(3000)])
    path = config(tmp_path, source, packs)
    command = [sys.executable, "-m", "pinisi", "curate", str(path), "run.workers=2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    children, end = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.monotonic() + 300
    while len(begun := list((tmp_path / "out" / "work").glob("read-*/.*"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    workers = [int(pid) for pid in children.read_text().split()]
    with pytest.raises(DataError, match="another run is at work in"):
        run(path)
    process.kill()
    process.wait()
    assert len(begun) == 2 and len(workers) >= 2
    while (
        alive := [pid for pid in workers if Path(f"/proc/{pid}/cmdline").exists()]
    ) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive
    with (tmp_path / "out" / "work" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_another_configuration_does_anew_what_depends_on_it(packs, tmp_path):
    source = raw(tmp_path / "raw", Language("xa").documents(12), files=1)
    path, said = config(tmp_path, source, packs), []

    def resumed(*overrides: str) -> list[str]:
        said.clear()
        curate(path, overrides, report=said.append)
        return [line.split(":")[0] for line in said if "1 done before" in line]

    assert resumed() == []
    assert resumed() == ["read", "score", "near", "finish"]
    assert resumed("lines.most=9") == ["read", "score", "near"] and said[0].startswith(
        "finish and what follows is done anew"
    )
    assert resumed("near.similarity=0.9") == ["read", "score"]
    assert resumed("rules.outliers=0.02", "near.similarity=0.9") == ["read"]
    assert resumed("run.workers=2", 'alarm.ignore=["xa"]', "near.similarity=0.9") == ["read"]
    (tmp_path / "flagged").write_text("bad\n")
    assert resumed(f'rules.flagged={{xa="{tmp_path}/flagged"}}') == []
    (tmp_path / "flagged").write_text("worse\n")
    assert resumed(f'rules.flagged={{xa="{tmp_path}/flagged"}}') == []
    write_documents(source / "part-0.jsonl", Language("xa", seed=3).documents(12))
    assert resumed(f'rules.flagged={{xa="{tmp_path}/flagged"}}') == []
    assert len(list((tmp_path / "out" / "work").glob("*-*"))) == 4


def test_the_alarm_stops_the_run_and_names_the_rule(packs, tmp_path):
    wrong = [
        Document(f"x{n}", document.text, "xb") for n, document in enumerate(Language("xa").documents(80))
    ]
    path = config(tmp_path, raw(tmp_path / "raw", wrong), packs)
    with pytest.raises(
        DataError, match=r"alarm: '\w+' removes \d+% of 80 documents in xb .*alarm\.ignore = \['xb\.\w+'\]"
    ):
        run(path)
    assert not (tmp_path / "out" / "documents").exists()
    run(path, 'alarm.ignore=["xb"]')


def test_the_alarm_hears_rules_that_take_a_third_together(packs, tmp_path):
    """No rule takes more than a quarter, all of them do: it was silent."""
    documents = Language("xa").documents(60)
    for n in range(10):
        documents[n] = replace(documents[n], text="Ka")
        documents[10 + n] = replace(documents[10 + n], text=f"{n} 345 | 6,789 » " * 60)
    path = config(tmp_path, raw(tmp_path / "raw", documents), packs)
    with pytest.raises(
        DataError, match=r"alarm: all rules together remove 33% of 60 documents in xa .* \['xa'\]"
    ):
        run(path)
    assert len(kept(run(path, 'alarm.ignore=["xa"]'))) == 40


def test_the_alarm_hears_languages_without_a_pack(packs, tmp_path):
    """The files' names are no languages, and nobody said which one it is."""
    documents = [replace(document, language="") for document in Language("xa").documents(60)]
    path = config(tmp_path, raw(tmp_path / "raw", documents, files=2), packs)
    with pytest.raises(
        DataError, match=r"'no pack' removes 100% .* 'auto' or another one \(they say part-0, part-1\)"
    ):
        run(path)


def test_a_source_in_a_language_without_a_pack_is_named_before_any_work(packs, tmp_path):
    path = config(tmp_path, raw(tmp_path / "raw", Language("xa").documents(12)), packs)
    path.write_text(path.read_text() + 'language = "xz"\n')
    with pytest.raises(DataError, match="no language pack for 'xz'"):
        run(path)
    assert not (tmp_path / "out").exists()


def test_documents_have_bits_and_their_place_in_the_corpus(whole):
    for code in CODES:
        of = [document.metadata for document in kept(whole).values() if document.language == code]
        head, tail = ([m["bits"] for m in of if m["bucket"] == name] for name in ("head", "tail"))
        assert len(head) > len(of) / 10 and len(tail) > len(of) / 10 and max(head) < min(tail)


def test_trouble_is_kept_apart_or_stops_the_run(packs, tmp_path):
    source = raw(tmp_path / "raw", Language("xa").documents(12), files=1)
    (source / "part-9.jsonl").write_bytes(b'\xff\n{"text": 5}\n')
    path = config(tmp_path, source, packs)
    with pytest.raises(DataError, match=r"part-9\.jsonl:1: byte 0 of the line is not UTF-8"):
        run(path, "run.on_error=stop")
    out = run(path)
    assert len(list(records.read(out / "dropped" / "unreadable.jsonl.zst"))) == 2
    assert len(kept(out)) == 12
    with pytest.raises(DataError, match=r"part-9\.jsonl:1: byte 0 .* goes on with the rest"):
        run(path, "run.on_error=stop")  # though all is done


def test_pictures_in_an_archive_are_counted_and_no_reason_to_stop(packs, tmp_path):
    text = Language("xa", seed=5).text(12)
    source = raw(tmp_path / "raw", Language("xa").documents(12), files=1)
    pages = [
        response(f"<html><body><p>{text}</p></body></html>".encode(), "Content-Type: text/html"),
        *[response(b"picture", "Content-Type: image/png")] * 2,
    ]
    (source / "xa.warc").write_bytes(b"".join(pages))
    out = run(config(tmp_path, source, packs), "run.on_error=stop")
    told = [each["error"] for each in records.read(out / "dropped" / "unreadable.jsonl.zst")]
    assert len(kept(out)) == 13
    assert [each.partition("xa.warc:")[2] for each in told] == [
        f"{number} (https://example.org/): image/png is no text" for number in (2, 3)
    ]
    first = (out / "report.json").read_text()
    assert sum(json.loads(first)["errors"].values()) == 2
    for choice in ("skip", "stop"):  # whichever came first: pictures stop neither, and both tell of them
        run(config(tmp_path, source, packs), f"run.on_error={choice}")
        assert (out / "report.json").read_text() == first
    run(config(tmp_path / "other", source, packs), "run.on_error=skip")
    run(config(tmp_path / "other", source, packs), "run.on_error=stop")


def test_a_duplicate_names_a_document_that_stays(packs, tmp_path):
    """One is like a second, of which a third with its URL is longer: the first stays, since nothing else has its text."""
    of = Language("xa", seed=4)
    second = Document("second", of.text(12), "xa", "https://example.org/page")
    first = Document("first", second.text[:-30], "xa", "https://example.org/other")
    third = Document("third", of.text(30), "xa", "https://example.org/page")
    out = run(config(tmp_path, raw(tmp_path / "raw", [first, second, third, *of.documents(20)]), packs))
    gone = dropped(out)
    assert (gone["second"]["rule"], gone["second"]["of"]) == ("same URL", "third")
    assert {"first", "third"} <= kept(out).keys()


APART = "exact.on=false", "lines.on=false", 'languages=["xa"]'  # without what else the budget cuts


def decided(out: Path) -> tuple:
    """All that is kept, dropped and reported; files apart, since bytes of zstd tell where one was cut."""
    gone = list(records.read(out / "dropped" / "all.jsonl.zst"))
    return (
        {id: vars(document) for id, document in kept(out).items()},
        gone,
        (out / "report.json").read_bytes(),
    )


@pytest.fixture(scope="module")
def apart(tmp_path_factory, whole, packs) -> Path:
    return run(config(tmp_path_factory.mktemp("apart"), whole.parent / "raw", packs), *APART)


@pytest.mark.parametrize(
    ("budget", "workers"),
    [
        pytest.param("30 KiB", 1, marks=only_full),
        pytest.param("9 KiB", 4, marks=only_full),
        pytest.param("3 KiB", 1, marks=only_full),
    ],
)
def test_a_language_too_large_for_a_task_is_compared_in_many(apart, whole, packs, tmp_path, budget, workers):
    path, said = config(tmp_path, whole.parent / "raw", packs), []
    overrides = *APART, f"run.budget={budget}", f"run.workers={workers}"
    curate(path, overrides, report=said.append)
    assert decided(tmp_path / "out") == decided(apart)
    tasks = {line.split(":")[0]: int(line.split()[1]) for line in said if " tasks in " in line}
    assert "near" not in tasks and tasks["buckets"] >= 36 and tasks["merge"] == tasks["mark"] == 1
    assert not [*(tmp_path / "out" / "work").glob("buckets-*")]  # nor anything else that is of no more use
    said.clear()
    curate(path, overrides, report=said.append)
    assert all("done before" in line for line in said if " tasks in " in line)
    assert decided(tmp_path / "out") == decided(apart)


@pytest.mark.parametrize(
    "stage",
    [
        *(pytest.param(stage, marks=only_full) for stage in ("bands", "buckets", "merge", "settle", "mark")),
        "pairs",
        "tell",
    ],
)
def test_stopped_at_any_stage_of_a_large_language_it_goes_on(
    apart, whole, packs, tmp_path, monkeypatch, stage
):
    path, overrides = config(tmp_path, whole.parent / "raw", packs), (*APART, "run.budget=30 KiB")
    function, left = stages._STAGES[stage], [2 if stage in ("bands", "buckets") else 0]

    def stops(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        function(*arguments)

    monkeypatch.setitem(stages._STAGES, stage, stops)
    with pytest.raises(KeyboardInterrupt):
        run(path, *overrides)
    monkeypatch.undo()
    assert decided(run(path, *overrides)) == decided(apart)


def test_a_million_bad_lines_are_counted_and_few_are_told(packs, tmp_path):
    source = raw(tmp_path / "raw", Language("xa").documents(12), files=1)
    (source / "part-9.jsonl").write_text("{\n" * 3000)
    out = run(config(tmp_path, source, packs))
    errors = json.loads((out / "report.json").read_text("utf-8"))["errors"]
    assert sum(errors.values()) == 3000 and len(errors) == 101


def test_a_language_without_pack_and_an_empty_one(packs, tmp_path):
    source = raw(tmp_path / "raw", Language("xa").documents(12), files=1)
    path = config(tmp_path, source, packs)
    write_documents(source / "part-5.jsonl", [Document("z", "some text", "<b>xz")])
    assert len(kept(run(path))) == 12
    gone = dropped(tmp_path / "out")["z"]
    assert (gone["rule"], gone["value"], gone["language"]) == ("no pack", "<b>xz", "unknown")
    write_documents(source / "part-5.jsonl", [Document("z", "", "xb")])
    assert len(kept(run(path))) == 12 and dropped(tmp_path / "out")["z"]["rule"] == "empty"


def test_a_full_disk_is_one_error_and_leaves_nothing_torn(packs, tmp_path, monkeypatch):
    source = raw(tmp_path / "raw", Language("xa").documents(30), files=2)
    path, write, left = config(tmp_path, source, packs), records.Writers.write, [40]

    def fails(self, name, record):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, name, record)

    monkeypatch.setattr(records.Writers, "write", fails)
    with pytest.raises(DataError, match="No space left on device"):
        run(path)
    assert not list((tmp_path / "out" / "work").glob("**/.*partial*"))
    monkeypatch.undo()
    assert len(kept(run(path))) == 30


def test_documents_of_no_declared_language_get_the_identified_one(packs, tmp_path):
    documents = [d for code in CODES for d in Language(code).documents(15)]
    source = raw(tmp_path / "raw", [Document(d.id, d.text, "", d.url) for d in documents])
    path = config(tmp_path, source, packs)
    path.write_text(path.read_text() + 'language = "auto"\n')
    found = kept(run(path))
    assert all(document.language == id.split("/")[1] for id, document in found.items())
    assert len(found) >= 0.95 * len(documents)


def test_a_file_of_a_package_is_no_page_of_the_web(packs, tmp_path):
    documents = [
        Document(d.id, d.text, "xa", "apt:words-l10n@6.1+dfsg/usr/share/xa.mo")
        for d in Language("xa").documents(9)
    ]
    out = run(config(tmp_path, raw(tmp_path / "raw", documents), packs))
    assert len(kept(out)) == 9


def test_halves_of_surrogate_pairs_stop_nobody(packs, tmp_path):
    """JSON may hold them, UTF-8 may not: they go from texts, and what tokenizes next can read the rest."""
    from pinisi.data.documents import read_documents

    good = Language("xa").documents(12)
    lines = [json.dumps(vars(document)) for document in good[1:]]
    bad = {
        **vars(good[0]),
        "id": "half \ud83d",
        "text": f"\ud83d{good[0].text}\udc00",
        "url": "https://a/\udfff",
    }
    long = {"id": "\ud800", "text": "\ud800" * 2_000_001, "language": "xa", "url": "\ud800"}
    source = tmp_path / "raw" / "part-0.jsonl"
    source.parent.mkdir()
    source.write_text("\n".join([*lines, json.dumps(bad), json.dumps(long), '{"text": "\\ud800']))
    out = run(config(tmp_path, source.parent, packs))
    found = {document.text for document in read_documents(out / "documents" / "xa.jsonl.zst")}
    assert found == {document.text for document in good}
    assert dropped(out)["\ud800"]["rule"] == "length"


@pytest.mark.parametrize("declared", ["", "auto"])
def test_other_languages_than_those_wanted_are_dropped_by_what_they_are(packs, tmp_path, declared):
    documents = [d for code in ("xa", "xb") for d in Language(code).documents(60)]
    path = config(tmp_path, raw(tmp_path / "raw", documents), packs)
    text = path.read_text().replace('languages = ["xa", "xb", "xk"]', 'languages = ["xa"]')
    path.write_text(text + (f'language = "{declared}"\n' if declared else ""))
    out = run(path)
    assert {id.split("/")[1] for id in kept(out)} == {"xa"} and len(kept(out)) >= 57
    gone = dropped(out)
    assert all(record["rule"] == "not wanted" for id, record in gone.items() if "/xa/" not in id)
    assert sum(record["value"] == "xb" for record in gone.values()) >= 58
    with pytest.raises(DataError, match="no language pack for 'yy'"):
        run(path, 'languages=["yy"]')


def test_bad_settings_are_named(packs, tmp_path):
    path = config(tmp_path, tmp_path / "none*", packs)
    with pytest.raises(ConfigError, match="no such file"):
        run(path)
    for override, words in (
        ("run.budget=lots", "2 GiB"),
        ("near.similarity=2", "at most 1"),
        ("run.worker=2", "workers"),
        ('rules.off=["word"]', "words"),
    ):
        with pytest.raises(ConfigError, match=words):
            run(path, override)


def test_the_report_is_one_file_of_valid_markup(whole):
    from xml.etree import ElementTree

    page = (whole / "report.html").read_text("utf-8")
    ElementTree.fromstring(page.split("\n", 1)[1])
    assert "http" not in page.replace("https://example.org", "").replace("http://www.w3.org", "")
    table = json.loads((whole / "report.json").read_text("utf-8"))
    for code in CODES:
        of = table["languages"][code]
        assert of["kept"] + sum(of["drops"].values()) == of["documents"]


def good_words(code: str, seed: int, count: int, name: str) -> list[Document]:
    """Documents in a style of their own: of the rarer half of the language's words."""
    of = Language(code, seed)
    of.weights = [0.02 / (rank + 2) if rank < 300 else 1 / 300 for rank in range(600)]
    return of.documents(count, name)


@pytest.fixture(scope="module")
def graded(tmp_path_factory, packs) -> Path:
    """A run with good texts for two of three languages; 15 documents of each are in their style."""
    folder = tmp_path_factory.mktemp("graded")
    for code in ("xa", "xk"):
        write_documents(folder / "good" / f"{code}.jsonl", good_words(code, 11, 120, "named"))
    documents = [*planted(), *(each for code in CODES for each in good_words(code, 12, 15, "good"))]
    path = config(folder, raw(folder / "raw", documents), packs)
    positives = ", ".join(f'{code} = "{folder}/good/{code}.jsonl"' for code in ("xa", "xk"))
    path.write_text(
        path.read_text()
        + f"[rules]\noff = ['bits', 'language', 'stop_words']\n[quality]\npositives = {{{positives}}}\n"
    )
    return run(path)


def test_the_best_share_is_what_is_like_the_good_texts(graded):
    report = json.loads((graded / "report.json").read_text())
    assert sorted(path.name for path in (graded / "top").iterdir()) == ["xa.jsonl.zst", "xk.jsonl.zst"]
    documents = kept(graded)
    for code in CODES:
        of = {id: document for id, document in documents.items() if document.language == code}
        if code == "xb":
            assert code not in report["quality"] and not any("quality" in d.metadata for d in of.values())
            continue
        top = {id for id, document in of.items() if document.metadata["quality"]["top"]}
        assert len(top) == pytest.approx(0.2 * len(of), abs=1)
        planted_good = {id for id in of if id.startswith("good/")}
        assert len(planted_good) >= 14 and len(planted_good - top) <= 1
        assert report["quality"][code]["area"] > 0.8 and report["quality"][code]["good"] == 120
        written = list(records.read_documents(graded / "top" / f"{code}.jsonl.zst"))
        assert [vars(document) for document in written] == [vars(of[id]) for id in of if id in top]
        assert report["languages"][code]["graded"] == {
            "best by quality": len(top),
            "rest by quality": len(of) - len(top),
        }
    page = (graded / "report.html").read_text()
    assert "Quality" in page and "best by quality" in page


@only_full
def test_grades_are_the_same_for_any_workers_and_order(graded, packs, tmp_path):
    path = graded.parent / "curate.toml"
    settings = [f'run.folder="{tmp_path}/out"', "run.workers=4"]
    curate(path, settings, report=lambda line: None)
    assert contents(tmp_path / "out") == contents(graded)
    documents = [*records.read_documents(graded.parent / "raw" / "part-0.jsonl")]
    for n in (1, 2):
        documents += records.read_documents(graded.parent / "raw" / f"part-{n}.jsonl")
    random.Random(3).shuffle(documents)
    source = raw(tmp_path / "raw", documents, files=2)
    said: list[str] = []
    curate(path, [f'run.folder="{tmp_path}/other"', f'sources=[{{path="{source}"}}]'], report=said.append)
    mine, theirs = kept(tmp_path / "other"), kept(graded)
    assert {id: d.metadata.get("quality") for id, d in mine.items()} == {
        id: d.metadata.get("quality") for id, d in theirs.items()
    }
    curate(
        path,
        [f'run.folder="{tmp_path}/other"', f'sources=[{{path="{source}"}}]', "quality.share=0.4"],
        said.append,
    )
    assert [line.split(":")[0] for line in said if "done before" in line] == [
        "read",
        "score",
        "near",
        "finish",
    ]


def test_good_texts_that_can_not_be_used_are_named(graded, packs, tmp_path):
    path = graded.parent / "curate.toml"
    out = f'run.folder="{tmp_path}/out"'
    write_documents(tmp_path / "few.jsonl", good_words("xa", 3, 9, "few"))
    (tmp_path / "keys.jsonl").write_text('{"body": "x"}\n')
    for positives, said in (
        (f'{{xa="{tmp_path}/few.jsonl"}}', r"quality\.positives\.xa: 9 good texts in .*give at least 50"),
        (f'{{xa="{tmp_path}/keys.jsonl"}}', r"0 good texts in .*keys\.jsonl:1: no text under 'text'\); give"),
        ('{xa=""}', "a file, a folder or a pattern for each language"),
        ('{xa="/nowhere/*.jsonl"}', r"quality\.positives\.xa = '/nowhere/\*\.jsonl': no such file"),
        (f'{{zz="{tmp_path}/few.jsonl"}}', "zz"),
    ):
        with pytest.raises((DataError, ConfigError), match=said):
            curate(path, [out, f"quality.positives={positives}"], report=lambda line: None)
    assert not (tmp_path / "out").exists()  # before any work


def test_good_texts_that_are_documents_too_are_not_known_by_heart(packs, tmp_path):
    documents = Language("xa", seed=6).documents(240, "d")
    write_documents(tmp_path / "good.jsonl", documents[::3])
    path = config(tmp_path, raw(tmp_path / "raw", documents), packs)
    out = run(path, f'quality.positives={{xa="{tmp_path}/good.jsonl"}}', "rules.preset=wide")
    score = {id: document.metadata["quality"]["score"] for id, document in kept(out).items()}
    named = {document.id for document in documents[::3]}
    good, others = (
        np.array([value for id, value in score.items() if (id in named) == which]) for which in (True, False)
    )
    assert len(good) > 70 and abs(good.mean() - others.mean()) < 0.5 * others.std()
