"""Semantic distillation: a teacher speaks of every depth, also below the label (paper section 3.3).

    KD_l = sum over the classes of depth l of (T_l - S_l)^2          of one image
    L_KD = mean over images of the sum over depths of P_l * KD_l

T_l and S_l are the softmax probabilities of teacher and student within depth l. P_l says how far the
teacher is trusted there: 1 where the label itself has a target, else the sum of the teacher's top 5 %
class probabilities. The official function uses that sum at every depth, and sums over the batch; here
the mean over images is taken, so that the factor of this loss does not depend on the batch size.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from hypernym.hierarchy.levels import NONE
from hypernym.losses.depths import ROWS_IN_CACHE, Depths, give_away_gradient

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels
    from hypernym.losses.depths import Within

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
        labels_B: torch.Tensor | None = None,
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of student logits (B, C) against teacher logits (B, C).

        Without labels every depth is trusted as the teacher's top 5 % say.
        """
        depths, trust = self.depths, self.trust
        with torch.autocast(student_BC.device.type, enabled=False):
            on_cpu = student_BC.device.type == "cpu" and not torch.compiler.is_compiling()
            if on_cpu and known_BC is None:
                swept: tuple[torch.Tensor, bool] = _InOneSweep.apply(
                    student_BC, teacher_BC, labels_B, depths, trust
                )
                loss, is_exact = swept
                if is_exact:
                    return loss
            return _by_depth(student_BC, teacher_BC, labels_B, known_BC, depths, trust)


def _by_depth(
    student_BC: torch.Tensor,
    teacher_BC: torch.Tensor,
    labels_B: torch.Tensor | None,
    known_BC: torch.Tensor | None,
    depths: Depths,
    trust: Trust,
) -> torch.Tensor:
    wide = torch.promote_types(student_BC.dtype, torch.float32)
    total = student_BC.new_zeros((), dtype=wide)
    for depth in range(depths.num_depths):
        classes = depths.classes_at(depth)
        out_BN = None if known_BC is None else ~known_BC.index_select(1, classes)
        student_BN = _softmax(student_BC.index_select(1, classes).to(wide), out_BN)
        teacher_BN = _softmax(teacher_BC.detach().index_select(1, classes).to(wide), out_BN)
        trust_B = teacher_BN.topk(_num_trusted(len(classes)), dim=1, sorted=False).values.sum(dim=1)
        if labels_B is not None and trust == Trust.PAPER:
            trust_B = torch.where(depths.ancestors_CL[labels_B, depth] != NONE, 1.0, trust_B)
        total = total + (trust_B * (teacher_BN - student_BN).square().sum(dim=1)).mean()
    return total


class _InOneSweep(torch.autograd.Function):
    """Value and gradient together, some rows at a time; see `losses.semantic`.

    With r = S - T within a depth:  dKD / dx = 2 S (r - sum r S).
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        student_BC: torch.Tensor,
        teacher_BC: torch.Tensor,
        labels_B: torch.Tensor | None,
        depths: Depths,
        trust: Trust,
    ) -> tuple[torch.Tensor, bool]:
        num_images = len(student_BC)
        wide = torch.promote_types(student_BC.dtype, torch.float32)
        gradient_BC = torch.empty_like(student_BC)
        loss = torch.zeros((), dtype=wide)
        for start in range(0, num_images, ROWS_IN_CACHE):
            chunk = slice(start, start + ROWS_IN_CACHE)
            student = depths.softmax_within(student_BC[chunk].to(wide))
            teacher = depths.softmax_within(teacher_BC[chunk].to(wide))
            if not (student.is_exact and teacher.is_exact):
                return loss, False
            labels = labels_B[chunk] if labels_B is not None and trust == Trust.PAPER else None
            trust_BL = _trust_in_one_sweep(teacher, labels, depths) / num_images
            s_BC = student.exp.mul_(depths.spread(1 / student.sum))
            t_BC = teacher.exp.mul_(depths.spread(1 / teacher.sum))
            r_BC = torch.sub(s_BC, t_BC, out=t_BC)
            product_BC = s_BC * r_BC
            inner_BL = depths.sum_within(product_BC)
            loss += (trust_BL * depths.sum_within(r_BC.square_())).sum()
            product_BC.addcmul_(s_BC, depths.spread(inner_BL), value=-1)
            gradient_BC[chunk] = product_BC.mul_(depths.spread(2 * trust_BL))
        ctx.gradient_BC = gradient_BC
        return loss, True

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        scale: torch.Tensor,
        _: None,
    ) -> tuple[torch.Tensor | None, ...]:
        return give_away_gradient(ctx, scale), None, None, None, None


def _trust_in_one_sweep(teacher: Within, labels_B: torch.Tensor | None, depths: Depths) -> torch.Tensor:
    """Return P (B, L); with labels, only the images without a target are looked at."""
    trust_BL = torch.ones_like(teacher.sum)
    for depth in range(depths.num_depths):
        classes = depths.classes_at(depth)
        below_B = torch.ones(len(trust_BL), dtype=torch.bool)
        if labels_B is not None:
            below_B = depths.ancestors_CL[labels_B, depth] == NONE
        if not below_B.any():
            continue
        exp_BN = teacher.exp.index_select(1, classes)[below_B].numpy()
        # NumPy's selection is several times faster than torch.topk, which carries the places along.
        first = len(classes) - _num_trusted(len(classes))
        top_BN = torch.from_numpy(np.partition(exp_BN, first, axis=1)[:, first:])
        trust_BL[below_B, depth] = top_BN.sum(dim=1) / teacher.sum[below_B, depth]
    return trust_BL


def _num_trusted(num_classes: int) -> int:
    return -(-num_classes // CLASSES_PER_TRUSTED)


def _softmax(logits_BN: torch.Tensor, out_BN: torch.Tensor | None) -> torch.Tensor:
    """Return probabilities in which a class that is out has none."""
    lowest = torch.finfo(logits_BN.dtype).min
    if out_BN is not None:
        logits_BN = logits_BN.masked_fill(out_BN, lowest)
    probabilities_BN = logits_BN.clamp(min=lowest).softmax(dim=1)
    return probabilities_BN if out_BN is None else probabilities_BN.masked_fill(out_BN, 0.0)
