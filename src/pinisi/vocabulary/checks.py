"""Checks what a head is given before kernels go by its addresses and strides."""

from torch import Tensor

from pinisi.base.errors import ConfigError
from pinisi.vocabulary.kernels import kernels_for, rows_without_gaps
from pinisi.vocabulary.statistics import statistics_dtype


def check_shard(
    weight: Tensor,
    gradient: Tensor | None,
    bias: Tensor | None,
    bias_gradient: Tensor | None,
    barriers: int,
    budget: int | None,
) -> None:
    """What kernels rely on of a shard, asked once: they go by addresses and strides. Compiles them, if they are to be, so that a
    choice that does not fit is named before the first step."""
    if barriers not in (1, 2):
        raise ConfigError(f"The vocabulary head has 1 or 2 barriers, got {barriers}; 0 needs no shards.")
    if budget is not None and not budget >= 0:
        raise ConfigError(
            f"The head's budget is a number of bytes, 0 or more, or None for no limit; got {budget}."
        )
    dtype = statistics_dtype(weight.dtype)
    for name, of, its_gradient, dimensions in (
        ("weight", weight, gradient, 2),
        ("bias", bias, bias_gradient, 1),
    ):
        learns = gradient is not None and of is not None
        assert learns == (its_gradient is not None), f"{name} and its gradient come together"
        if of is None:
            continue
        assert of.ndim == dimensions and len(of) == len(weight) and of.dtype == weight.dtype, (
            f"{name} {list(of.shape)} in {of.dtype} beside weight {list(weight.shape)} in {weight.dtype}"
        )
        if its_gradient is not None:
            assert its_gradient.shape == of.shape and its_gradient.dtype == dtype, (
                f"{name} {list(of.shape)} needs a gradient of its shape in {dtype}, got {list(its_gradient.shape)} in "
                f"{its_gradient.dtype}"
            )
        assert rows_without_gaps(of), f"{name}: neighbours in a row must lie side by side"
    kernels_for(weight)


def check_tokens(x: Tensor, targets: Tensor, weight: Tensor) -> None:
    """x [T, h] and targets [T] of these rows."""
    assert x.dtype == weight.dtype and x.shape == (*targets.shape, weight.shape[1]), (
        f"x {list(x.shape)} in {x.dtype} and targets {list(targets.shape)} beside weight {list(weight.shape)} in {weight.dtype}"
    )
    assert targets.is_cpu == x.is_cpu == weight.is_cpu, (
        f"targets on {targets.device}, x on {x.device}, weight on {weight.device}"
    )
    assert rows_without_gaps(x), "x: neighbours in a row must lie side by side"


def check_derivatives(like: Tensor, *derivatives: Tensor | None) -> None:
    """Of a loss that users write: one of a sequence, or a number, would be taken for all tokens, or read from beyond its end."""
    for of in derivatives:
        assert of is None or of.shape == like.shape, (
            f"a derivative of the loss is {list(of.shape)}, needed {list(like.shape)}: a number a token"
        )


def check_gathered(gathered: Tensor, statistics: Tensor) -> None:
    """gathered [p, ...] of what each rank's statistics are."""
    assert gathered.shape[1:] == statistics.shape, (
        f"gathered is {list(gathered.shape)}, each rank's statistics {list(statistics.shape)}"
    )
