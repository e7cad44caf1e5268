"""Calibration within each depth: does a model that is 80 % sure get 80 % right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hypernym.hierarchy.levels import NONE
from hypernym.metrics.counter import FIXED_POINT, Counter, divide, to_fixed_point

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels

NUM_BINS = 15


@dataclass(frozen=True)
class DepthCalibration:
    """Calibration of the softmax within one depth of the tree."""

    depth: int
    images: int
    """Images whose label stands at this depth or deeper."""

    confidence: float
    """Mean over them of the largest probability of the depth; 0..1."""

    error: float
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599, eq. 3); 0..1.

    The images are sorted by confidence into 15 bins of equal width, (0, 1/15], (1/15, 2/15] ...; it is
    the mean over images of |accuracy - confidence| of their bin.
    """


class CalibrationCounter(Counter):
    """Counts images, right answers and confidence in the bins of each depth.

    The confidence at a depth is the largest probability of the softmax over the classes of that depth,
    whatever the scheme: for a model with one softmax over all classes this is that softmax given the
    depth.
    """

    def __init__(self, levels: Levels, device: torch.device) -> None:
        self._targets_CL = torch.from_numpy(levels.targets_CL).to(device)
        self._classes_at = [torch.from_numpy(classes).to(device) for classes in levels.classes_at]
        self._bounds = torch.linspace(0, 1, NUM_BINS + 1, device=device)
        # by depth and bin: images, right ones, sum of confidences in fixed point
        self.counts = torch.zeros(3, levels.num_depths, NUM_BINS, dtype=torch.int64, device=device)

    def update(self, logits_BC: torch.Tensor, labels_B: torch.Tensor) -> None:
        """Count a batch of logits (B, C) against labels (B,)."""
        finite = torch.finfo(torch.float32)
        targets_BL = self._targets_CL[labels_B]
        for depth, classes in enumerate(self._classes_at):
            logits_BN = logits_BC.index_select(1, classes).float().clamp(finite.min, finite.max)
            top_B, guess_B = logits_BN.max(dim=1)
            confidence_B = (logits_BN - top_B[:, None]).exp().sum(dim=1).reciprocal()
            bin_B = (torch.bucketize(confidence_B, self._bounds) - 1).clamp(0, NUM_BINS - 1)
            present_B = (targets_BL[:, depth] != NONE).long()
            right_B = (targets_BL[:, depth] == guess_B).long()
            rows = torch.stack([present_B, right_B, present_B * to_fixed_point(confidence_B)])
            self.counts[:, depth].index_add_(1, bin_B, rows)

    def compute(self) -> tuple[DepthCalibration, ...]:
        """Return the calibration at each depth, of all images counted so far."""
        found = []
        for depth, (images, right, sure) in enumerate(zip(*self.counts.tolist(), strict=True)):
            gap = sum(abs(r * FIXED_POINT - s) for r, s in zip(right, sure, strict=True))
            whole = sum(images) * FIXED_POINT
            found.append(
                DepthCalibration(depth, sum(images), divide(sum(sure), whole), divide(gap, whole))
            )
        return tuple(found)
