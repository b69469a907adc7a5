"""Turns SEA-HELM's tasks on local files into tasks of lm-evaluation-harness, with SEA-HELM's own prompts, extraction and scores.

A configuration is one of its config.yaml; data files are looked for from there upwards, as the repository has them. Tasks with
labels (F1AccMetric) and extracted answers (QuestionAnsweringMetric) are known. Answers are compared by units that scripts without
spaces have, too (see `answers`), where SEA-HELM takes PyThaiNLP's words. (arXiv 2502.14301)
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinisi.base.errors import ConfigError, DataError
from pinisi.base.json_text import parse, read_utf8
from pinisi.base.libraries import library
from pinisi.evaluate.answers import compared

LABELS, ANSWERS = "F1AccMetric", "QuestionAnsweringMetric"
NULL = "null"  # what an answer without a label counts as
BETWEEN = "\n\n"  # turns, as in SEA-HELM's template of base models
_REFERENCE = re.compile(r"\$\{([\w.\-]+)\}")
Results = dict[str, Any]


def sea_helm_tasks(given: str, shots: int = 0) -> list[dict[str, Any]]:
    """The tasks of CONFIG.yaml[:TASK[:LANGUAGE]], all of it where nothing is chosen. shots: examples before each question.

    Raises ConfigError for what can't be asked, DataError for files that can't be read.
    """
    file, _, chosen = given.partition(":")
    task, _, language = chosen.partition(":")
    path = Path(file)
    try:
        config = library("yaml", "harness").safe_load(read_utf8(path))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except library("yaml", "harness").YAMLError as error:
        raise DataError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, Mapping):
        raise DataError(f"{path} holds no tasks of SEA-HELM")
    config = _resolved(config, config)
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    for name, settings in config.items():
        for code, local in _languages(settings):
            if (task and name != task) or (language and code != language):
                continue
            made = _task(path, name, code, settings, local, shots)
            if isinstance(made, str):
                left_out.append(made)
            else:
                found.append(made)
    if not found:
        why = f" ({left_out[0]})" if left_out else ""
        raise ConfigError(f"--sea-helm {given}: no task there can be asked{why}")
    return found


def _languages(settings: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(settings, Mapping) and isinstance(settings.get("languages"), Mapping):
        yield from settings["languages"].items()


def _resolved(value: Any, whole: Mapping[str, Any]) -> Any:
    """With ${a.b} replaced by what stands there."""
    if isinstance(value, str) and (match := _REFERENCE.fullmatch(value)):
        found: Any = whole
        for part in match[1].split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found if found is None or found == value else _resolved(found, whole)
    if isinstance(value, Mapping):
        return {key: _resolved(each, whole) for key, each in value.items()}
    return value


def _task(
    config: Path, name: str, language: str, settings: Mapping[str, Any], local: Mapping[str, Any], shots: int
) -> dict[str, Any] | str:
    """A task of the harness, or why there is none."""
    data = _local(config, local.get("filepath"))
    metric = settings.get("metric_class")
    if data is None:
        return f"{name} in {language} has no local file {local.get('filepath')}"
    if metric not in (LABELS, ANSWERS):
        return f"{name} is scored by {metric}, known are {LABELS} and {ANSWERS}"
    template = local["prompt_template"]
    examples = _examples(config, name, language, local, shots)
    asked = _Asked(template, examples)
    field = label_field(template)
    records = _lines(data, field)
    scores = (
        _Labels(template["answer_tag"], field, records)
        if metric == LABELS
        else _Answers(template["answer_tag"], field, language)
    )
    return {
        "task": f"seahelm_{name}_{language}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": asked.prompt,
        "doc_to_target": field,
        "num_fewshot": 0,
        "generation_kwargs": {
            "until": [BETWEEN] if shots else [],
            "max_gen_toks": int(local.get("max_tokens", 64)),
        },
        "process_results": scores.of,
        "metric_list": [
            {"metric": measure, "aggregation": together, "higher_is_better": True}
            for measure, together in scores.measures.items()
        ],
        "metadata": {"version": (settings.get("metadata") or {}).get("version", 0)},
    }


def _local(config: Path, name: Any) -> Path | None:
    """A data file, whose name is from the repository's root, somewhere above the configuration."""
    if not isinstance(name, str) or not name.endswith((".jsonl", ".json")):
        return None
    return next((folder / name for folder in config.absolute().parents if (folder / name).is_file()), None)


def _examples(
    config: Path, name: str, language: str, local: Mapping[str, Any], shots: int
) -> Sequence[Mapping[str, Any]]:
    if not shots:
        return ()
    file = _local(config, local.get("example_filepath"))
    found = _lines(file, label_field(local["prompt_template"])) if file else []
    if len(found) < shots:
        raise ConfigError(f"{name} in {language} has {len(found)} examples, --shots {shots} wants more")
    return found[:shots]


def _lines(file: Path, field: str) -> list[Mapping[str, Any]]:
    found = []
    for number, line in enumerate(read_utf8(file).split("\n"), 1):
        try:
            record = parse(line) if line.strip() else None
            if record is not None:
                _ = record[field], record["prompts"][0]
                found.append(record)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"{file}, line {number}: no item of SEA-HELM ({type(error).__name__}: {error})"
            ) from None
    return found


class _Asked:
    """Puts items into SEA-HELM's words."""

    def __init__(self, template: Mapping[str, str], examples: Sequence[Mapping[str, Any]]) -> None:
        self.template, self.tag = template, {"answer_tag": template["answer_tag"]}
        self.field = label_field(template)
        shown = [turn for example in examples for turn in (self._question(example), self._answer(example))]
        self.before = shown

    def prompt(self, doc: Mapping[str, Any]) -> str:
        preamble = self.template.get("preamble", "").format(**self.tag)
        return BETWEEN.join([preamble, *self.before, self._question(doc)]).strip()

    def _question(self, record: Mapping[str, Any]) -> str:
        return self.template["task_template"].format(**{**record["prompts"][0], **self.tag})

    def _answer(self, record: Mapping[str, Any]) -> str:
        label = record[self.field]
        label = label[0] if isinstance(label, list) else label
        values = {**record, **record["prompts"][0], **self.tag, self.field: label}
        return self.template["answer_template"].format(**values)


def label_field(template: Mapping[str, str]) -> str:
    """The field of what is right: the one that an example shows, such as label, or of the safety sets response_label."""
    named = re.findall(r"\{(\w*label)\}", template.get("answer_template", ""))
    return named[0] if named else "label"


def plain(text: str) -> str:
    """As SEA-HELM compares labels: lower case, no punctuation around it, single spaces."""
    return " ".join(text.lower().strip(string.punctuation + " \n").split())


class _Labels:
    """Scores labels: accuracy, balanced over labels and above chance (normalized_accuracy), macro F1; all times 100."""

    def __init__(self, tag: str, field: str, records: Sequence[Mapping[str, Any]]) -> None:
        self.field, names = field, [str(record[field]) for record in records]
        self.names = {name.lower(): name for name in names}
        labels = "|".join(sorted(map(re.escape, self.names.values()), key=len, reverse=True))
        self.rule = re.compile(rf"{re.escape(tag)}[\s\*]*({labels})", re.IGNORECASE)
        self.measures: dict[str, Callable] = {
            "accuracy": lambda pairs: 100 * sum(a == b for a, b in pairs) / len(pairs),
            "normalized_accuracy": self._normalized,
            "macro_f1": self._macro_f1,
            "null_count": lambda pairs: float(sum(answer == NULL for _, answer in pairs)),
        }

    def found_in(self, answer: str) -> str:
        match = self.rule.search(answer)
        return self.names.get(plain(match[1] if match else answer), NULL)

    def of(self, doc: Mapping[str, Any], results: Sequence[str]) -> Results:
        return dict.fromkeys(self.measures, (str(doc[self.field]), self.found_in(results[0])))

    def _normalized(self, pairs: Sequence[tuple[str, str]]) -> float:
        there = sorted({right for right, _ in pairs})
        recalls = [
            sum(answer == label for right, answer in pairs if right == label)
            / sum(right == label for right, _ in pairs)
            for label in there
        ]
        chance = 1 / len(self.names)
        if chance == 1:
            return 0.0
        return 100 * max((sum(recalls) / len(recalls) - chance) / (1 - chance), 0)

    def _macro_f1(self, pairs: Sequence[tuple[str, str]]) -> float:
        found = []
        for label in sorted({name for pair in pairs for name in pair}):
            both = sum(right == answer == label for right, answer in pairs)
            all_of = sum((right == label) + (answer == label) for right, answer in pairs)
            found.append(2 * both / all_of)
        return 100 * sum(found) / len(found)


class _Answers:
    """Scores extracted answers: exact match and F1, times 100."""

    def __init__(self, tag: str, field: str, language: str) -> None:
        self.field = field
        self.rule, self.language = re.compile(rf"{re.escape(tag)}[\s\r\n`*]*(.*)"), language
        self.measures: dict[str, Callable] = {"exact_match": _mean, "f1": _mean}

    def of(self, doc: Mapping[str, Any], results: Sequence[str]) -> Results:
        match = self.rule.search(results[0])
        answer = (match[1] if match else results[0]).strip()
        label = doc[self.field]
        right = label if isinstance(label, list) else [label]
        score = compared(answer, [str(each) for each in right], self.language)
        return {"exact_match": 100 * score.exact_match, "f1": 100 * score.f1}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
