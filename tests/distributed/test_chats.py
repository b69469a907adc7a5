"""Packed chats in a pipeline: log-probabilities of every token and all gradients are those of each chat alone in one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pinisi.base.ids import IGNORE
from pinisi.bench.packed_exact import wide_arithmetic
from pinisi.data.batches import Microbatch
from pinisi.data.conversations.batches import ChatBatches, ChatDrawing
from pinisi.data.conversations.encode import MaskRule
from pinisi.data.conversations.prepare import EncodeSettings, prepare_chats
from pinisi.data.conversations.records import ChatSource
from pinisi.engine.engine import Engine
from pinisi.models import read_spec
from tests.data.conversations.made import assistant, chat, tokenizer, user, write_chats
from tests.distributed.cases import TOLERANCE, Case, assemble, config_of, engine_of, reference_model, worst
from tests.effort import FULL, only_full

ARCHITECTURES = ["qwen2", "llama", "gemma2", "mistral", "qwen3", "gemma3_text", "phi3", "olmo2"]
SEQUENCE = 127


def microbatches(room: Path, trained: str) -> list[Microbatch]:
    """Rows of several chats each, of one and two rounds, with padding behind them."""
    records = [
        chat(
            *(turn for n in range(1 + i % 2) for turn in (user("w" * (1 + n)), assistant("no" * (1 + i % 3))))
        )
        for i in range(9)
    ]
    file = write_chats(room / "chats.jsonl", records)
    folder = tokenizer(room / "tokenizer", "llama")
    settings = EncodeSettings(str(folder), SEQUENCE, MaskRule(trained))  # type: ignore[arg-type]
    store = prepare_chats(ChatSource(str(file)), settings, room, None)
    drawing = ChatDrawing(sequence=SEQUENCE, batch=1, seed=1)
    return ChatBatches({"chats": store}, drawing).step(3)


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> dict[str, list[Microbatch]]:
    room = tmp_path_factory.mktemp("room")
    found = {trained: microbatches(room / trained, trained) for trained in ("all", "answers")}
    assert all(len(batch.documents.unique()) > 2 for batch in found["all"])
    return found


def alone(case: Case, spec, batches: list[Microbatch]) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Gradients, and lp [b, s] of each microbatch, from each chat by itself, with no mask and no positions given."""
    model = reference_model(spec, case)
    total = sum(batch.target_count for batch in batches)
    found = []
    for batch in batches:
        lps = torch.zeros(batch.tokens.shape, dtype=case.dtype)
        for document in batch.documents.unique():
            here = batch.documents == document
            logits = model(batch.tokens[here][None]).logits[0]
            targets = batch.targets[here]
            lp = -F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
            if (targets != IGNORE).any():
                (-lp.sum() / total).backward(retain_graph=False)
            lps[here] = lp.detach()
        found.append(lps)
    return {name: parameter.grad for name, parameter in model.named_parameters()}, found


def compare(world, given: tuple[Case, dict[str, list[Microbatch]]]) -> str | None:
    case, batches = given
    if world.rank >= case.ranks:
        return None
    spec = read_spec(config_of(case), attention=case.attention)
    engine = engine_of(case, spec, world.communicators[case.ranks], languages=1)
    with wide_arithmetic():  # norms in float32 sum in another order for a chat alone
        return compared(world, case, engine, batches)


def compared(world, case: Case, engine: Engine, batches: dict[str, list[Microbatch]]) -> str | None:
    limit, faults = TOLERANCE[case.dtype], []
    for trained in ("all", "answers"):
        lps = engine.log_probs(batches[trained])
        result = engine.gradients(batches[trained])
        gradients = assemble(engine, "gradient")
        engine.skip()
        if world.rank:
            continue
        wanted, found = alone(case, engine.spec, batches[trained])
        lp_error = max(float((a - b).abs().max()) for a, b in zip(lps, found, strict=True))
        error, where = worst(gradients, wanted)
        # an lp is a difference of logits and their log-sum-exp, each of some units
        if not lp_error <= 10 * limit:
            faults.append(f"{trained}: an lp is off by {lp_error:.1e}")
        if not error <= limit:
            faults.append(f"{trained}: gradient of {where} is off by {error:.1e}")
        if result.targets != sum(batch.target_count for batch in batches[trained]):
            faults.append("targets are counted otherwise")
    return "; ".join(faults) or None


@pytest.mark.parametrize(
    ("ranks", "barriers", "tied"),
    [(2, 1, True), pytest.param(3, 2, False, marks=only_full), pytest.param(1, 0, True, marks=only_full)],
)
def test_packed_chats_are_as_alone_for_every_architecture(pool, batches, ranks, barriers, tied):
    base = Case(vocabulary=700, ranks=ranks, barriers=barriers, tied=tied, microbatches=3)
    wrong = []
    for architecture in ARCHITECTURES:
        for dtype in (torch.float64, torch.float32):
            if dtype is torch.float32 and not FULL and architecture not in ("gemma3_text", "qwen3"):
                continue
            case = replace(base, architecture=architecture, dtype=dtype)
            found = pool.run("tests.distributed.test_chats:compare", (case, batches))[0]
            wrong += [f"{architecture} {dtype}: {found}"] if found else []
    assert not wrong, "\n".join(wrong)


def test_prompts_never_reach_the_head(pool, batches):
    """What C0 carries are the hidden states of tokens with a target, and no others."""
    case = Case(vocabulary=700, ranks=2, microbatches=3)
    assert pool.run("tests.distributed.test_chats:bytes_of_c0", (case, batches["answers"]))[0]


def bytes_of_c0(world, given: tuple[Case, list[Microbatch]]) -> bool | None:
    case, batch = given
    if world.rank >= case.ranks:
        return None
    spec = read_spec(config_of(case))
    engine = engine_of(case, spec, world.communicators[case.ranks], languages=1)
    sent = engine.gradients(batch).bytes_sent["C0"]
    targets = sum(b.target_count for b in batch)
    assert targets < sum(b.tokens.numel() for b in batch) / 2
    return sent == case.ranks * targets * spec.config.hidden_size * case.dtype.itemsize
