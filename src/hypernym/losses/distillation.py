"""Semantic distillation: a teacher speaks of every depth, also below the label (paper section 3.3).

    KD_l = sum over the classes of depth l of (T_l - S_l)^2          of one image
    L_KD = mean over images of the sum over depths of P_l * KD_l

T_l and S_l are the softmax probabilities of teacher and student within depth l. P_l says how far the
teacher is trusted there: 1 where the label itself has a target, else the sum of the teacher's top 5 %
class probabilities. The official function uses that sum at every depth, and sums over the batch; here
the mean over images is taken, so that the factor of this loss does not depend on the batch size.

Where a target is shared among several labels (mixup, several labels), P_l is their mean by shares:
with s_l the share of the target that reaches depth l, at most 1, P_l = s_l + (1 - s_l) * top 5 %.

A multi-label student has no softmax: T_l and S_l are then sigmoids, and the sum of the top 5 % is at
most 1, for sigmoids of one depth may add up to more.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hypernym.hierarchy.levels import NONE
from hypernym.losses.depths import Depths, find_reached
from hypernym.losses.gradients import (
    GradientKept,
    a_few_rows_and_spare_ones,
    make_gradient,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypernym.hierarchy.levels import Levels

CLASSES_PER_TRUSTED = 20
"""Top 5 %: one of twenty classes of a depth, rounded up."""


class Trust(StrEnum):
    """How P_l is chosen."""

    PAPER = "paper"
    """1 at the depths of the label, the teacher's top 5 % below."""

    OFFICIAL = "official"
    """The teacher's top 5 % at every depth, as the official code does."""


class SemanticDistillationLoss(nn.Module):
    """L_KD over the depths of a tree, as a mean over images."""

    def __init__(self, levels: Levels, trust: Trust = Trust.PAPER) -> None:
        super().__init__()
        self.depths = Depths(levels)
        self.trust = trust

    def forward(
        self,
        student_BC: torch.Tensor,
        teacher_BC: torch.Tensor,
        targets: torch.Tensor | None = None,
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of student logits (B, C) against teacher logits (B, C).

        Without targets every depth is trusted as the teacher's top 5 % say.
        """
        self.depths.check(student_BC, targets, teacher_BC)
        given = (student_BC, teacher_BC, targets, self.depths, self.trust)
        with torch.autocast(student_BC.device.type, enabled=False):
            on_cpu = student_BC.device.type == "cpu" and not torch.compiler.is_compiling()
            if on_cpu and known_BC is None:
                swept: tuple[torch.Tensor, bool] = _InOneSweep.apply(*given)
                loss, is_exact = swept
                if is_exact:
                    return loss
                del swept, loss  # and their gradient
            value: torch.Tensor = _DepthByDepth.apply(*given, known_BC, _softmax, _through_softmax)
            return value


class SigmoidDistillationLoss(nn.Module):
    """L_KD of a multi-label student: between the sigmoids of teacher and student."""

    def __init__(self, levels: Levels, trust: Trust = Trust.PAPER) -> None:
        super().__init__()
        self.depths = Depths(levels)
        self.trust = trust

    def forward(
        self,
        student_BC: torch.Tensor,
        teacher_BC: torch.Tensor,
        targets: torch.Tensor | None = None,
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss, as `SemanticDistillationLoss` does."""
        with torch.autocast(student_BC.device.type, enabled=False):
            given = (student_BC, teacher_BC, targets, self.depths, self.trust, known_BC)
            value: torch.Tensor = _DepthByDepth.apply(*given, _sigmoid, _through_sigmoid)
            return value


def _softmax(logits_BN: torch.Tensor, out_BN: torch.Tensor | None) -> torch.Tensor:
    """Return probabilities in which a class that is out has none; the logits are written to."""
    lowest = torch.finfo(logits_BN.dtype).min
    if out_BN is not None:
        logits_BN.masked_fill_(out_BN, lowest)
    probabilities_BN = logits_BN.clamp_(min=lowest).softmax(dim=1)
    return probabilities_BN if out_BN is None else probabilities_BN.masked_fill(out_BN, 0.0)


def _sigmoid(logits_BN: torch.Tensor, out_BN: torch.Tensor | None) -> torch.Tensor:
    """Return sigmoids; a class that is out has 0."""
    probabilities_BN = logits_BN.sigmoid()
    return probabilities_BN if out_BN is None else probabilities_BN.masked_fill(out_BN, 0.0)


def _through_softmax(s_BN: torch.Tensor, gradient_BN: torch.Tensor) -> torch.Tensor:
    """Return the gradient by logits, given the softmax and the gradient by it."""
    inner_B1 = (s_BN * gradient_BN).sum(dim=1, keepdim=True)
    return gradient_BN.sub_(inner_B1).mul_(s_BN)


def _through_sigmoid(s_BN: torch.Tensor, gradient_BN: torch.Tensor) -> torch.Tensor:
    """Return the gradient by logits, given the sigmoids and the gradient by them."""
    return gradient_BN.mul_(s_BN).mul_(1 - s_BN)


class _DepthByDepth(GradientKept):
    """Value and gradient together, one depth at a time."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        student_BC: torch.Tensor,
        teacher_BC: torch.Tensor,
        targets: torch.Tensor | None,
        depths: Depths,
        trust: Trust,
        known_BC: torch.Tensor | None,
        probabilities_of: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        through: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        wide = torch.promote_types(student_BC.dtype, torch.float32)
        loss = student_BC.new_zeros((), dtype=wide)
        gradient_BC = make_gradient(student_BC)
        shares_BL = None
        if targets is not None and trust == Trust.PAPER:
            shares_BL = _shares_at(targets, depths).to(wide)
        for depth in range(depths.num_depths):
            classes = depths.classes_at(depth)
            out_BN = None if known_BC is None else ~known_BC.index_select(1, classes)
            s_BN = probabilities_of(student_BC.index_select(1, classes).to(wide), out_BN)
            t_BN = probabilities_of(teacher_BC.index_select(1, classes).to(wide), out_BN)
            top_BN = t_BN.topk(_num_trusted(len(classes)), dim=1, sorted=False).values
            trust_B = top_BN.sum(dim=1).clamp(max=1.0)
            if shares_BL is not None:
                trust_B = torch.lerp(trust_B, torch.ones_like(trust_B), shares_BL[:, depth])
            r_BN = t_BN.neg_().add_(s_BN)
            loss += (trust_B * r_BN.square().sum(dim=1)).mean()
            gradient_BN = through(s_BN, r_BN.mul_(2 / len(s_BN) * trust_B[:, None]))
            gradient_BC.index_copy_(1, classes, gradient_BN.to(gradient_BC.dtype))
            del s_BN, t_BN, r_BN, gradient_BN  # before those of the next depth are made
        GradientKept.keep(ctx, gradient_BC, student_BC.dtype)
        return loss


def _shares_at(targets: torch.Tensor, depths: Depths) -> torch.Tensor:
    """Return the share of a target (B,) or (B, C) that reaches each depth, (B, L), at most 1."""
    if targets.ndim == 1:
        return depths.ancestors_CL[targets] != NONE
    return depths.sum_within(depths.with_ancestors(targets)).clamp(max=1.0)


class _InOneSweep(GradientKept):
    """Value and gradient together, some rows at a time; see `losses.semantic`.

    With c = sqrt(2 P / B), s = c S, t = c T and r = s - t, and sums within a depth:
        loss = r^2 / 2,   d loss / dx = s (r - (sum s r) / c)
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        student_BC: torch.Tensor,
        teacher_BC: torch.Tensor,
        targets: torch.Tensor | None,
        depths: Depths,
        trust: Trust,
    ) -> tuple[torch.Tensor, bool]:
        from hypernym.losses.kernels_cpu import can_run_here, distillation_into  # loads a compiler

        wide = torch.promote_types(student_BC.dtype, torch.float32)
        if not can_run_here():
            return torch.zeros((), dtype=wide), False
        shares_BL = torch.zeros(len(student_BC), depths.num_depths, dtype=wide)
        if targets is not None and trust == Trust.PAPER:
            reached = find_reached(targets, depths, wide)
            if reached is None:
                return torch.zeros((), dtype=wide), False
            shares_BL = reached.shares_BL.clamp(max=1.0)
        num_trusted_L = [_num_trusted(end - start) for start, end in pairwise(depths.starts)]
        gradient_BC = make_gradient(student_BC)
        loss_B = torch.empty(len(student_BC), dtype=wide)
        for chunk, s_BC, t_BC in a_few_rows_and_spare_ones(gradient_BC, wide):
            torch.softmax(student_BC[chunk], 1, dtype=wide, out=s_BC)
            torch.softmax(teacher_BC[chunk], 1, dtype=wide, out=t_BC)
            how = (shares_BL[chunk], len(student_BC), num_trusted_L, depths)
            distillation_into(s_BC, t_BC, loss_B[chunk], *how)
        GradientKept.keep(ctx, gradient_BC, student_BC.dtype, may_wait=True)
        loss = loss_B.sum()
        return loss, bool(loss.isfinite())


def _num_trusted(num_classes: int) -> int:
    return -(-num_classes // CLASSES_PER_TRUSTED)
