"""The loss of a scheme: the one place where it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypernym.hierarchy.scheme import Scheme
from hypernym.losses.semantic import SemanticSoftmaxLoss
from hypernym.losses.single import SingleLabelLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hypernym.hierarchy.levels import Levels


def make_loss(
    scheme: Scheme, levels: Levels, *, label_smoothing: float, weights_L: Sequence[float]
) -> nn.Module:
    """Return the loss of a scheme; called with logits (B, C) and targets (B,) or (B, C).

    Args:
        scheme: How a label becomes a loss.
        levels: The tree.
        label_smoothing: Share of a target that is spread over its softmax.
        weights_L: Of each depth in semantic softmax; `levels.weights_L` makes them.
    """
    match scheme:
        case Scheme.SINGLE_LABEL:
            return SingleLabelLoss(label_smoothing)
        case Scheme.SEMANTIC:
            return SemanticSoftmaxLoss(levels, weights_L, label_smoothing)
