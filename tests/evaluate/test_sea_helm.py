"""SEA-HELM's tasks on local files: its prompts, its way of finding an answer, and scores as scikit-learn has them."""

from __future__ import annotations

import json
import random

import pytest

pytest.importorskip("lm_eval")

from pinisi.base.errors import ConfigError, DataError
from pinisi.cli import main
from pinisi.evaluate.sea_helm import sea_helm_tasks
from tests.evaluate.conftest import write_lines

CONFIG = """
sentiment:
  metadata: {version: 1.1}
  metric_class: F1AccMetric
  fewshot_num_examples: {instruct: 0, base: 5}
  languages:
    id:
      filepath: seahelm_tasks/nlu/data/id.jsonl
      example_filepath: seahelm_tasks/nlu/data/id_examples.jsonl
      max_tokens: 4
      prompt_template:
        preamble: |-
          Apa sentimennya?
          "{answer_tag} ANSWER"
        task_template: |-
          Kalimat: {text}
        answer_template: |-
          {answer_tag} {label}
        answer_tag: "Jawaban:"
    th:
      filepath: aisingapore/on-the-hub
      prompt_template: {}
again:
  metadata: ${sentiment.metadata}
  metric_class: F1AccMetric
  languages: ${sentiment.languages}
reading:
  metric_class: QuestionAnsweringMetric
  languages:
    zh:
      filepath: seahelm_tasks/nlu/data/zh.jsonl
      max_tokens: 8
      prompt_template: {preamble: "", task_template: "{text}", answer_template: "{answer_tag} {label}", answer_tag: "答案:"}
safety:
  metric_class: F1AccMetric
  languages:
    id:
      filepath: seahelm_tasks/nlu/data/safe.jsonl
      prompt_template: {preamble: "", task_template: "{a} {b}", answer_template: "{answer_tag} {b_label}", answer_tag: "J:"}
summary:
  metric_class: RougeMetric
  languages: ${reading.languages}
"""
LABELS = ("Positif", "Negatif", "Netral")


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "seahelm_tasks" / "nlu"
    (folder / "data").mkdir(parents=True)
    records = [
        {"id": n, "label": LABELS[n % 3], "prompts": [{"text": f"a{n}"}], "note": "\u2028\x85"}
        for n in range(6)
    ]
    write_lines(folder / "data" / "id.jsonl", records)
    write_lines(folder / "data" / "id_examples.jsonl", records[:2])
    write_lines(
        folder / "data" / "zh.jsonl", [{"label": ["撞在树上", "树"], "prompts": [{"text": "他们撞在树上"}]}]
    )
    write_lines(
        folder / "data" / "safe.jsonl", [{"a_label": "x", "b_label": "y", "prompts": [{"a": "1", "b": "2"}]}]
    )
    (folder / "config.yaml").write_text(CONFIG)
    return folder / "config.yaml"


def test_prompts_are_its_own_and_references_within_a_file_are_followed(config) -> None:
    first, again, reading, safety = sea_helm_tasks(str(config))
    assert [t["task"] for t in (first, again, reading)] == [
        "seahelm_sentiment_id",
        "seahelm_again_id",
        "seahelm_reading_zh",
    ]
    assert safety["process_results"]({"a_label": "x", "b_label": "y"}, ["J: Y"])["accuracy"] == ("y", "y")
    assert again["metadata"] == {"version": 1.1}
    doc = {"label": "Netral", "prompts": [{"text": "x {answer_tag}"}]}
    assert first["doc_to_text"](doc) == 'Apa sentimennya?\n"Jawaban: ANSWER"\n\nKalimat: x {answer_tag}'
    (shown,) = sea_helm_tasks(f"{config}:sentiment:id", 2)
    assert shown["doc_to_text"](doc).split("\n\n")[1:] == [
        "Kalimat: a0", "Jawaban: Positif", "Kalimat: a1", "Jawaban: Negatif", "Kalimat: x {answer_tag}",
    ]  # fmt: skip
    assert shown["generation_kwargs"] == {"until": ["\n\n"], "max_gen_toks": 4}


def test_scores_are_those_of_scikit_learn(config) -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score

    (task,) = sea_helm_tasks(f"{config}:sentiment:id")
    draw = random.Random(3)
    for _ in range(20):
        right = [draw.choice(LABELS) for _ in range(40)]
        wanted = [draw.choice((*LABELS, "null")) for _ in right]
        forms = ("Jawaban: {}", "jawaban:**{}**.", "{}!", "Hm.\nJawaban: {} sekali")
        said = [
            "nothing" if label == "null" else draw.choice(forms).format(label.upper()) for label in wanted
        ]
        pairs = [
            task["process_results"]({"label": a}, [b])["accuracy"] for a, b in zip(right, said, strict=True)
        ]
        assert pairs == list(zip(right, wanted, strict=True))
        together = {each["metric"]: each["aggregation"](pairs) for each in task["metric_list"]}
        balanced = balanced_accuracy_score(right, wanted)
        assert together["normalized_accuracy"] == pytest.approx(100 * max((balanced - 1 / 3) / (2 / 3), 0))
        assert together["macro_f1"] == pytest.approx(100 * f1_score(right, wanted, average="macro"))
        assert together["null_count"] == wanted.count("null")
    (reading,) = sea_helm_tasks(f"{config}:reading")
    doc = {"label": ["撞在树上", "树"]}
    assert reading["process_results"](doc, ["答案: 撞在树上。"]) == {"exact_match": 100, "f1": 100}
    assert reading["process_results"](doc, ["答案: 树上"])["f1"] == pytest.approx(100 * 2 / 3)


def test_the_command_asks_them(config, model, tmp_path, capsys) -> None:
    out, items = tmp_path / "out.json", tmp_path / "items.jsonl"
    given = [
        "--sea-helm",
        f"{config}:sentiment",
        "--dtype",
        "float32",
        "--out",
        str(out),
        "--items",
        str(items),
    ]
    assert main(["evaluate", str(model), *given]) == 0
    found = json.loads(out.read_text())["harness"]["results"]["seahelm_sentiment_id"]
    assert found["null_count,none"] == 6 and found["accuracy,none"] == 0
    samples = [json.loads(line) for line in items.read_text().split("\n") if line]
    assert samples[0]["arguments"][0][0].endswith("Kalimat: a0")
    assert "seahelm_sentiment_id" in capsys.readouterr().out


def test_what_cannot_be_asked_is_told(config, tmp_path) -> None:
    for given, shots, words in (
        (f"{config}:summary", 0, "scored by RougeMetric"),
        (f"{config}:sentiment:th", 0, "no local file aisingapore/on-the-hub"),
        (f"{config}:nothing", 0, "no task there"),
        (f"{config}:sentiment:id", 9, "has 2 examples"),
    ):
        with pytest.raises(ConfigError, match=words):
            sea_helm_tasks(given, shots)
    broken = tmp_path / "x.yaml"
    broken.write_text("a: [")
    with pytest.raises(DataError, match="no YAML"):
        sea_helm_tasks(str(broken))
    write_lines(config.parent / "data" / "id.jsonl", [{"label": "a"}])
    with pytest.raises(DataError, match=r"id.jsonl, line 1: no item of SEA-HELM \(KeyError: 'prompts'\)"):
        sea_helm_tasks(f"{config}:sentiment:id")
