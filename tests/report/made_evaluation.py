"""Results of evaluations made up, with what the page must bear: long names, several scripts, intervals of nothing, odd answers."""

import random
from typing import Any

LANGUAGES = ["ceb", "id", "jv", "km", "lo", "my", "th", "vi", "zh"]
NAMES = ["base", "after-continued-pretraining-of-the-large-one", "b"]
CHOICES = {"choice": ["accuracy", "accuracy_per_token", "accuracy_per_byte"], "answer": ["exact_match", "f1"],
           "translation": ["chrf++", "bleu_char"], "loss": ["bits_per_byte", "perplexity"]}  # fmt: skip
QUESTION = "ทำไมฟ้าจึงเป็นสีน้ำเงิน\n" + "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน" * 9 + " " + "w" * 300
NAN = float("nan")


def score(draw: random.Random, scale: float) -> dict[str, float]:
    value = scale * draw.uniform(0.1, 0.9)
    return {"value": value, "low": value - 0.07 * scale, "high": value + 0.05 * scale, "items": 40}


def made_task(draw: random.Random, form: str, kind: str, language: str) -> dict[str, Any]:
    settings = {"format": form, "style": "letters" if kind == "choice" else None, "shots": 3 if form == "xquad" else 0,
                "source": "en" if kind == "translation" else "", "chat": form == "xquad", "limit": None}  # fmt: skip
    example = {"id": f"{form}-{language}-1", "question": QUESTION, "choices": ["ก", "b" * 200], "answer": draw.choice("กb"),
               "right": "ก", "score": draw.choice([0.0, 1.0, 0.5, None])}  # fmt: skip
    scales = {"translation": 100.0}
    return {
        "name": f"{form}-{language}", "language": language, "kind": kind, "settings": settings, "items": 40,
        "scores": {name: score(draw, scales.get(kind, 1.0)) for name in CHOICES[kind]}, "examples": [example],
        **({"chance": 0.25} if kind == "choice" else {}),
    }  # fmt: skip


def made_results(names: list[str] = NAMES, languages: list[str] = LANGUAGES) -> dict[str, dict[str, Any]]:
    found = {}
    for number, name in enumerate(names):
        draw = random.Random(number)
        tasks = [
            made_task(draw, form, kind, language)
            for form, kind in (("belebele", "choice"), ("xquad", "answer"), ("flores", "translation"))
            for language in languages
        ]
        losses = [
            {"component": "web", "language": language, "documents": 1234, "scores": {
                "bits_per_byte": score(draw, 1.0), "perplexity": score(draw, 1e5)}}
            for language in languages
        ]  # fmt: skip
        tasks[0]["scores"]["accuracy"] = {"value": NAN, "low": NAN, "high": NAN, "items": 0}
        model = {"path": f"/models/{'deep/' * 9}{name}", "kind": "folder", "dtype": "bfloat16", "longest": 4096,
                 "digest": "d" * 64, "tokenizer": "e" * 64}  # fmt: skip
        found[name] = {"format": 1, "model": model, "versions": {"pinisi": "0.1.0"}, "tasks": tasks, "losses": losses,
                       "intervals": {"level": 0.95, "samples": 1000, "seed": 0}}  # fmt: skip
    return found


def made_comparison(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """As `evaluate.comparison.compare` has it, of numbers that are drawn."""
    first, *others = results
    draw = random.Random(7)
    comparisons = []
    for name in others:
        result = results[name]
        parts = [
            *result["tasks"],
            *({**loss, "name": f"web/{loss['language']}"} for loss in result["losses"]),
        ]
        scores = [
            {"name": part["name"], "language": part["language"], "measure": measure, "baseline": 0.5, "score": 0.6,
             "difference": {"difference": (d := draw.uniform(-0.2, 0.2)), "low": d - 0.1, "high": d + 0.1, "p": 0.04,
                            "samples": 40, "telling": 12}, "p_corrected": 0.3, "verdict": "not told apart"}
            for part in parts for measure in part["scores"]
        ]  # fmt: skip
        settings = {"model.path": ["/a/" * 30, None], "belebele.style": ["letters", "cloze"]}
        comparisons.append({"model": name, "scores": scores, "only_in_baseline": ["xcopa-th"], "only_in_model": [],
                            "configuration": settings})  # fmt: skip
    return {"baseline": first, "level": 0.95, "models": {}, "comparisons": comparisons}
