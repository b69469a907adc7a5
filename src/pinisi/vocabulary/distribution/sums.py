"""Adds up S of one microbatch tile by tile: statistics of student and teacher, and with 1 barrier the products."""

from __future__ import annotations

import torch
from torch import Tensor

from pinisi.vocabulary.buffers import blocks
from pinisi.vocabulary.distribution.columns import NO_LESS, exponentials_, highest
from pinisi.vocabulary.distribution.logits import TileLogits
from pinisi.vocabulary.distribution.passes import DistributionPass, RunningSums
from pinisi.vocabulary.products import add_product_
from pinisi.vocabulary.statistics import statistics_dtype


class PassSums:
    """Adds up one pass: `add_tile` for each tile, then `statistics`."""

    def __init__(self, pass_: DistributionPass, logits: TileLogits) -> None:
        self.pass_, self.logits = pass_, logits
        x, self.dtype = pass_.x, statistics_dtype(pass_.x.dtype)
        lowest = torch.full((len(x),), torch.finfo(self.dtype).min, dtype=self.dtype, device=x.device)
        self.student, self.teacher = (
            RunningSums(lowest, torch.zeros_like(lowest), torch.zeros_like(lowest)) for _ in range(2)
        )

    def statistics(self) -> Tensor:
        """[R, T], see `DistributionPass`; sets the pass' target_slope."""
        pass_, logits = self.pass_, self.logits
        own, pass_.target_slope = logits.at_targets(logits.student, pass_.x, pass_)
        rows = [self.student.maximum, self.student.total, own]
        if pass_.entropy:
            rows.append(self.student.third)
        if logits.teacher is not None and pass_.teacher is not None:
            their_own, _ = logits.at_targets(logits.teacher, pass_.teacher, pass_)
            rows += [self.teacher.maximum, self.teacher.total, their_own.to(self.dtype), self.teacher.third]
        return torch.stack(rows)

    def add_tile(self, start: int, stop: int) -> None:
        """One tile's part of the statistics, and of the products."""
        pass_, logits, student, teacher = self.pass_, self.logits, self.student, self.teacher
        z = logits.of_student(pass_, start, stop)
        zt = logits.of_teacher(pass_, start, stop)
        products = (pass_.product, pass_.moment_product, pass_.teacher_product)
        columns = [
            z if product is None else logits.place(name, z)
            for name, product in zip(("exps", "moments", "teacher_exps"), products, strict=True)
        ]
        lower, lower_teacher = student.maximum, teacher.maximum
        target = pass_.targets.local - start
        curve = logits.student.curve
        student.raise_to_(highest(z, curve, target, student.maximum, logits.scratch), moment=True)
        if zt is not None and logits.teacher is not None:
            curve = logits.teacher.curve
            teacher.raise_to_(highest(zt, curve, target, teacher.maximum, logits.scratch))
        for part in blocks(len(z), z.shape[1], z.device):
            self._add_block(part, target[part], z, zt, columns)
        self._add_products(logits.student.weight[start:stop], columns, lower, lower_teacher)

    def _add_products(
        self, rows: Tensor, columns: list[Tensor], lower: Tensor, lower_teacher: Tensor
    ) -> None:
        """lower: the maxima that the products so far are relative to."""
        pass_, scratch = self.pass_, self.logits.scratch
        if pass_.product is None:
            return
        down = lower - self.student.maximum
        decay = torch.exp(down).unsqueeze(1)
        if pass_.moment_product is not None:
            down = down.clamp(min=torch.finfo(decay.dtype).min).unsqueeze(1)
            pass_.moment_product.addcmul_(pass_.product, down).mul_(decay)
            add_product_(pass_.moment_product, columns[1], rows, scratch)
        add_product_(pass_.product.mul_(decay), columns[0], rows, scratch)
        if pass_.teacher_product is not None:
            pass_.teacher_product.mul_(torch.exp(lower_teacher - self.teacher.maximum).unsqueeze(1))
            add_product_(pass_.teacher_product, columns[2], rows, scratch)

    def _add_block(
        self, part: slice, target: Tensor, z: Tensor, zt: Tensor | None, columns: list[Tensor]
    ) -> None:
        """A block of tokens of one tile: sums, and the columns that the products take, each times l'(z)."""
        pass_, student, teacher = self.pass_, self.student, self.teacher
        l, slope = self.logits.student.curve.logits_(z[part].to(self.dtype, copy=True))
        if zt is not None and self.logits.teacher is not None:
            lt, _ = self.logits.teacher.curve.logits_(zt[part].to(self.dtype, copy=True))
            apart = lt - l
            exps = exponentials_(lt, target, teacher.maximum[part])
            teacher.total[part] += exps.sum(1)
            teacher.third[part] += (exps * apart).sum(1)
            if pass_.teacher_product is not None:
                columns[2][part] = exps if slope is None else exps * slope
        top = student.maximum[part]
        moments = (l - top.unsqueeze(1)).clamp_(min=NO_LESS) if pass_.entropy else None
        exps = exponentials_(l, target, top)
        student.total[part] += exps.sum(1)
        if moments is not None:
            moments.mul_(exps)
            student.third[part] += moments.sum(1)
        if pass_.product is not None:
            columns[0][part] = exps if slope is None else exps * slope
        if pass_.moment_product is not None and moments is not None:
            columns[1][part] = moments if slope is None else moments * slope
