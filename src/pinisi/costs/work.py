"""Counts the floating-point operations, traffic and kept bytes of each part of a model, for one microbatch.

T tokens of a microbatch in sequences of s, h hidden, V vocabulary, e bytes of a number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pinisi.costs.shape import Shape

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}

# Bytes of traffic per logit of a head whose softmax isn't fused. Forward: logits to fp32 (2 + 4), their maximum (4), less
# it (4 + 4), exponentials (4 + 4), their sum (4), quotients (4 + 4). Backward: times g (4 + 4), to 16 bit (4 + 2). These are
# the steps of Megatron-LM's vocab-parallel cross-entropy.
LOGIT_FORWARD = 38.0
LOGIT_BACKWARD = 14.0
# Where T makes a logit again: to fp32 (2 + 4), less the maximum (4 + 4), exponential (4 + 4), to 16 bit (4 + 2).
LOGIT_AGAIN = 28.0
# Kept per logit at the most crowded moments of an undivided head, beside what `kept` counts: in forward the logits, their
# fp32 copy and the exponentials; in backward the fp32 gradient and its 16-bit copy, with the weight's gradient beside.
LOGITS_FORWARD_PEAK = 8.0
LOGITS_BACKWARD_PEAK = 6.0
# Kept per logit of a shard at S's and T's most crowded moment: the exponentials in 16 bit and one fp32 copy.
SHARD_PEAK = 6.0
# Kernels of a layer's forward, and of S or T.
LAYER_KERNELS = 16
HEAD_KERNELS = 24
# How `vocabulary.head_pass`, which plans don't import, cuts a shard: columns of a tile that is worked on beside kept ones, at
# least and at most, by device; and the numbers of a block that 16-bit work on a CPU takes beside them, likewise.
TILE_COLUMNS = {"cpu": (256, 2048), "cuda": (2048, 8192)}
CPU_BLOCKS = 2**15, 2**18


@dataclass(frozen=True)
class Setting:
    """How a model is trained: what a microbatch is and what is kept.

    sequence: tokens of a sequence; microbatch: sequences of a microbatch. recompute: a layer keeps its input only.
    masked: documents share a sequence: dense attention then takes a mask, for which grouped keys and values are repeated.
    attention: what computes it, of `models.attention.BACKENDS`; only dense makes masks and keeps scores.
    dense: the embedding's gradient of a microbatch is made for all of a rank's rows (autograd's way, which Pinisi
    takes with 0 barriers only). late_head: the weight gradient of an undivided head is made in W (Pinisi makes it in B).
    head_budget: bytes of [T, V_r] numbers that a split head's microbatch may hold; None: all are kept from S to T; 0: none.
    gradient, state: bytes per parameter; by default Pinisi's own: fp32 gradients, fp32 master weights and Adam's moments,
    the master being the weight itself in fp32 and fp64. moments: "master", whose dtype they then have, or "bfloat16".
    owners: replicas that the optimizer is shared out over (ZeRO-1); 1: each has a whole one.
    """

    sequence: int
    microbatch: int = 1
    dtype: str = "bfloat16"
    recompute: bool = False
    head_budget: int | None = None
    masked: bool = True
    attention: str = "dense"
    dense: bool = False
    late_head: bool = True
    gradient: float = 0.0
    state: float = 0.0
    moments: str = "master"
    owners: int = 1

    def __post_init__(self) -> None:
        full = 8.0 if self.dtype == "float64" else 4.0
        if not self.gradient:
            object.__setattr__(self, "gradient", full)
        if not self.state:
            moments = 4.0 if self.moments == "bfloat16" else 2 * full
            object.__setattr__(self, "state", moments + (4.0 if self.element == 2 else 0.0))

    @property
    def element(self) -> int:
        """e: bytes of a weight or an activation."""
        return BYTES[self.dtype]

    @property
    def tokens(self) -> int:
        """T: tokens of a microbatch."""
        return self.sequence * self.microbatch

    @property
    def parameter(self) -> float:
        """Bytes per parameter that training reads and writes, and that are always held where the optimizer is whole."""
        return self.element + self.gradient + self.state

    @property
    def held(self) -> float:
        """Bytes per parameter that a rank always holds."""
        return self.element + self.gradient + self.state / self.owners


# -- floating-point operations of a forward; a backward has twice as many -----------------------------------------------


def layer_products(shape: Shape, tokens: int) -> float:
    """FLOPs of a layer's matrices: 2 per parameter and token."""
    return 2.0 * tokens * shape.matrices


def attention_products(shape: Shape, setting: Setting) -> float:
    """FLOPs of scores and values, every token with every token of its sequence: 4·T·s·(heads · head width)."""
    return 4.0 * setting.tokens * setting.sequence * shape.heads * shape.head_dim


def head_products(shape: Shape, tokens: int, rows: int | None = None) -> float:
    """FLOPs of the logits of some rows (of all, if not given), at every output."""
    return 2.0 * tokens * shape.outputs * shape.hidden * (shape.vocabulary if rows is None else rows)


def head_columns(shape: Shape, setting: Setting, rows: int, device: str = "cuda") -> tuple[int, int]:
    """Of a shard's columns, those that are kept from S to T and those that are worked on beside them, as `HeadShard` cuts them
    on that device, "cpu" or "cuda": a budget holds both, and T makes the rest again."""
    if setting.head_budget is None:
        return rows, 0
    column = setting.tokens * shape.outputs * setting.element
    left = max(0, setting.head_budget - _blocks_bytes(shape, setting, device))
    if column * rows <= left:
        return rows, 0
    narrow, wide = TILE_COLUMNS[device]
    widest = min(wide, max(narrow, rows // 8 // 64 * 64))
    if setting.head_budget:
        widest = min(widest, max(64, left // column // 64 * 64))
        if widest > narrow:  # most of a small budget is for what is kept
            widest = min(widest, max(narrow, left // (8 * column) // 64 * 64))
    tiles = -(-rows // widest)
    width = min(rows, -(-rows // (64 * tiles)) * 64)
    return max(0, left - column * width) // column // width * width, width


def _blocks_bytes(shape: Shape, setting: Setting, device: str) -> int:
    """Of a budget, what 16-bit work on a CPU takes for blocks and a part of dW."""
    if device != "cpu" or setting.element > 2:
        return 0
    least, most = CPU_BLOCKS
    wide = TILE_COLUMNS[device][1]
    tokens, hidden = setting.tokens * shape.outputs, shape.hidden
    block = max(least, min(most, tokens * max(wide, hidden) // 16))
    part = -(-wide * tokens // (5 * (tokens + hidden) * 32)) * 32
    return 4 * block + setting.element * part * hidden


def made_again(shape: Shape, setting: Setting, rows: int, device: str = "cuda") -> float:
    """The share of a shard's logits that T makes again: 0 to 1."""
    return 1 - head_columns(shape, setting, rows, device)[0] / rows if rows else 0.0


def model_flops(shape: Shape, setting: Setting) -> float:
    """FLOPs of one microbatch, forward and backward, recomputation not counted (arXiv 2104.04473, section 5.1): for MFU."""
    layer = layer_products(shape, setting.tokens) + attention_products(shape, setting)
    return 3.0 * ((shape.layers + shape.extra_heads) * layer + head_products(shape, setting.tokens))


def head_layers(shape: Shape, setting: Setting) -> float:
    """w: the head's work in layers."""
    layer = layer_products(shape, setting.tokens) + attention_products(shape, setting)
    return head_products(shape, setting.tokens) / layer


# -- what a forward keeps for its backward ------------------------------------------------------------------------------


def kept(shape: Shape, setting: Setting, layer: int = 0) -> dict[str, float]:
    """Bytes of a layer's tensors that autograd saves, by kind; parameters, masks and rotary tables not counted.

    norms: a norm's fp32 input, statistics and normalised product. attention: what enters the products, q, k, v, the
    output and the softmax's statistics (or its scores, where they are not fused). mlp: what enters the products and the
    activation. With dropout (a GPT of Megatron-LM, flash attention) the sum is 34·T·h (arXiv 2205.05198, eq. 2, without
    the scores). With recomputation only the layer's input is kept.
    """
    t, h, e = setting.tokens, shape.hidden, setting.element
    if setting.recompute:
        return {"inputs": float(t * h * e)}
    if shape.dropout:  # arXiv 2205.05198, section 4.1
        return {"norms": 4.0 * t * h, "attention": 11.0 * t * h, "mlp": 19.0 * t * h}
    product = 4 if shape.full_norms else e
    wide = max(4, e)
    norms = shape.norms * (h * (wide + max(product, e)) + wide)
    for width, groups in shape.head_norms:
        norms += width * (wide + max(product, e)) + wide * groups
    q = shape.heads * shape.head_dim
    bounds = setting.attention != "dense"
    repeated = setting.masked or shape.attention != "fused" or shape.windows[layer] is not None
    kv = q if repeated and not bounds else shape.kv_heads * shape.head_dim
    attention = e * (h + q + 2 * kv + q)
    if (
        bounds and shape.attention == "fused"
    ):  # blocks and flex join or turn their output, which is then kept twice
        attention += wide * shape.heads + (e * q if setting.attention in ("blocks", "flex") else 0)
    elif bounds:
        # flex keeps its output twice and statistics; blocks compute soft-capped scores again and keep neither
        attention += e * q + wide * shape.heads if setting.attention == "flex" else 0
    elif shape.attention == "fused":
        attention += wide * shape.heads
    else:  # probabilities in fp32 and in the model's dtype, and with a soft-cap its tanh
        same = 1 if e >= 4 else 2
        scores = wide + (same - 1) * e + (e if shape.attention == "softcap" else 0)
        attention += scores * setting.sequence * shape.heads
    mlp = e * (h + (4 if shape.gated else 2) * shape.ffn)
    return {"norms": float(t * norms), "attention": float(t * attention), "mlp": float(t * mlp)}


def shared_bytes(shape: Shape, setting: Setting) -> float:
    """Bytes that a microbatch's layers share on a rank: masks and rotary tables."""
    if shape.positions:
        return 0.0
    dense = setting.masked and setting.attention == "dense"
    masks = len(set(shape.windows)) * setting.sequence if dense else 0
    return float(setting.tokens * setting.element * (masks + 2 * shape.head_dim))


def layer_traffic(shape: Shape, setting: Setting) -> float:
    """Bytes that a layer's element-wise kernels read and write in a forward.

    What is kept is written once and read about twice (as the input of a kernel and of the next), residuals included.
    """
    return 3.0 * sum(kept(shape, replace(setting, recompute=False)).values())
