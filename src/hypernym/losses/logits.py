"""Logit distillation: the divergence of softened probabilities (Hinton et al. 2015, arXiv 1503.02531).

    L_KD = T^2 * mean over images of KL(teacher || student)

of the probabilities that each gives with its logits divided by the temperature T. The factor keeps the
size of the gradient when T changes. The probabilities are those of the student's scheme:

    single-label    one softmax over all classes
    semantic        a softmax for each depth; the divergences are added up
    multi-label     a sigmoid for each class; the divergences are added up

No label is asked for: at depths below the label too, the teacher is taken at its word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import kl_div, logsigmoid

from hypernym.hierarchy.scheme import Scheme
from hypernym.losses.depths import Depths

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels

LARGEST = 1e30
"""Logits are cut to +-LARGEST, so that differences and sums of them are finite in float32."""

MASKED = -1e31
"""The logit of a class that takes no part: beneath all others, and its differences are finite."""


class LogitDistillationLoss(nn.Module):
    """Divergence of a student from its teacher in each softmax of a scheme, as a mean over images."""

    def __init__(self, levels: Levels, scheme: Scheme, temperature: float) -> None:
        """Make the loss; `temperature` is over 0, and higher values show more of the small logits."""
        super().__init__()
        self.depths = Depths(levels)
        self.scheme = scheme
        self.temperature = temperature

    def forward(
        self,
        student_BC: torch.Tensor,
        teacher_BC: torch.Tensor,
        targets: torch.Tensor | None = None,  # noqa: ARG002 - other distances to a teacher ask for them
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of student logits (B, C) against teacher logits (B, C)."""
        with torch.autocast(student_BC.device.type, enabled=False):
            wide = torch.promote_types(student_BC.dtype, torch.float32)
            student_BC = (student_BC.to(wide) / self.temperature).clamp(-LARGEST, LARGEST)
            teacher_BC = (teacher_BC.detach().to(wide) / self.temperature).clamp(-LARGEST, LARGEST)
            match self.scheme:
                case Scheme.SINGLE_LABEL:
                    divergence_B = _diverge(student_BC, teacher_BC, known_BC)
                case Scheme.MULTI_LABEL:
                    divergence_B = _diverge_by_class(student_BC, teacher_BC, known_BC)
                case Scheme.SEMANTIC:
                    divergence_B = self._diverge_by_depth(student_BC, teacher_BC, known_BC)
            return self.temperature**2 * divergence_B.mean()

    def _diverge_by_depth(
        self, student_BC: torch.Tensor, teacher_BC: torch.Tensor, known_BC: torch.Tensor | None
    ) -> torch.Tensor:
        divergence_B = student_BC.new_zeros(len(student_BC))
        for depth in range(self.depths.num_depths):
            classes = self.depths.classes_at(depth)
            known_BN = None if known_BC is None else known_BC.index_select(1, classes)
            student_BN, teacher_BN = (each.index_select(1, classes) for each in (student_BC, teacher_BC))
            divergence_B = divergence_B + _diverge(student_BN, teacher_BN, known_BN)
        return divergence_B


def _diverge(
    student_BN: torch.Tensor, teacher_BN: torch.Tensor, known_BN: torch.Tensor | None
) -> torch.Tensor:
    """Return KL(teacher || student) of one softmax, (B,); 0 where none of its classes is known."""
    if known_BN is not None:
        student_BN, teacher_BN = (
            each.masked_fill(~known_BN, MASKED) for each in (student_BN, teacher_BN)
        )
    log_s_BN, log_t_BN = student_BN.log_softmax(dim=1), teacher_BN.log_softmax(dim=1)
    return kl_div(log_s_BN, log_t_BN, reduction="none", log_target=True).sum(dim=1)


def _diverge_by_class(
    student_BC: torch.Tensor, teacher_BC: torch.Tensor, known_BC: torch.Tensor | None
) -> torch.Tensor:
    """Return the sum over classes of KL(teacher || student) of one sigmoid each, (B,)."""
    divergence_BC = torch.zeros_like(student_BC)
    for sign in (1, -1):  # present, absent
        log_s_BC, log_t_BC = logsigmoid(sign * student_BC), logsigmoid(sign * teacher_BC)
        divergence_BC = divergence_BC + kl_div(log_s_BC, log_t_BC, reduction="none", log_target=True)
    if known_BC is not None:
        divergence_BC = divergence_BC.masked_fill(~known_BC, 0.0)
    return divergence_BC.sum(dim=1)
