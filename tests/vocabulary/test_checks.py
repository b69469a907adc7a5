"""What a head can't be given is refused with its name, before a kernel reads or writes beyond its end."""

import pytest
import torch

from pinisi.base.errors import ConfigError
from pinisi.vocabulary import DistributionHead, HeadShard, Projection
from pinisi.vocabulary.tiles import Curve

from .cpu_kernels import cpu_kernels  # noqa: F401, used by every test here
from .simulation import derivatives

ROWS, HIDDEN, TOKENS = 11, 7, 5


@pytest.fixture(params=["head", "distribution"])
def head(request):
    def made(rows=ROWS, dtype=torch.float32, **more):
        weight = more.pop("weight", torch.ones(rows, HIDDEN, dtype=dtype))
        curve = Curve(more.pop("scale", 1.0), more.pop("softcap", None))
        made = HeadShard(weight, more.pop("gradient", torch.zeros(ROWS, HIDDEN)), 0, curve=curve, **more)
        return made if request.param == "head" else DistributionHead(made)

    return made


@pytest.mark.parametrize(
    "more, words",
    [
        ({"gradient": torch.zeros(ROWS, HIDDEN - 1)}, "weight .* needs a gradient of its shape"),
        ({"gradient": torch.zeros(ROWS, HIDDEN).double()}, "gradient of its shape in torch.float32"),
        ({"dtype": torch.float64}, "gradient of its shape in torch.float64"),
        ({"weight": torch.ones(HIDDEN, ROWS).t()}, "weight: neighbours"),
        ({"bias": torch.ones(ROWS)}, "bias and its gradient come together"),
        (
            {"bias": torch.ones(ROWS), "bias_gradient": torch.zeros(3)},
            "bias .* needs a gradient of its shape",
        ),
        (
            {"bias": torch.ones(ROWS), "bias_gradient": torch.zeros(ROWS).bfloat16()},
            "got .* in torch.bfloat16",
        ),
        (
            {"bias": torch.ones(ROWS + 1), "bias_gradient": torch.zeros(ROWS + 1)},
            "bias .12. .* beside weight",
        ),
        (
            {"bias": torch.ones(ROWS).double(), "bias_gradient": torch.zeros(ROWS)},
            "bias .* in torch.float64 beside",
        ),
    ],
)
def test_tensors_of_a_shard(head, more, words):
    with pytest.raises(AssertionError, match=words):
        head(**more)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"barriers": 0}, "1 or 2 barriers, got 0"),
        ({"barriers": 3}, "1 or 2 barriers, got 3"),
        ({"budget": -1}, "0 or more.*got -1"),
        ({"budget": float("nan")}, "0 or more.*got nan"),
        *(
            ({"softcap": cap}, f"positive number, got {cap}")
            for cap in (0.0, -3.0, float("inf"), float("nan"))
        ),
        ({"scale": float("nan")}, "a scale of nan"),
    ],
)
def test_numbers(head, more, words):
    with pytest.raises(ConfigError, match=words):
        head(**more)


def test_sizes_of_a_microbatch(head):
    made, x, targets = head(), torch.ones(TOKENS, HIDDEN), torch.arange(TOKENS)
    for case, words in (
        ((x, targets[1:]), r"targets \[4\] beside"),
        ((x[:, 1:], targets), r"x \[5, 6\]"),
        ((x.double(), targets), "in torch.float64"),
        ((torch.ones(HIDDEN, TOKENS).t(), targets), "x: neighbours"),
        ((x, targets.to("meta")), "targets on meta, x on cpu"),
    ):
        with pytest.raises(AssertionError, match=words):
            made.s(*case)
    one = made.s(x, targets)
    for gathered in (one.statistics, one.statistics[None, :, 1:], one.statistics[None, 1:]):
        with pytest.raises(AssertionError, match=r"each rank's statistics \[3, 5\]"):
            made.combine(one, gathered)
    made.combine(one, one.statistics[None])
    for of in (torch.ones(1), torch.ones(()), torch.ones(TOKENS - 1), torch.ones(TOKENS, 1)):
        with pytest.raises(AssertionError, match="a number a token"):
            made.t(one, derivatives(of))
        with pytest.raises(AssertionError, match="a number a token"):
            made.t(one, derivatives(torch.ones(TOKENS), of))


def test_derivatives_by_what_a_head_does_not_make():
    teacher = Projection(torch.ones(ROWS, HIDDEN), None, Curve())
    for more, words in (({"entropy": True}, "no teacher"), ({"teacher": teacher}, "not asked for")):
        head = DistributionHead(HeadShard(torch.ones(ROWS, HIDDEN), torch.zeros(ROWS, HIDDEN), 0), **more)
        x = torch.ones(TOKENS, HIDDEN)
        one = head.s(x, torch.arange(TOKENS), teacher=x if "teacher" in more else None)
        head.combine(one, one.statistics[None])
        g = torch.ones(TOKENS)
        with pytest.raises(AssertionError, match=words):
            head.t(one, derivatives(g, d=g) if "entropy" in more else derivatives(g, n=g))
