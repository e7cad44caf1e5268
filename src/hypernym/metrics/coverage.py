"""What a threshold buys: how many images get a path, how deep it goes, how often it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hypernym.metrics.counter import Counter, count_common, divide, pad_ancestors

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels

STEPS = 20
"""The thresholds are 0, 1/20, ..., 1."""


@dataclass(frozen=True)
class CoveragePoint:
    """What the paths are like when they are cut at one threshold."""

    threshold: float
    coverage: float
    """Share of images whose path is not empty; 0..1."""

    depth: float
    """Classes on the path, mean over all images."""

    precision: float
    """Of the paths that are not empty, the share that end in the label or an ancestor of it; 0..1.

    A path that goes on below the label counts as wrong: what the image shows there is not known.
    """

    exact: float
    """Of the paths that are not empty, the share that end in the label; 0..1."""


class CoverageCounter(Counter):
    """Counts the paths of images at all thresholds at once."""

    def __init__(self, levels: Levels, device: torch.device) -> None:
        self._ancestors_CL = pad_ancestors(levels, device)
        self._thresholds_T = torch.arange(STEPS + 1, device=device) / STEPS
        # by threshold: images, paths that are not empty, their classes, right ends, exact ends
        self.counts = torch.zeros(5, STEPS + 1, dtype=torch.int64, device=device)

    def update(
        self, path_BL: torch.Tensor, probabilities_BL: torch.Tensor, labels_B: torch.Tensor
    ) -> None:
        """Count whole paths (B, L) with falling probabilities (B, L) against labels (B,).

        A path holds `NONE` below its end.
        """
        targets_BL = self._ancestors_CL[labels_B]
        reached_BLT = probabilities_BL[:, :, None] >= self._thresholds_T
        length_BT = (reached_BLT & (path_BL >= 0)[:, :, None]).sum(dim=1)
        answered_BT = length_BT > 0
        right_BT = answered_BT & (length_BT <= count_common(path_BL, targets_BL)[:, None])
        exact_BT = right_BT & (length_BT == (targets_BL >= 0).sum(dim=1)[:, None])
        images_BT = torch.ones_like(length_BT)
        rows = [images_BT, answered_BT.long(), length_BT, right_BT.long(), exact_BT.long()]
        self.counts += torch.stack(rows).sum(dim=1)

    def compute(self) -> tuple[CoveragePoint, ...]:
        """Return a point for each threshold, of all images counted so far."""
        return tuple(
            CoveragePoint(
                threshold=step / STEPS,
                coverage=divide(answered, images),
                depth=divide(classes, images),
                precision=divide(right, answered),
                exact=divide(exact, answered),
            )
            for step, (images, answered, classes, right, exact) in enumerate(
                zip(*self.counts.tolist(), strict=True)
            )
        )
