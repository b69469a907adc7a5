import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pinisi.base.errors import ModelError
from pinisi.models import FolderWeights, RandomWeights, write_folder
from pinisi.models import weights as weights_module

from .tiny import NAMES, tiny_spec

EMBEDDING, HEAD, UP = "model.embed_tokens.weight", "lm_head.weight", "model.layers.1.mlp.up_proj.weight"
FIRST = [0.0704195, -0.3159320, -0.3757675]  # of seed 42, at initializer_range 0.2
TALL = 2500  # rows: two whole blocks and a part of one


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, TALL), max_size=4), name=st.sampled_from([EMBEDDING, HEAD]))
def test_a_random_start_is_the_same_however_its_rows_are_split(cuts, name):
    spec = tiny_spec("gemma2", vocab_size=TALL, hidden_size=6, pad_token_id=1500)
    weights = RandomWeights(spec, 11)
    whole = weights.get(name)
    edges = [0, *sorted(cuts), TALL]
    pieces = [weights.get(name, range(a, b)) for a, b in itertools.pairwise(edges)]
    assert torch.equal(torch.cat(pieces), whole)
    assert (whole[1500] == 0).all() == (name == EMBEDDING)


def test_a_shard_draws_no_more_than_its_blocks(monkeypatch):
    drawn = []
    real = torch.randn
    monkeypatch.setattr(torch, "randn", lambda shape, **kw: drawn.append(shape[0]) or real(shape, **kw))
    weights = RandomWeights(tiny_spec("llama", vocab_size=TALL), 0)
    weights.get(EMBEDDING, range(1030, 1040))
    assert drawn == [1024]
    weights.get(EMBEDDING, range(1000, 1030))
    assert drawn == [1024] * 3
    assert weights.get(EMBEDDING, range(7, 7)).shape == (0, 36)
    assert len(drawn) == 3


def test_a_random_start_depends_on_seed_name_and_block_and_not_on_dtype():
    spec = tiny_spec("llama", vocab_size=2048)
    weights = RandomWeights(spec, 1)
    embedding = weights.get(EMBEDDING)
    assert not torch.equal(embedding, RandomWeights(spec, 2).get(EMBEDDING))
    assert not torch.equal(embedding, weights.get(HEAD))
    assert not torch.equal(embedding[:1024], embedding[1024:])
    assert not torch.equal(weights.get(UP), weights.get(UP.replace("1", "2")))
    assert torch.equal(embedding.to(torch.bfloat16), RandomWeights(spec, 1, torch.bfloat16).get(EMBEDDING))
    assert torch.equal(embedding.double(), RandomWeights(spec, 1, torch.float64).get(EMBEDDING))


def test_a_random_start_never_changes():
    """Runs resumed with a later version must not get another start: these are the first values as
    released."""
    found = RandomWeights(tiny_spec("llama"), 42).get(UP, range(0, 1))[0, :3]
    assert torch.allclose(found, torch.tensor(FIRST), atol=1e-7)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_random_start_follows_transformers(name, tied):
    """Constants are equal, drawn parameters have the same mean and spread."""
    spec = tiny_spec(name, tie_word_embeddings=tied, pad_token_id=5, initializer_range=0.07)
    torch.manual_seed(0)
    model = spec.architecture.part("ForCausalLM")(spec.config)
    weights = RandomWeights(spec, 0)
    theirs = dict(model.named_parameters())
    assert set(weights.names()) == set(theirs)
    for key, parameter in theirs.items():
        ours = weights.get(key)
        if parameter.std() == 0 or parameter.ndim == 1:
            assert torch.equal(ours, parameter), key
        else:
            error = 6 / parameter.numel() ** 0.5  # six times what chance gives, at most
            assert abs(ours.mean()) < 0.07 * error, key
            assert abs(ours.std() / parameter.std() - 1) < error, key
            assert torch.equal((ours == 0).all(1), (parameter == 0).all(1)), key


def test_rows_and_names_that_are_not_there():
    weights = RandomWeights(tiny_spec("llama"), 0)
    for rows in (range(1000, 1010), range(-1, 3), range(0, 6, 2)):
        with pytest.raises(ModelError, match="has 1009 rows"):
            weights.get(EMBEDDING, rows)
    with pytest.raises(ModelError, match=r"layers\.4\.mlp\.up_proj\.weight is not a parameter"):
        weights.get("model.layers.4.mlp.up_proj.weight")


@pytest.fixture(params=[10**9, 30_000], ids=["one file", "several files"])
def saved(request, tmp_path):
    spec = tiny_spec("qwen2")
    weights = RandomWeights(spec, 7)
    write_folder(
        spec, ((n, weights.get(n)) for n in weights.names()), tmp_path / "m", max_shard_bytes=request.param
    )
    return spec, weights, tmp_path / "m"


def test_a_folder_gives_back_tensors_and_rows(saved):
    spec, weights, folder = saved
    found = FolderWeights(spec, folder)
    assert set(found.names()) == set(weights.names())
    for name in weights.names():
        assert torch.equal(found.get(name), weights.get(name))
    for rows in (range(0, 1009), range(3, 500), range(1008, 1009), range(17, 17)):
        assert torch.equal(found.get(EMBEDDING, rows), weights.get(EMBEDDING, rows))
    assert FolderWeights(spec, folder, torch.float64).get(UP).dtype == torch.float64
    with pytest.raises(ModelError, match="has 1009 rows"):
        found.get(EMBEDDING, range(1000, 1010))


def test_only_the_asked_rows_are_read(saved, monkeypatch):
    spec, _, folder = saved
    asked = []

    class Recorder:
        def __init__(self, file):
            self.file = file

        def get_slice(self, name):
            piece = self.file.get_slice(name)

            class Slice:
                get_shape = staticmethod(piece.get_shape)
                get_dtype = staticmethod(piece.get_dtype)

                def __getitem__(self, rows):
                    asked.append((name, rows))
                    return piece[rows]

            return Slice()

    real = weights_module.open_file
    weights = FolderWeights(spec, folder)
    monkeypatch.setattr(weights_module, "open_file", lambda path: Recorder(real(path)))
    weights.get(HEAD, range(5, 9))
    assert asked == [(HEAD, slice(5, 9))]


def resave(folder, change):
    """Rewrites a one-file model with `change` applied to its dict of tensors."""
    tensors = load_file(folder / "model.safetensors")
    changed = change(tensors)
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    return changed


@pytest.fixture
def one_file(tmp_path):
    def make(name="qwen2", **changes):
        spec = tiny_spec(name, **changes)
        weights = RandomWeights(spec, 7)
        write_folder(spec, ((n, weights.get(n)) for n in weights.names()), tmp_path / "m")
        return spec, weights, tmp_path / "m"

    return make


def test_either_name_gives_the_tied_matrix(one_file):
    spec, weights, folder = one_file(tie_word_embeddings=True)
    expected = weights.get(EMBEDDING)
    assert torch.equal(weights.get(HEAD), expected)
    assert torch.equal(FolderWeights(spec, folder).get(HEAD, range(3, 9)), expected[3:9])
    resave(folder, lambda t: {HEAD if n == EMBEDDING else n: v for n, v in t.items()})
    found = FolderWeights(spec, folder)
    assert torch.equal(found.get(EMBEDDING), expected)
    assert EMBEDDING in found.names()
    resave(folder, lambda t: {**t, EMBEDDING: t[HEAD].clone()})
    assert torch.equal(FolderWeights(spec, folder).get(EMBEDDING), expected)
    resave(folder, lambda t: {**t, EMBEDDING: t[HEAD] + 1})
    with pytest.raises(ModelError, match="tie_word_embeddings to false"):
        FolderWeights(spec, folder).get(EMBEDDING)


def test_an_untied_model_needs_its_head(one_file):
    spec, _, folder = one_file()
    resave(folder, lambda t: {n: v for n, v in t.items() if n != HEAD})
    weights = FolderWeights(spec, folder)
    assert HEAD not in weights.names()
    with pytest.raises(ModelError, match=r"has no tensor lm_head\.weight"):
        weights.get(HEAD)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda name: name.removeprefix("model."),
        lambda name: f"language_model.{name}",
        lambda name: name.replace("model.", "model.language_model."),
    ],
)
def test_other_prefixes_are_known(one_file, spelling):
    spec, weights, folder = one_file()
    resave(folder, lambda t: {spelling(n): v for n, v in t.items()})
    found = FolderWeights(spec, folder)
    assert found.names() == weights.names()
    assert torch.equal(found.get(UP), weights.get(UP))


def test_a_wrong_shape_names_file_and_tensor(one_file):
    spec, _, folder = one_file()
    resave(folder, lambda t: {**t, EMBEDDING: t[EMBEDDING][:1000]})
    with pytest.raises(ModelError, match=r"embed_tokens.*model\.safetensors has shape \[1000, 36\].*\[1009"):
        FolderWeights(spec, folder).get(EMBEDDING, range(3))


@pytest.mark.parametrize("keep", [0, 5, 300, -7])
def test_a_truncated_file_is_named(one_file, keep):
    spec, _, folder = one_file()
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors is truncated"):
        FolderWeights(spec, folder).get(UP)


def test_a_truncated_shard_and_a_stale_index_are_named(saved):
    spec, _, folder = saved
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return
    content = json.loads(index.read_text())
    shard = folder / content["weight_map"][UP]
    other = next(f for n, f in content["weight_map"].items() if f != shard.name)
    index.write_text(json.dumps({**content, "weight_map": {**content["weight_map"], UP: other}}))
    with pytest.raises(ModelError, match=f"up_proj.*{other}"):
        FolderWeights(spec, folder).get(UP)
    index.write_text(json.dumps(content))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ModelError, match=f"{shard.name} is truncated"):
        FolderWeights(spec, folder).get(UP)
    shard.unlink()
    with pytest.raises(ModelError, match=rf"index\.json says that .* is in {shard.name}, which is missing"):
        FolderWeights(spec, folder)
    index.write_text("{}")
    with pytest.raises(ModelError, match="is not a safetensors index"):
        FolderWeights(spec, folder)


def test_pickled_weights_are_not_read(tmp_path):
    torch.save({UP: torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights are not read"):
        FolderWeights(tiny_spec("llama"), tmp_path)
    with pytest.raises(ModelError, match="is not a folder"):
        FolderWeights(tiny_spec("llama"), tmp_path / "nowhere")
