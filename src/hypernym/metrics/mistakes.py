"""How far in the tree a prediction lies from the label.

The predicted class may stand at any depth, and so may the label. A forest hangs under one virtual
root, which is also what a prediction without any class stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from hypernym.metrics.counter import Counter, count_common, divide, pad_ancestors

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels


@dataclass(frozen=True)
class Mistakes:
    """Distances between predicted class and label. A mistake is a prediction that is not the label.

    That holds for an ancestor of the label too, which is right as far as it goes, and for a class
    beneath the label: the distances say how small such mistakes are.
    """

    images: int
    exact: float
    """Share of images whose predicted class is the label; 0..1."""

    distance: float
    """Edges on the path through the tree from the predicted class to the label: mean over images."""

    distance_of_mistakes: float
    """The same over the mistakes alone: at least 1, or 0 if there is none."""

    lca_height: float
    """Height of the lowest common ancestor of prediction and label, the longest way from there down
    to a leaf, and 0 where the prediction is the label: mean over images (Bertinetto et al. 2020,
    "Making Better Mistakes", arXiv 1912.09393, "average hierarchical distance")."""

    lca_height_of_mistakes: float
    """The same over the mistakes alone ("hierarchical distance of a mistake")."""

    precision: float
    """Of all predicted classes together with their ancestors, the share that are the label or its
    ancestors: sum |A(p) & A(l)| / sum |A(p)| over images, where A(c) is c with its ancestors, without
    the virtual root (Kiritchenko et al. 2005, "Functional annotation of genes using hierarchical text
    categorization": hierarchical precision, micro-averaged); 0..1."""

    recall: float
    """sum |A(p) & A(l)| / sum |A(l)|: the share of labels and their ancestors that are found; 0..1."""

    f1: float
    """Harmonic mean of hierarchical precision and recall; 0..1."""


class MistakeCounter(Counter):
    """Counts how far predicted classes lie from labels; every count is an integer."""

    def __init__(self, levels: Levels, device: torch.device) -> None:
        self._ancestors_CL = pad_ancestors(levels, device)  # row -1: the virtual root
        heights_C = torch.from_numpy(levels.height_C)
        self._heights_C = pad(heights_C, (0, 1), value=int(levels.height_C.max()) + 1).to(device)
        # images, mistakes, edges, heights, |A(p) & A(l)|, |A(p)|, |A(l)|
        self.counts = torch.zeros(7, dtype=torch.int64, device=device)

    def update(self, predicted_B: torch.Tensor, labels_B: torch.Tensor) -> None:
        """Count predicted classes (B,), `NONE` for the virtual root, against labels (B,)."""
        ancestors_BL, targets_BL = self._ancestors_CL[predicted_B], self._ancestors_CL[labels_B]
        common_B = count_common(ancestors_BL, targets_BL)
        predicted_steps_B, label_steps_B = (ancestors_BL >= 0).sum(1), (targets_BL >= 0).sum(1)
        distance_B = predicted_steps_B + label_steps_B - 2 * common_B
        mistake_B = (distance_B > 0).long()
        lca_B = targets_BL.gather(1, (common_B - 1).clamp(min=0)[:, None])[:, 0]
        lca_B = torch.where(common_B > 0, lca_B, -1)
        rows = [torch.ones_like(labels_B), mistake_B, distance_B, mistake_B * self._heights_C[lca_B]]
        self.counts += torch.stack([*rows, common_B, predicted_steps_B, label_steps_B]).sum(dim=1)

    def compute(self) -> Mistakes:
        """Return the distances of all images counted so far."""
        images, mistakes, edges, heights, common, predicted, labelled = self.counts.tolist()
        return Mistakes(
            images=images,
            exact=divide(images - mistakes, images),
            distance=divide(edges, images),
            distance_of_mistakes=divide(edges, mistakes),
            lca_height=divide(heights, images),
            lca_height_of_mistakes=divide(heights, mistakes),
            precision=divide(common, predicted),
            recall=divide(common, labelled),
            f1=divide(2 * common, predicted + labelled),
        )
