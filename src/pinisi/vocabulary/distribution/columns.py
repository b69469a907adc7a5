"""Works on a tile's columns a block of tokens at a time: exponentials without y's, maxima, and dL/dz."""

from torch import Tensor, addcmul, empty_like, inf, maximum

from pinisi.vocabulary.buffers import Scratch, blocks
from pinisi.vocabulary.distribution.logits import TileLogits
from pinisi.vocabulary.distribution.passes import DistributionPass
from pinisi.vocabulary.tiles import Curve

NO_LESS = -1e4  # of a logarithm whose exponential is 0 long before: keeps 0 · it finite


def highest(z: Tensor, curve: Curve, target: Tensor, floor: Tensor, scratch: Scratch) -> Tensor:
    """The maximum [T] of floor and of l over a tile's columns but the target's."""
    result = empty_like(floor)
    for part in blocks(len(z), z.shape[1], z.device):
        l, _ = curve.logits_(scratch.copy(z[part], floor.dtype))
        column, inside = _inside(target[part], z.shape[1])
        l.scatter_(1, column, l.gather(1, column).masked_fill_(inside, -inf))
        result[part] = maximum(l.amax(1), floor[part])
    return result


def exponentials_(l: Tensor, target: Tensor, top: Tensor) -> Tensor:
    """exp(l - top) in l, 0 at the target's column."""
    column, inside = _inside(target, l.shape[1])
    l.sub_(top.unsqueeze(1)).exp_()
    return l.scatter_(1, column, l.gather(1, column).masked_fill_(inside, 0.0))


def gradient_columns(
    pass_: DistributionPass, logits: TileLogits, start: int, stop: int, relative: list[Tensor]
) -> Tensor:
    """[T, C]: dL/dz of a tile but for y's own part and the factor that is left. relative: what multiplies e_v, e_v (l_v - m_r)
    and t_v, [T, 1] each."""
    z = logits.of_student(pass_, start, stop, again=False)
    zt = logits.of_teacher(pass_, start, stop, again=False)
    out, top = logits.place("exps", z), pass_.statistics[0]
    exps, moments, theirs = relative
    for part in blocks(len(z), z.shape[1], z.device):
        target = (pass_.targets.local - start)[part]
        l, slope = logits.student.curve.logits_(z[part].to(top.dtype, copy=True))
        below = (l - top[part].unsqueeze(1)).clamp_(min=NO_LESS)
        found = exponentials_(l, target, top[part]) * addcmul(exps[part], moments[part], below)
        if zt is not None and logits.teacher is not None:
            lt, _ = logits.teacher.curve.logits_(zt[part].to(top.dtype, copy=True))
            their_top = pass_.statistics[pass_.first_of_teacher][part]
            found += exponentials_(lt, target, their_top) * theirs[part]
        out[part] = found if slope is None else found * slope
    return out


def _inside(target: Tensor, width: int) -> tuple[Tensor, Tensor]:
    column = target.clamp(0, width - 1)
    return column.unsqueeze(1), (target == column).unsqueeze(1)
