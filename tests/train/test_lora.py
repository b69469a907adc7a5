"""Adapters in a run: against peft in one process, over a kill, and as the two exports that come of them."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pinisi import configure, run
from pinisi.base import libraries
from pinisi.base.errors import CheckpointError, ConfigError, DataError
from pinisi.cookbook.sft import SftOptions, sft_config
from pinisi.data.conversations.batches import ChatBatches, ChatDrawing
from pinisi.evaluate.model_source import open_model
from pinisi.launch.check import check
from pinisi.models import AdaptedWeights, FolderWeights, RandomWeights, read_spec, with_adapters, write_folder
from pinisi.train import checkpoint
from pinisi.train.export import export
from tests.effort import only_full
from tests.engine.runs import continued, pinisi
from tests.train.test_prefer import pairs, prefer
from tests.train.test_sft import MODEL, RATE, SEQUENCE, chats, made_model, model, sft, store_of, total_losses

__all__ = ["chats", "model", "pairs"]  # fixtures

STEPS, LORA = 3, {"rank": 4, "alpha": 6.0}


def adapters(start: Path, file: Path, folder: Path, **sections: dict):
    """A run that trains adapters alone."""
    return sft(start, file, folder, STEPS, lora=LORA, checkpoint={"every": 1, "keep": 9}, **sections)


@pytest.fixture(scope="module")
def trained(model, chats, tmp_path_factory):
    """A run of two ranks: its folder and its losses."""
    folder = tmp_path_factory.mktemp("lora") / "run"
    return folder, total_losses(run(adapters(model, chats, folder)))


def pefts(model: Path) -> torch.nn.Module:
    """peft's model in fp64, with the start that a run's adapters have."""
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    given = peft.LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM")
    found = peft.get_peft_model(base, given, autocast_adapter_dtype=False)
    spec = with_adapters(read_spec(model), 4, alpha=6.0)
    weights = AdaptedWeights(spec, FolderWeights(spec, model), 5, torch.float64)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(weights.get(name.replace(".default.", ".").removeprefix("base_model.model.")))
    return found


def test_losses_equal_pefts_in_one_process(model, chats, trained, tmp_path):
    learner, store = pefts(model).train(), store_of(model, chats, tmp_path)
    learns = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learns, RATE, (0.9, 0.95), eps=1e-8, weight_decay=0.0)
    batches = ChatBatches({"chats": store}, ChatDrawing(sequence=SEQUENCE, batch=1, seed=5))
    wanted = []
    for _ in range(STEPS):
        total, count = torch.zeros((), dtype=torch.float64), 0
        for batch in batches.step(4):
            for document in batch.documents[0].unique():
                here = batch.documents[0] == document
                targets = batch.targets[0][here]
                kept = targets != -100
                lp = learner(batch.tokens[:, here]).logits[0].log_softmax(-1)[kept]
                total = total - lp.gather(1, targets[kept][:, None]).sum()
                count += int(kept.sum())
        wanted.append((total / count).item())
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    assert trained[1] == pytest.approx(wanted, rel=1e-6)
    with learner.disable_adapter():
        before = logits_of(learner)
    assert (logits_of(learner) - before).abs().max() > 1e-3, "nothing was learned, so nothing was compared"


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    reader = checkpoint.Reader(folder / "checkpoints" / f"step-{STEPS:08d}")
    kinds = ("weight", "exp_avg", "exp_avg_sq")
    return {f"{kind} {name}": reader.get(name, kind=kind) for name in reader.names() for kind in kinds}


def test_a_resumed_run_has_the_same_bits_and_a_checkpoint_holds_adapters_alone(
    model, chats, trained, tmp_path
):
    whole, _ = trained
    continued(tmp_path / "run", whole, step=2)
    run(adapters(model, chats, tmp_path / "run"))
    found, wanted = state_of(tmp_path / "run"), state_of(whole)
    assert found.keys() == wanted.keys() and all(".lora_" in name for name in found)
    assert all(torch.equal(found[name], wanted[name]) for name in found)


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.arange(5, 25)[None]).logits


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> tuple[Path, Path]:
    """The model with its adapters added, and the adapters alone."""
    room = tmp_path_factory.mktemp("exported")
    assert pinisi("export", str(trained[0]), "--out", str(room / "adapter"), "--adapter").returncode == 0
    return export(trained[0], room / "model"), room / "adapter"


def test_both_exports_are_one_model_that_stays_tied(model, trained, exported):
    merged, adapter = exported
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    before = logits_of(base)
    theirs = peft.PeftModel.from_pretrained(base, adapter, autocast_adapter_dtype=False)
    ours = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float64)
    assert (logits_of(theirs) - logits_of(ours)).abs().max() < 1e-12
    assert (logits_of(ours) - before).abs().max() > 1e-3
    # as trained, whatever was written
    reader = checkpoint.Reader(trained[0] / "checkpoints" / f"step-{STEPS:08d}")
    read = load_file(adapter / "adapter_model.safetensors")
    assert {name.removeprefix("base_model.model.") for name in read} == set(reader.names())
    assert all(torch.equal(read[name], reader.get(name.removeprefix("base_model.model."))) for name in read)


def test_a_tied_model_stays_tied_through_peft_and_through_ours(model, exported, tmp_path):
    """peft#2777: merged, saved and loaded, embedding and head are one matrix still."""
    merged, adapter = exported
    config = json.loads((merged / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    written = load_file(merged / "model.safetensors")
    assert "lm_head.weight" not in written
    embedding = load_file(model / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(written["model.embed_tokens.weight"].float(), embedding)
    ours = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    assert ours.get_output_embeddings().weight.data_ptr() == ours.get_input_embeddings().weight.data_ptr()
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    joined = peft.PeftModel.from_pretrained(base, adapter).merge_and_unload()
    joined.save_pretrained(tmp_path / "theirs")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    assert (logits_of(again) - logits_of(ours)).abs().max() < 1e-6
    assert again.config.tie_word_embeddings is True


def test_a_run_of_adapters_is_measured_as_one_model(trained, exported):
    found = open_model(trained[0])
    written = load_file(exported[0] / "model.safetensors")
    assert found.spec.adapters is None and set(found.weights.names()) == set(written)
    for name, tensor in written.items():
        assert torch.equal(found.weights.get(name), tensor)
        assert torch.equal(found.weights.get(name, range(3, 7)), tensor[3:7])


def test_other_weights_under_the_adapters_are_named(model, chats, trained, tmp_path):
    other = made_model(tmp_path, "qwen3")
    spec = read_spec(MODEL)
    drawn = RandomWeights(spec, 4)
    write_folder(spec, ((name, drawn.get(name)) for name in drawn.names()), other, other)
    continued(tmp_path / "run", trained[0], step=2)
    with pytest.raises(CheckpointError, match="holds adapters of other weights"):
        check(adapters(other, chats, tmp_path / "run"))
    copied = tmp_path / "copied"
    shutil.copytree(trained[0], copied)
    index = copied / "checkpoints" / f"step-{STEPS:08d}"
    reader = checkpoint.Reader(index)
    reader.index["base"] = {**reader.index["base"], "source": str(other)}
    from pinisi.train.adapters import adapted_spec, merged_weights

    with pytest.raises(CheckpointError, match="whose weights are others than when they were trained"):
        merged_weights(reader, adapted_spec(reader, spec), torch.float32)


def test_what_does_not_go_with_adapters_is_refused_by_name(model, chats, trained, tmp_path, monkeypatch):
    for text, sections in {
        "run.start": {"run": {"start": str(tmp_path)}},
        "run.branch": {"run": {"branch": str(tmp_path)}},
        "loss.extra_heads": {"loss": {"extra_heads": 2}},
        "lora.rank": {"lora": {"rank": 0, "targets": ["q_proj"]}},
        "lora.dropout": {"lora": {**LORA, "dropout": 1.0}},
        "lora.alpha": {"lora": {**LORA, "alpha": 0.0}},
    }.items():
        with pytest.raises(ConfigError, match=text):
            sft(model, chats, tmp_path / "none", STEPS, **{"lora": LORA, **sections})
    continued(tmp_path / "run", trained[0], step=2)
    for lora in ({"rank": 0}, {"rank": 8}):
        with pytest.raises(CheckpointError, match=r"holds adapters \(rank 4, .* use another run\.folder"):
            check(sft(model, chats, tmp_path / "run", STEPS, lora=lora))
    with pytest.raises(ConfigError, match="lm_head, whose rows are split"):
        check(sft(model, chats, tmp_path / "none", STEPS, lora={**LORA, "targets": ["lm_head"]}))

    def missing(name: str):
        raise ImportError(name)

    monkeypatch.setattr(libraries, "import_module", missing)
    with pytest.raises(DataError, match=r"peft is not installed: pip install 'pinisi\[lora\]'"):
        check(adapters(model, chats, tmp_path / "none"))


def test_a_whole_model_has_no_adapter_to_export(trained, tmp_path):
    reader = checkpoint.Reader(trained[0] / "checkpoints" / f"step-{STEPS:08d}")
    from pinisi.train.export import _adapter

    with pytest.raises(CheckpointError, match="holds a whole model and no adapters"):
        _adapter(reader, read_spec(MODEL), lambda names: iter(()), tmp_path / "out", None)


def test_pinisi_sft_takes_a_rank_and_a_rate_that_fits(model, chats, tmp_path):
    options = SftOptions(model=str(model), chats=str(chats), out=tmp_path / "run", lora=16)
    made, plain = sft_config(options), sft_config(replace(options, lora=0))
    assert (made.lora.rank, plain.lora.rank) == (16, 0)
    assert made.optimizer.learning_rate > 10 * plain.optimizer.learning_rate


@only_full
def test_the_command_writes_both_exports_and_adapters_run_on_a_random_start(model, chats, tmp_path):
    out = tmp_path / "run"
    keys = ["pipeline.microbatches=2", "data.sequence=96", "run.steps=2"]
    done = pinisi("sft", str(model), str(chats), "--out", str(out), "--lora", "4", "--set", *keys)
    assert done.returncode == 0, done.stderr
    assert (out / "model" / "config.json").is_file() and (out / "adapter" / "adapter_config.json").is_file()
    config = configure(
        run={"folder": tmp_path / "drawn", "steps": 2},
        model={"config": MODEL, "tokenizer": str(model)},
        data={"sequence": SEQUENCE},
        pipeline={"ranks": 1, "microbatches": 2, "barriers": 0},
        optimizer={"learning_rate": RATE},
        lora={"rank": 2, "dropout": 0.1, "targets": ["q_proj", "v_proj"]},
        task={"name": "sft", "chats": str(chats)},
    )
    run(config)
    weights = load_file(export(tmp_path / "drawn", tmp_path / "plain") / "model.safetensors")
    start = RandomWeights(read_spec(MODEL), 0)
    same = {name for name in weights if torch.equal(weights[name], start.get(name))}
    assert {name for name in weights if name not in same} == {
        f"model.layers.{n}.self_attn.{which}_proj.weight" for n in range(3) for which in "qv"
    }


@only_full
def test_preference_with_adapters_begins_at_the_reference_and_leaves_it(model, pairs, tmp_path):
    """The reference is the model without adapters: the first loss is that of a margin of zero, later ones are not."""
    config = prefer(
        model,
        pairs,
        tmp_path / "run",
        6,
        lora={"rank": 8},
        task={"loss": "dpo", "settings": {"beta": 0.3}},
        optimizer={"learning_rate": 5e-3},
    )
    losses = total_losses(run(config))
    assert losses[0] == pytest.approx(math.log(2), rel=1e-6)
    assert min(losses[2:]) < losses[0] - 1e-2
