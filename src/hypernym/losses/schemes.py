"""The losses of a scheme: the one place where they are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypernym.hierarchy.scheme import Distillation, Scheme
from hypernym.losses.distillation import SemanticDistillationLoss, SigmoidDistillationLoss, Trust
from hypernym.losses.logits import LogitDistillationLoss
from hypernym.losses.multilabel import MultiLabelLoss
from hypernym.losses.semantic import SemanticSoftmaxLoss
from hypernym.losses.single import SingleLabelLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hypernym.hierarchy.levels import Levels


def make_loss(
    scheme: Scheme,
    levels: Levels,
    *,
    label_smoothing: float,
    weights_L: Sequence[float],
    gamma_neg: float = 0.0,
    gamma_pos: float = 0.0,
    clip: float = 0.0,
) -> nn.Module:
    """Return the loss of a scheme; called with logits (B, C) and targets (B,) or (B, C).

    Args:
        scheme: How a label becomes a loss.
        levels: The tree.
        label_smoothing: Share of a target that is spread over its softmax. The multi-label loss has no
            softmax and leaves it out: clip does there what smoothing does here.
        weights_L: Of each depth in semantic softmax; `levels.weights_L` makes them.
        gamma_neg: Multi-label only; see `MultiLabelLoss`.
        gamma_pos: Multi-label only.
        clip: Multi-label only.
    """
    match scheme:
        case Scheme.SINGLE_LABEL:
            return SingleLabelLoss(label_smoothing)
        case Scheme.MULTI_LABEL:
            return MultiLabelLoss(levels, gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip)
        case Scheme.SEMANTIC:
            return SemanticSoftmaxLoss(levels, weights_L, label_smoothing)


def make_distillation(
    kind: Distillation, scheme: Scheme, levels: Levels, *, trust: Trust, temperature: float
) -> nn.Module:
    """Return the distance of a student of a scheme to its teacher.

    It is called with student and teacher logits (B, C), targets (B,), (B, C) or None, and the known
    classes (B, C) or None.

    Args:
        kind: How the two are compared.
        scheme: The student's.
        levels: The tree.
        trust: Of semantic distillation.
        temperature: Of logit distillation.
    """
    match kind:
        case Distillation.LOGITS:
            return LogitDistillationLoss(levels, scheme, temperature)
        case Distillation.SEMANTIC if scheme == Scheme.MULTI_LABEL:
            return SigmoidDistillationLoss(levels, trust)
        case Distillation.SEMANTIC:
            return SemanticDistillationLoss(levels, trust)
