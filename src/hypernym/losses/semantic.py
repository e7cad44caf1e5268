"""Losses over a tree of classes.

Shapes: B images, C classes, L depths, N classes of one depth. Every loss takes logits (B, C) of any
float type, computes in float32, and returns a scalar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hypernym.hierarchy.levels import NONE
from hypernym.hierarchy.scheme import Scheme

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels


def make_loss(scheme: Scheme, levels: Levels, *, label_smoothing: float, max_weight: float) -> nn.Module:
    """Return the loss of a scheme; called with logits (B, C) and labels (B,)."""
    match scheme:
        case Scheme.SINGLE_LABEL:
            return SingleLabelLoss(label_smoothing)
        case Scheme.SEMANTIC:
            return SemanticSoftmaxLoss(levels, label_smoothing, max_weight)


class SingleLabelLoss(nn.Module):
    """Cross-entropy over all classes, with smoothing spread over all of them."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits_BC: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Return the mean over the batch."""
        return cross_entropy(logits_BC.float(), labels_B, label_smoothing=self.label_smoothing)


class SemanticSoftmaxLoss(nn.Module):
    """L = sum over depths of W_l * L_l (paper section 3.2.2).

    L_l is the cross-entropy of the softmax over the classes of depth l against the label's ancestor
    there. Its mean runs over the whole batch: an image whose label stands higher than depth l adds 0,
    which is what W_l makes up for. Smoothing is spread over the classes of the depth. With all
    classes at one depth this is `SingleLabelLoss`.
    """

    targets_CL: torch.Tensor

    def __init__(self, levels: Levels, label_smoothing: float, max_weight: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.weights_L: list[float] = levels.weights_L(max_weight).tolist()
        self.register_buffer("targets_CL", torch.from_numpy(levels.targets_CL), persistent=False)
        for depth, classes in enumerate(levels.classes_at):
            self.register_buffer(f"classes_at_{depth}", torch.from_numpy(classes), persistent=False)

    def forward(self, logits_BC: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum over depths of the means over the batch."""
        targets_BL = self.targets_CL[labels_B]
        total = logits_BC.new_zeros((), dtype=torch.float32)
        for depth, weight in enumerate(self.weights_L):
            logits_BN = logits_BC.index_select(1, self.get_buffer(f"classes_at_{depth}"))
            sum_over_images = cross_entropy(
                logits_BN.float(),
                targets_BL[:, depth],
                ignore_index=NONE,
                reduction="sum",
                label_smoothing=self.label_smoothing,
            )
            total = total + weight * sum_over_images / len(labels_B)
        return total
