"""Makes shards of any number of documents that take almost no disk: all files have the same bounds, and no tokens but zeros."""

import json
from pathlib import Path

import numpy as np

LENGTHS = (20, 1001)  # of documents, in tokens; drawn evenly


def made_up_shards(folder: Path, documents: int, files: int, distinct: bool = False) -> Path:
    """Writes `documents` of the language "id" in so many files, each of as many. distinct: each file has bounds of its own."""
    each, size, listed = documents // files, 0, []
    for number in range(files):
        name = f"{number:05}/id"
        (folder / name).parent.mkdir(parents=True)
        path = folder / f"{name}.documents"
        if number and not distinct:
            path.hardlink_to(folder / "00000/id.documents")
        else:
            lengths = np.random.default_rng(number).integers(*LENGTHS, each)
            bounds = np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")
            bounds.tofile(path)
            size = int(bounds[-1])
        with (folder / f"{name}.tokens").open("wb") as tokens:
            tokens.truncate(4 * size)  # a hole: it reads as zeros
        listed.append({"name": name, "documents": each, "tokens": size})
    counts = {"documents": each * files, "tokens": sum(file["tokens"] for file in listed), "files": listed}
    index = {
        "format": 3,
        "fingerprint": "made up",
        "end_of_document": 0,
        "vocabulary": 1,
        "languages": {"id": counts},
    }
    (folder / "index.json").write_text(json.dumps(index))
    return folder
