"""Checks chats against their language and against evaluation sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pinisi.cookbook.selection.records import ChatCandidate, answers_of
from pinisi.cookbook.selection.settings import SelectSettings
from pinisi.curate.packs.answer import WRONG, LineJudge
from pinisi.evaluate.confusion import answer_language
from pinisi.evaluate.contamination import SHARE, item_texts
from pinisi.evaluate.fingerprints import Fingerprints
from pinisi.evaluate.tasks import AskedTask, parse_task


class EvaluationTexts:
    """Holds the fingerprints of evaluation sets' texts, and finds those that stand in another text.

    A text counts as found where at least SHARE of its windows stand there, as in `evaluate.contamination`; one that is shorter than
    a window can't be.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self.names: list[str] = []
        windows: list[np.ndarray] = []
        for task in tasks:
            asked = AskedTask(parse_task(task))
            for item in asked.items:
                for part, texts in item_texts(item).items():
                    found = [Fingerprints(text).windows for text in texts if text.strip()]
                    values = np.concatenate(found) if found else np.zeros(0, np.uint64)
                    if len(values):
                        self.names.append(f"{asked.task.title}, {item.id}, {part}")
                        windows.append(values)
        self._windows = np.concatenate(windows) if windows else np.zeros(0, np.uint64)
        self._sizes = np.array([len(each) for each in windows], np.int64)
        self._owners = np.repeat(np.arange(len(windows)), self._sizes)

    def found_in(self, text: str) -> str | None:
        """Returns the name of the evaluation text of which the largest share stands in this one, if it is found at all."""
        if not len(self._windows):
            return None
        here = np.isin(self._windows, Fingerprints(text).kept())
        if not here.any():
            return None
        shares = np.bincount(self._owners, weights=here, minlength=len(self._sizes)) / self._sizes
        best = int(shares.argmax())
        return self.names[best] if shares[best] >= SHARE else None


class ChatChecks:
    """Says of a chat why it should be dropped: its language, or an evaluation text in it."""

    def __init__(self, settings: SelectSettings) -> None:
        self._check = settings.check
        self._judge = LineJudge()
        self._texts = EvaluationTexts(settings.tasks)

    def fault(self, candidate: ChatCandidate) -> tuple[str, str] | None:
        """Returns reason and detail, None for a chat that stays."""
        chat = candidate.chat
        if self._check != "none" and candidate.language:
            for place, answer in enumerate(answers_of(chat), 1):
                judged = (
                    answer_language(answer, candidate.language, self._judge)
                    if self._check == "lines"
                    else self._judge.judge(answer, candidate.language)
                )
                if judged.verdict == WRONG:
                    return (
                        "another language",
                        f"answer {place} is in {judged.found}, not in {candidate.language}",
                    )
        for message in chat.messages:
            if (name := self._texts.found_in(message.content)) is not None:
                return "an evaluation text", name
        # a question and its answer may share an evaluation text
        if (name := self._texts.found_in("\n".join(each.content for each in chat.messages))) is not None:
            return "an evaluation text", name
        return None
