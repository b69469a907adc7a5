"""Packed pairs of answers in a pipeline: log-probabilities, losses and gradients are those of each answer alone in one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pinisi.base.ids import IGNORE
from pinisi.bench.packed_exact import wide_arithmetic
from pinisi.data.batches import Microbatch
from pinisi.data.conversations.encode import MaskRule
from pinisi.data.conversations.pair_batches import PairDrawing, pair_microbatch
from pinisi.data.conversations.prepare import EncodeSettings, prepare_chats
from pinisi.data.conversations.records import ChatSource
from pinisi.engine.engine import Engine
from pinisi.losses import loss_named
from pinisi.models import read_spec
from tests.data.conversations.made import tokenizer, write_chats
from tests.distributed.cases import TOLERANCE, Case, assemble, config_of, engine_of, reference_model, worst
from tests.effort import FULL, only_full
from tests.losses.formulas import SETTINGS, plain_loss

ARCHITECTURES = ["qwen2", "llama", "gemma2", "mistral", "qwen3", "gemma3_text", "phi3", "olmo2"]
SEQUENCE, BETA = 90, 0.2
Given = tuple[Case, str, list[Microbatch]]


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> list[Microbatch]:
    """Three microbatches of two and of three pairs: rows of several answers of many lengths, one half without a target."""
    room: Path = tmp_path_factory.mktemp("room")
    pairs = [
        {"prompt": "w" * (1 + n % 4), "chosen": "no" * (1 + n % 5), "rejected": "yes" * (1 + 3 * n % 7)}
        for n in range(8)
    ]
    file = write_chats(room / "pairs.jsonl", pairs)
    folder = tokenizer(room / "tokenizer", "llama")
    settings = EncodeSettings(str(folder), SEQUENCE, MaskRule("last"), record="pair")
    store = prepare_chats(ChatSource(str(file)), settings, room, None)
    drawing = PairDrawing(sequence=SEQUENCE, batch=3, seed=1)
    found = [pair_microbatch(store, numbers, drawing) for numbers in ([0, 1, 2], [3, 4, 5], [6, 7])]
    assert len({len(batch.tokens) for batch in found}) > 1
    assert all(any(len(row.unique()) > 2 for row in batch.loss_data["sequences"]) for batch in found)
    found[1].targets[found[1].loss_data["sequences"] == 3] = IGNORE
    return found


def alone(case: Case, name: str, spec, batches: list[Microbatch]) -> tuple[float, dict, list, list]:
    """The step's loss, all gradients, lp [b, s] of each microbatch and the references' sums, from each answer by itself, with no
    mask and no positions given. The reference is drawn about the model's own sums."""
    model, random = reference_model(spec, case), torch.Generator().manual_seed(3)
    pairs = sum(len(batch.loss_data["pairs"]) for batch in batches)
    value, lps, references = torch.zeros((), dtype=case.dtype), [], []
    for batch in batches:
        lp, sums, sizes = torch.zeros(batch.tokens.shape, dtype=case.dtype), [], []
        for answer in range(2 * len(batch.loss_data["pairs"])):
            here = batch.loss_data["sequences"] == answer
            logits, targets = model(batch.tokens[here][None]).logits[0], batch.targets[here]
            found = -F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
            lp[here] = found.detach()
            sums.append(found.double().sum())  # as a loss adds them: of some 100 nats fp32 knows six digits
            sizes.append(int((targets != IGNORE).sum()))
        about = torch.tensor([float(each) for each in sums], dtype=torch.float64)
        reference = about + torch.randn(len(about), generator=random, dtype=torch.float64)
        for n in range(0, len(sums), 2):
            side = slice(n, n + 2)
            value = value + plain_loss(name, *sums[side], reference[side].tolist(), sizes[side], BETA)
        lps.append(lp)
        references.append(reference)
    (value / pairs).backward()
    return value.item() / pairs, {n: p.grad for n, p in model.named_parameters()}, lps, references


def compare(world, given: Given) -> str | None:
    case, name, batches = given
    if world.rank >= case.ranks:
        return None
    spec = read_spec(config_of(case), attention=case.attention)
    loss = loss_named(name, beta=BETA, **SETTINGS[name])
    engine = engine_of(case, spec, world.communicators[case.ranks], languages=1, loss=loss)
    with wide_arithmetic():  # norms in float32 sum in another order for an answer alone
        return compared(case, name, engine, batches)


def compared(case: Case, name: str, engine: Engine, batches: list[Microbatch]) -> str | None:
    limit, faults = TOLERANCE[case.dtype], []
    value, wanted, alone_lps, references = alone(case, name, engine.spec, batches)
    lps = engine.log_probs(batches)
    given = [
        replace(batch, loss_data={**batch.loss_data, "reference": reference})
        for batch, reference in zip(batches, references, strict=True)
    ]
    result = engine.gradients(given)
    lp_error = max(float((a - b).abs().max()) for a, b in zip(lps, alone_lps, strict=True))
    error, where = worst(assemble(engine, "gradient"), wanted)
    # an lp is a difference of logits and their log-sum-exp, each of some units
    if not lp_error <= 10 * limit:
        faults.append(f"an lp is off by {lp_error:.1e}")
    if not abs(result.loss - value) <= limit * abs(value):
        faults.append(f"the loss is {result.loss}, needed {value}")
    if not error <= limit:
        faults.append(f"gradient of {where} is off by {error:.1e}")
    if not 0 <= result.measures["accuracy"] <= 1:
        faults.append(f"measures are {result.measures}")
    return "; ".join(faults) or None


@pytest.mark.parametrize(
    ("ranks", "barriers", "tied"),
    [(2, 1, True), pytest.param(3, 2, False, marks=only_full), pytest.param(1, 0, True, marks=only_full)],
)
def test_packed_pairs_are_as_alone_for_every_architecture(pool, batches, ranks, barriers, tied):
    base = Case(vocabulary=700, ranks=ranks, barriers=barriers, tied=tied, microbatches=3)
    wrong = []
    for architecture in ARCHITECTURES:
        for dtype in (torch.float64, torch.float32):
            if dtype is torch.float32 and not FULL and architecture != "gemma3_text":
                continue
            case = replace(base, architecture=architecture, dtype=dtype)
            found = pool.run("tests.distributed.test_pairs:compare", (case, "lr_dpo", batches))[0]
            wrong += [f"{architecture} {dtype}: {found}"] if found else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("barriers", [1, 2])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_every_loss_is_that_of_one_process(pool, batches, name, ranks, barriers, tied, dtype):
    case = Case(
        vocabulary=700, ranks=ranks, barriers=barriers, tied=tied, dtype=dtype, microbatches=3, rows="uneven"
    )
    assert pool.run("tests.distributed.test_pairs:compare", (case, name, batches))[0] is None
