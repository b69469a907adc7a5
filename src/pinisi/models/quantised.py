"""Reads float8 weights by their scales, and refuses all other quantised ones by name.

A float8 tensor `x.weight` stands for its values times a scale, which a folder keeps as `x.weight_scale_inv` (one for each block
of rows and columns, DeepSeek-V3, arXiv 2412.19437, section 3.3.2) or `x.weight_scale` (one in all, or one a row).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from pinisi.base.errors import ModelError

PLAIN = frozenset({"F64", "F32", "F16", "BF16"})  # what safetensors calls the dtypes that weights may have
FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2"})
SCALES = ("_scale_inv", "_scale")  # behind the weight's own name; both multiply
OF_ACTIVATIONS = (
    ".input_scale",
    ".input_scale_ub",
    ".activation_scale",
    ".output_scale",
)  # beside a weight; none of its values
OF_CACHE = (
    ".k_scale",
    ".v_scale",
    ".kv_scale",
    ".q_scale",
    ".prob_scale",
)  # of keys and values that inference keeps
PACKED = {
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
    ".g_idx": "GPTQ",
    ".weight_packed": "compressed-tensors",
    ".weight_zero_point": "compressed-tensors",
    ".SCB": "bitsandbytes",
    ".weight.absmax": "bitsandbytes",
    ".weight.quant_map": "bitsandbytes",
    "_blocks": "MXFP4",
    ".weight_scale_2": "ModelOpt",
    ".weight_global_scale": "compressed-tensors",
    ".weight_scales": "EETQ",
    "._data": "Quanto",
    "._scale": "Quanto",
    ".W_q": "HQQ",
    ".codebooks": "AQLM",
}
SCALED = (".scales", ".scale", ".codes")  # say as much in a layer of the model, and nothing elsewhere
Kind = Literal["one", "rows", "blocks"]  # what shares a scale
KEYS = ("quantization_config", "compression_config")  # of config.json
ADVICE = (
    "dequantise it first: AutoModelForCausalLM.from_pretrained(FOLDER).dequantize().save_pretrained(NEW_FOLDER), or "
    "take the model's unquantised folder"
)


def check_names(names: Collection[str], where: object) -> None:
    """Raises ModelError for tensors that only packed weights have."""
    for name in names:
        for suffix, method in PACKED.items():
            if name.endswith(suffix):
                raise ModelError(f"{where} is quantised ({method}: it has a tensor {name}); {ADVICE}.")


def check_layers(names: Collection[str], where: object) -> None:
    """Raises ModelError if, of these tensors in places of the model that it has no use for, one is a scale."""
    if (name := next((name for name in names if name.endswith(SCALED)), None)) is not None:
        raise ModelError(f"{where} is quantised (it has a tensor {name}); {ADVICE}.")


def check_dtype(
    name: str, dtype: str, names: Collection[str], where: object, *, scales: bool = False
) -> None:
    """Raises ModelError for a weight whose stored numbers aren't its values, or may not be."""
    if scales and (dtype in PLAIN or dtype == "F8_E8M0"):  # powers of two
        return
    if dtype in PLAIN:
        if (scale := scale_of(name, names)) is not None:
            raise ModelError(
                f"tensor {name} in {where} is stored as {dtype} and has scales ({scale}), so that it is not known whether its "
                f"numbers are its values already; {ADVICE}, or take the scales away if they are."
            )
        return
    if dtype not in FLOAT8 or scales:
        raise ModelError(
            f"tensor {name} in {where} is stored as {dtype}; weights are float64, float32, float16 or bfloat16. If "
            f"the model is quantised, {ADVICE}."
        )
    if scale_of(name, names) is None:
        raise ModelError(
            f"tensor {name} in {where} is stored as {dtype} without its scales ({name}_scale_inv or {name}_scale), so that "
            f"its values are not known; {ADVICE}."
        )


def scale_of(name: str, names: Collection[str]) -> str | None:
    """The name of a float8 weight's scales, if the folder has them."""
    return next((name + suffix for suffix in SCALES if name + suffix in names), None)


def goes_with(name: str, names: Collection[str]) -> bool:
    """Whether a tensor is a scale of a weight that is there, or of what only inference quantises."""
    for suffix in SCALES:
        if name.endswith(suffix) and name.removesuffix(suffix) in names:
            return True
    if name.endswith(OF_CACHE):
        return True
    return name.endswith(OF_ACTIVATIONS) and f"{name.rpartition('.')[0]}.weight" in names


def block_of(config: Any) -> tuple[int, int]:
    """Rows and columns of the blocks that share a scale, as a config says it; else 128 x 128. Raises ModelError."""
    for key in KEYS:
        for name, block in _blocks_of(getattr(config, key, None)):
            if not (
                isinstance(block, list | tuple) and [type(n) for n in block] == [int, int] and min(block) > 0
            ):
                raise ModelError(
                    f"{key}.{name} is {block!r}; it must be two whole numbers, rows and columns."
                )
            return block[0], block[1]
    return 128, 128


def _blocks_of(table: Any) -> Iterator[tuple[str, Any]]:
    """Where a quantization_config names a block: one for all, or that of a group (compressed-tensors)."""
    if not isinstance(table, Mapping):
        return
    if table.get("weight_block_size"):
        yield "weight_block_size", table["weight_block_size"]
    groups = table.get("config_groups")
    for name, group in groups.items() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and weights.get("block_structure"):
            yield f"config_groups.{name}.weights.block_structure", weights["block_structure"]


def _kind(scales: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, int]) -> Kind | None:
    if math.prod(scales) == 1:
        return "one"
    if len(scales) == len(shape) == 2 and scales == _blocks(shape, block):
        return "blocks"
    return "rows" if math.prod(scales) == scales[0] == shape[0] else None


def _blocks(shape: tuple[int, ...], block: tuple[int, int]) -> tuple[int, ...]:
    return tuple(math.ceil(n / b) for n, b in zip(shape, block, strict=False))


def check_scales(name: str, scales: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, int]) -> None:
    """Raises ModelError for scales of another shape than one in all, one a row or one a block."""
    if _kind(scales, shape, block) is None:
        raise ModelError(
            f"the scales of {name} have shape {list(scales)}; a weight of shape {list(shape)} needs one in all, one a row, "
            f"or {list(_blocks(shape, block))} for blocks of {block[0]} x {block[1]}; {ADVICE}."
        )


def dequantised(
    values: Tensor, scale: Tensor, rows: range, shape: tuple[int, ...], block: tuple[int, int]
) -> Tensor:
    """The rows of a float8 weight in fp32.

    values: these rows as stored. scale: the whole tensor of scales, as `check_scales` takes it. shape: the whole weight's.
    """
    scale, kind = scale.to(torch.float32), _kind(tuple(scale.shape), shape, block)
    if kind == "one":
        factor = scale.reshape(())
    elif kind == "rows":
        factor = scale.reshape(-1, *[1] * (len(shape) - 1))[rows.start : rows.stop]
    else:
        by_row = scale.repeat_interleave(block[0], 0)[rows.start : rows.stop]
        factor = by_row.repeat_interleave(block[1], 1)[:, : shape[1]]
    return values.to(torch.float32) * factor
