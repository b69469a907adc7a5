"""Runs lm-evaluation-harness on local files with its own prompts: the yardstick of `pinisi bench evaluation`.

It must be installed beside Pinisi (pip install "lm-eval[hf]"), and is used nowhere else.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pinisi.base.errors import DataError

MEASURES = {"acc": "accuracy", "acc_norm": "accuracy_per_character", "acc_bytes": "accuracy_per_byte"}


class HarnessScores(NamedTuple):
    """What the harness found of a task: sums of log-probabilities by item and choice, scores by our names, seconds in all, and
    those of them in which the model computed."""

    log_probs: list[list[float]]
    scores: dict[str, float]
    seconds: float
    scoring: float


def harness_version() -> str:
    """Raises DataError where it isn't installed."""
    try:
        import lm_eval
        import lm_eval.models.huggingface
    except ImportError as error:
        raise DataError(f"lm-evaluation-harness can't be used ({error}): pip install 'lm-eval[hf]'") from None
    return lm_eval.__version__


def harness_model(model: Path, dtype: str, batch_size: int) -> Any:
    """The harness's own model on one process."""
    harness_version()
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(model), dtype=dtype, batch_size=batch_size, device="cpu")


def xcopa_config(language: str, file: Path) -> dict[str, Any]:
    """The harness's XCOPA on a local file."""
    harness_version()
    from lm_eval.tasks.xcopa import utils

    return {
        **_local(f"xcopa_{language}", {"test": file}),
        "doc_to_text": getattr(utils, f"doc_to_text_{language}"),
        "doc_to_target": "label",
        "doc_to_choice": utils.doc_to_choice,
    }


def belebele_config(
    name: str, file: Path, folder: Path, examples: Path | None = None, shots: int = 0
) -> dict[str, Any]:
    """The harness's Belebele, by its own template, on local files that are rewritten into `folder` as the hub has them."""
    harness_version()
    import lm_eval.tasks
    import yaml

    found = Path(lm_eval.tasks.__file__).parent / "belebele" / "_default_template_yaml"
    template = yaml.safe_load(found.read_text("utf-8"))
    splits = {"test": _as_published(file, folder / f"{name}.jsonl")}
    more: dict[str, Any] = {}
    if examples is not None and shots:
        splits["dev"] = _as_published(examples, folder / f"{name}.dev.jsonl")
        more = {"fewshot_split": "dev", "num_fewshot": shots, "fewshot_config": {"sampler": "first_n"}}
    kept = {key: template[key] for key in ("doc_to_text", "doc_to_choice", "doc_to_target")}
    return {**_local(name, splits), **kept, **more}


def _local(name: str, splits: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {split: str(path) for split, path in splits.items()}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in MEASURES
        ],
    }


def _as_published(file: Path, out: Path) -> Path:
    """SEA-HELM's form of Belebele as the hub's."""
    lines = []
    for line in file.read_text("utf-8").splitlines():
        record = json.loads(line)
        asked = record["prompts"][0]
        choices = {f"mc_answer{n}": asked[f"choice{n}"] for n in range(1, 5)}
        right = str("ABCD".index(record["label"]) + 1)
        published = {
            "flores_passage": asked["text"],
            "question": asked["question"],
            **choices,
            "correct_answer_num": right,
        }
        lines.append(json.dumps(published, ensure_ascii=False))
    out.write_text("\n".join(lines) + "\n", "utf-8")
    return out


def run_harness(
    model: Any, configs: Sequence[Mapping[str, Any]], limit: int | None
) -> dict[str, HarnessScores]:
    """Runs each task by itself, offline."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from lm_eval import simple_evaluate

    found = {}
    passes: list[float] = []
    score = model._loglikelihood_tokens  # what computes, once texts are tokens

    def timed(*given: Any, **more: Any) -> Any:
        start = time.perf_counter()
        answers = score(*given, **more)
        passes.append(time.perf_counter() - start)
        return answers

    model._loglikelihood_tokens = timed
    for config in configs:
        passes.clear()
        began = time.perf_counter()
        result = simple_evaluate(
            model=model, tasks=[dict(config)], limit=limit, log_samples=True, bootstrap_iters=0
        )
        seconds = time.perf_counter() - began
        name = config["task"]
        samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
        sums = [[float(response[0]) for response in sample["filtered_resps"]] for sample in samples]
        scores = {ours: result["results"][name][f"{theirs},none"] for theirs, ours in MEASURES.items()}
        found[name] = HarnessScores(sums, scores, seconds, sum(passes))
    model._loglikelihood_tokens = score
    return found
