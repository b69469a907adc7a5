"""Holds the result of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """Holds what a run came to. code: 0 for a whole run, 128 + the signal that stopped it otherwise; evaluation: the last one, by
    language or component."""

    folder: Path
    step: int
    code: int = 0
    evaluation: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Tells whether the run went to its end."""
        return self.code == 0

    def metrics(self) -> list[dict[str, Any]]:
        """Reads the lines of metrics.jsonl: a record a step, and one an evaluation."""
        lines = (self.folder / "metrics.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def export(self, out: str | Path, **options: Any) -> Path:
        """Writes the newest checkpoint as a Hugging Face folder (see `pinisi.train.export`); returns `out`."""
        from pinisi.train.export import export

        return export(self.folder, Path(out), **options)
