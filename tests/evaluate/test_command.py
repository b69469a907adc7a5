"""`pinisi evaluate`: one result for any batch size and number of ranks, the same as from a plain loop."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from pinisi.cli import main
from pinisi.data import load_tokenizer
from tests.data.conftest import write_corpus
from tests.effort import only_full
from tests.evaluate.conftest import XCOPA


def results(model, xcopa, folder, *arguments: str) -> tuple[dict, list[dict]]:
    out, items = folder / "out.json", folder / "items.jsonl"
    code = main(
        [
            "evaluate",
            str(model),
            "--task",
            f"xcopa:th:{xcopa}",
            "--out",
            str(out),
            "--items",
            str(items),
            *arguments,
        ]
    )
    assert code == 0
    return json.loads(out.read_text()), [json.loads(line) for line in items.read_text().splitlines()]


def by_hand(model) -> list[list[float]]:
    """Sums of log-probabilities by the harness's prompt and border, one continuation at a time."""
    tokenizer = load_tokenizer(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    found = []
    for premise, first, second, question, _ in XCOPA:
        context = premise[:-1] + " " + {"cause": "เพราะ", "effect": "ดังนั้น"}[question]
        sums = []
        for choice in (first, second):
            whole, alone = tokenizer.encode(f"{context} {choice}"), tokenizer.encode(context)
            with torch.no_grad():
                lp = torch.log_softmax(loaded(torch.tensor([whole])).logits[0], -1)
            sums.append(sum(lp[n - 1, whole[n]].item() for n in range(len(alone), len(whole))))
        found.append(sums)
    return found


@only_full
def test_the_score_is_that_of_a_plain_loop_for_any_batch_and_any_ranks(
    model, xcopa, tmp_path, capsys
) -> None:
    first, items = results(model, xcopa, tmp_path, "--dtype", "float64")
    wanted = by_hand(model)
    for item, sums in zip(items, wanted, strict=True):
        assert item["log_probs"] == pytest.approx(sums, rel=1e-12)
    right = [
        max((0, 1), key=lambda n: sums[n]) == label for sums, (*_, label) in zip(wanted, XCOPA, strict=True)
    ]
    (task,) = first["tasks"]
    assert task["scores"]["accuracy"]["value"] == sum(right) / len(right)
    by_characters = [
        max((0, 1), key=lambda n: sums[n] / len((a, b)[n])) == label
        for sums, (_, a, b, _, label) in zip(wanted, XCOPA, strict=True)
    ]
    assert task["scores"]["accuracy_per_character"]["value"] == sum(by_characters) / len(by_characters)
    assert "xcopa-th" in capsys.readouterr().out
    for batch in ("1", "3", "16"):
        again, same = results(model, xcopa, tmp_path, "--dtype", "float64", "--batch-size", batch)
        assert again == first and same == items
    split, ours = results(model, xcopa, tmp_path, "--dtype", "float64", "--ranks", "2", "--threads", "1")
    for a, b in zip(ours, items, strict=True):
        assert a["log_probs"] == pytest.approx(b["log_probs"], rel=1e-12)
        assert a["chosen"] == b["chosen"]
    assert split["tasks"][0]["scores"] == task["scores"]


def test_text_gives_bits_per_byte_of_a_plain_loop(model, xcopa, tmp_path) -> None:
    texts = {"th": ["แม่น้ำเจ้าพระยา", "มนุษย์ทั้งหลาย"], "id": ["Kapal pinisi dibuat di Sulawesi Selatan. " * 9]}
    folder = write_corpus(tmp_path / "text", texts)
    result, _ = results(
        model, xcopa, tmp_path, "--text", f"prose={folder}", "--dtype", "float64", "--longest", "41"
    )
    tokenizer = load_tokenizer(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    for loss in result["losses"]:
        nats, count, size = 0.0, 0, 0
        for text in texts[loss["language"]]:
            ids = [*tokenizer.encode(text), 0]
            size += len(text.encode()) - len(tokenizer.decode(ids[:1]).encode()) if text.isascii() else 0
            for start in range(0, len(ids) - 1, 41):
                part = ids[start : start + 42]
                with torch.no_grad():
                    lp = torch.log_softmax(loaded(torch.tensor([part])).logits[0], -1)
                nats -= sum(lp[n - 1, part[n]].item() for n in range(1, len(part)))
                count += len(part) - 1
        assert loss["tokens"] == count and loss["component"] == "prose"
        if loss["language"] == "id":
            assert loss["bytes"] == size
            bits = nats / torch.log(torch.tensor(2.0, dtype=torch.float64)).item() / size
            assert loss["scores"]["bits_per_byte"]["value"] == pytest.approx(bits, rel=1e-12)
        perplexity = torch.tensor(nats / count, dtype=torch.float64).exp().item()
        assert loss["scores"]["perplexity"]["value"] == pytest.approx(perplexity, rel=1e-12)


def test_what_is_wrong_is_said(model, xcopa, tmp_path, capsys) -> None:
    for arguments, words in (
        ([str(model)], "nothing is asked"),
        ([str(tmp_path), "--task", f"xcopa:th:{xcopa}"], "is no model"),
        ([str(model), "--task", "xcopa:th"], "needed FORMAT:LANGUAGE:FILE"),
        ([str(model), "--task", f"nothing:th:{xcopa}"], "one of belebele"),
        ([str(model), "--task", f"xcopa:km:{xcopa}"], "no connecting words of 'km'"),
        ([str(model), "--task", f"belebele:th:{xcopa}"], "line 1: no item of belebele"),
        ([str(model), "--task", f"xcopa:th:{xcopa}", "--ranks", "9"], "--ranks from 1 to 3"),
        ([str(model), "--task", f"xcopa:th:{xcopa}", "--shots", "2"], "examples"),
        ([str(model), "--task", f"xcopa:th:{xcopa}", "--chat"], "no chat template"),
        ([str(model), "--task", f"xcopa:th:{xcopa}", "--longest", "0"], "--longest 0: needed at least 1"),
        (
            [str(model), "--task", f"xcopa:th:{xcopa}", "--ranks", "2", "--threads", "0"],
            "--threads 0: needed",
        ),
        ([str(model), "--task", f"xcopa:th:{xcopa}", "--step", "3"], "leave --step out"),
        (
            [str(model), "--task", f"xcopa:th:{xcopa}", "--tokenizer", str(xcopa.parent)],
            f"{xcopa.parent} holds no tokenizer",
        ),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_documents_without_anything_to_predict_have_no_score(model, xcopa, tmp_path, capsys) -> None:
    folder = write_corpus(tmp_path / "text", {"id": [""], "th": ["", "แม่น้ำเจ้าพระยา"]})
    result, _ = results(model, xcopa, tmp_path, "--text", str(folder))
    by_language = {loss["language"]: loss for loss in result["losses"]}
    assert by_language["id"]["scores"] == by_language["id"]["samples"]["measures"] == {}
    assert by_language["th"]["documents"] == 2 and by_language["th"]["scores"]["bits_per_byte"]["value"] > 0
    assert "NaN" not in (tmp_path / "out.json").read_text()
    (folder / "vi.jsonl").write_text("")
    assert main(["evaluate", str(model), "--text", str(folder)]) == 2
    assert "vi.jsonl holds no document" in capsys.readouterr().err
