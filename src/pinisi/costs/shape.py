"""Holds the sizes of a model that its work and memory follow from: of a Hugging Face model or of a plain GPT."""

from __future__ import annotations

from dataclasses import dataclass, field

from pinisi.base.errors import ConfigError
from pinisi.models import ModelSpec, parameter_shapes

# Whose norms multiply by their weight in fp32, so that the fp32 product is what autograd keeps.
_FULL_NORMS = frozenset(("gemma2", "gemma3_text", "olmo2"))


@dataclass(frozen=True)
class Shape:
    """One decoder, all of whose layers have the same parameters.

    matrices, vectors: parameters of a layer in its matrices and in its norms and biases; tensors: in how many tensors.
    ffn: the inner width of the MLP; gated: whether it has a gate beside it. norms: norms of width hidden in a layer;
    head_norms: (width over all heads, norms in it) of queries and keys; full_norms: they multiply in fp32. windows: per
    layer how many positions a token sees, None for all. positions: rows of a learned position embedding. dropout: masks
    of one byte are kept. eager: attention's scores are kept ("softcap": twice); else a fused kernel keeps their
    statistics.
    """

    hidden: int
    layers: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    gated: bool
    matrices: int
    vectors: int
    tensors: int
    norms: int
    head_norms: tuple[tuple[int, int], ...]
    full_norms: bool
    tied: bool
    windows: tuple[int | None, ...]
    positions: int = 0
    final_norm: int = 0  # parameters of the last norm
    dropout: bool = False
    attention: str = "fused"  # fused, eager, softcap
    extra_heads: int = field(
        default=0, repr=False
    )  # D layers beside the last; a measured model is known without them

    @property
    def layer_parameters(self) -> int:
        return self.matrices + self.vectors

    @property
    def outputs(self) -> int:
        """How many hidden states of a token the LM head sees."""
        return 1 + self.extra_heads

    @property
    def vocabulary_parameters(self) -> int:
        """Of embedding or head, each."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """Of the whole model and its extra heads; a tied head's are the embedding's."""
        ends = self.vocabulary_parameters * (1 if self.tied else 2) + self.positions * self.hidden
        return (self.layers + self.extra_heads) * self.layer_parameters + ends + self.final_norm


def shape_of(spec: ModelSpec) -> Shape:
    """A Hugging Face model's; raises ConfigError if its layers differ in their parameters."""
    config = spec.config
    layer = parameter_shapes(spec, range(1), embedding=False, head=False, norm=False)
    last = parameter_shapes(
        spec, range(spec.layers - 1, spec.layers), embedding=False, head=False, norm=False
    )
    if sorted(layer.values()) != sorted(last.values()):
        raise ConfigError(
            f"{spec.model_type}: its layers have different parameters, which the planner can't count"
        )
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or spec.hidden // heads
    vectors = {name: shape.numel() for name, shape in layer.items() if len(shape) == 1}
    head_norms = tuple(
        (count * head_dim, count * head_dim // numbers)
        for name, count in (("q_norm", heads), ("k_norm", kv_heads))
        for key, numbers in vectors.items()
        if key.endswith(name + ".weight")
    )
    softcap = getattr(config, "attn_logit_softcapping", None)
    attention = "fused" if spec.attention == "sdpa" else "eager" if softcap is None else "softcap"
    return Shape(
        hidden=spec.hidden,
        layers=spec.layers,
        vocabulary=spec.vocabulary,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=config.intermediate_size,
        gated=True,
        matrices=sum(shape.numel() for shape in layer.values() if len(shape) == 2),
        vectors=sum(vectors.values()),
        tensors=len(layer),
        norms=sum(
            key.endswith("norm.weight") and not key.endswith(("q_norm.weight", "k_norm.weight"))
            for key in vectors
        ),
        head_norms=head_norms,
        full_norms=spec.model_type in _FULL_NORMS,
        tied=spec.tied,
        windows=tuple(None if kind == "full_attention" else spec.window for kind in spec.attention_types),
        final_norm=spec.hidden,
        attention=attention,
        extra_heads=spec.extra_heads,
    )


def gpt_shape(hidden: int, layers: int, heads: int, vocabulary: int, positions: int) -> Shape:
    """A GPT as Megatron-LM has it: MLP of four times the width, biases, LayerNorm, dropout, learned positions, head untied.

    A layer has 12h² + 13h parameters (arXiv 2104.04473, section 5.1).
    """
    return Shape(
        hidden=hidden,
        layers=layers,
        vocabulary=vocabulary,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=4 * hidden,
        gated=False,
        matrices=12 * hidden**2,
        vectors=13 * hidden,
        tensors=12,
        norms=2,
        head_norms=(),
        full_norms=False,
        tied=False,
        windows=(None,) * layers,
        positions=positions,
        final_norm=2 * hidden,
        dropout=True,
    )
