"""Compares the quality classifier to scikit-learn's: python benchmarks/quality_classifier.py FOLDER [--languages id,th].

FOLDER: `<language>.jsonl` of documents with `text` and `source`. For each language, passages of 300 characters of the most frequent
source are to be told from those of all others; each is graded by a model that has learned from the other three quarters. Prints
the area under the ROC curve and the seconds of four models, and how far another order of texts moves weights. Needs scikit-learn.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.digests import of_text
from pinisi.curate.quality.classifier import FOLDS, Features, area, fit
from pinisi.curate.quality.features import BITS, features

LENGTH, MOST = 300, 1500
WITHOUT_SPACES = {"km", "lo", "my", "th", "zh"}


def passages(path: Path) -> tuple[list[str], list[str]]:
    documents = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    source = Counter(document["source"] for document in documents).most_common(1)[0][0]
    sides: tuple[list[str], list[str]] = ([], [])
    for document in documents:
        text = document["text"]
        cut = [text[at : at + LENGTH] for at in range(0, max(1, len(text) - LENGTH + 1), LENGTH)]
        sides[document["source"] != source].extend(cut)
    return sides[0][:MOST], sides[1][:MOST]


def sparse(texts: Sequence[Features]) -> Any:
    ends = np.cumsum([0] + [len(places) for places, _ in texts])
    values = np.concatenate([values for _, values in texts])
    places = np.concatenate([places for places, _ in texts])
    from scipy.sparse import csr_matrix

    return csr_matrix((values, places, ends), shape=(len(texts), 2**BITS))


def others() -> dict[str, Callable[[], Any]]:
    from sklearn import linear_model as linear

    return {
        "LogisticRegression, C = 1": lambda: linear.LogisticRegression(
            class_weight="balanced", max_iter=1000
        ),
        "LogisticRegression, C = 30": lambda: linear.LogisticRegression(
            C=30, class_weight="balanced", max_iter=1000
        ),
        "SGDClassifier": lambda: linear.SGDClassifier(
            loss="log_loss", class_weight="balanced", random_state=0
        ),
    }


def compare(path: Path) -> None:
    language = path.stem
    texts = passages(path)
    good, rest = ([features(text, spaces=language not in WITHOUT_SPACES) for text in side] for side in texts)
    keys = [[of_text(text) for text in side] for side in texts]
    print(f"{language}: {len(good)} passages of the most frequent source, {len(rest)} of others")
    start = time.perf_counter()
    ours = fit(good, keys[0], rest, keys[1])
    seconds = time.perf_counter() - start
    scores = [
        np.array([ours.score(text, key) for text, key in zip(side, names, strict=True)])
        for side, names in ((good, keys[0]), (rest, keys[1]))
    ]
    print(f"  {'ours':28} area {area(*scores):.4f}  {seconds:.1f} s")
    data, labels = sparse([*good, *rest]), np.repeat([1, 0], [len(good), len(rest)])
    folds = np.array([key % FOLDS for side in keys for key in side])
    order = np.random.default_rng(0).permutation(len(labels))
    for name, make in others().items():
        start, found = time.perf_counter(), np.zeros(len(labels))
        for fold in range(FOLDS):
            model = make().fit(data[folds != fold], labels[folds != fold])
            found[folds == fold] = model.decision_function(data[folds == fold])
        seconds = time.perf_counter() - start
        moved = np.abs(make().fit(data, labels).coef_ - make().fit(data[order], labels[order]).coef_).max()
        print(
            f"  {name:28} area {area(found[labels == 1], found[labels == 0]):.4f}  {seconds:.1f} s"
            f"  another order moves a weight by {moved:.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", default="id,th")
    options = parser.parse_args()
    for language in options.languages.split(","):
        compare(options.folder / f"{language}.jsonl")


if __name__ == "__main__":
    main()
