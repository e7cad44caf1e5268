"""Accuracy over all classes and within each depth of the tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hypernym.hierarchy.levels import NONE
from hypernym.metrics.counter import Counter, divide

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels

TOP_K = 5


@dataclass(frozen=True)
class DepthAccuracy:
    """Accuracy within one depth of the tree."""

    depth: int
    classes: int
    images: int
    """Images whose label stands at this depth or deeper."""

    accuracy: float
    """Share of them whose ancestor here has the largest logit of the depth; 0..1."""

    chance: float
    """What guessing evenly among the classes of the depth gives; 0..1."""


@dataclass(frozen=True)
class Accuracy:
    """What was counted. All shares are 0..1."""

    images: int
    top1: float
    """Share of images whose label has the largest logit of all classes that images are labelled with:
    inner classes that the tree added are no answers."""

    top5: float
    """Share of images whose label is among the five largest of these logits."""

    top1_chance: float
    semantic_top1: float
    """Over all (image, depth) pairs that have a target, the share where the target has the largest
    logit of its depth: a micro average, the paper's upstream metric."""

    semantic_top1_chance: float
    by_depth: tuple[DepthAccuracy, ...]


@dataclass(frozen=True)
class SummedAccuracy:
    """Accuracy within depths by probabilities, those of a class with all beneath it.

    There is no top-1 over all classes: an ancestor is never less probable than what is beneath it.
    """

    semantic_top1: float
    """As of `Accuracy`; 0..1."""

    by_depth: tuple[DepthAccuracy, ...]


class AccuracyCounter(Counter):
    """Counts right answers, on the device of the logits."""

    def __init__(self, levels: Levels, device: torch.device) -> None:
        self._levels = levels
        self._targets_CL = torch.from_numpy(levels.targets_CL).to(device)
        self._classes_at = [torch.from_numpy(classes).to(device) for classes in levels.classes_at]
        # images, top-1, top-5; then for each depth images and correct ones
        self.counts = torch.zeros(3 + 2 * levels.num_depths, dtype=torch.int64, device=device)

    def update(self, logits_BC: torch.Tensor, labels_B: torch.Tensor) -> None:
        """Count a batch of logits (B, C) against labels (B,)."""
        answers_BC = logits_BC[:, : self._levels.num_labels]
        k = min(TOP_K, answers_BC.shape[1])
        hits_BK = answers_BC.topk(k, dim=1).indices == labels_B[:, None]
        counts = [torch.ones_like(labels_B).sum(), hits_BK[:, 0].sum(), hits_BK.sum()]
        targets_BL = self._targets_CL[labels_B]
        for depth, classes in enumerate(self._classes_at):
            guess_B = logits_BC.index_select(1, classes).argmax(dim=1)
            counts += [
                (targets_BL[:, depth] != NONE).sum(),
                (targets_BL[:, depth] == guess_B).sum(),
            ]
        self.counts += torch.stack(counts)

    def compute(self) -> Accuracy:
        """Return the accuracies of all images counted so far."""
        images, top1, top5, *by_depth = self.counts.tolist()
        at_depth = list(zip(by_depth[0::2], by_depth[1::2], strict=True))
        num_at_depth = self._levels.counts_L.tolist()
        pairs = sum(total for total, _ in at_depth)
        by_chance = sum(total / num for (total, _), num in zip(at_depth, num_at_depth, strict=True))
        return Accuracy(
            images=images,
            top1=divide(top1, images),
            top5=divide(top5, images),
            top1_chance=1 / self._levels.num_labels,
            semantic_top1=divide(sum(correct for _, correct in at_depth), pairs),
            semantic_top1_chance=by_chance / pairs if pairs else 0.0,
            by_depth=tuple(
                DepthAccuracy(depth, num, total, divide(correct, total), 1 / num)
                for depth, ((total, correct), num) in enumerate(zip(at_depth, num_at_depth, strict=True))
            ),
        )
