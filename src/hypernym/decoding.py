"""From logits to one consistent path of the tree for each image.

A label from each depth by itself need not lie on one path. Here every class gets the probability
that the picture shows something of its kind, such that a class is never more probable than its
parent; the path goes to the most probable leaf and stops where the probability falls below a
threshold.

Shapes: B images, C classes, L depths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from hypernym.hierarchy.levels import NONE
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels


class Paths(NamedTuple):
    """A path for each image, from the root down."""

    labels: torch.Tensor
    """int64 (B, L): the label at each depth, `NONE` below the leaf."""

    probabilities: torch.Tensor
    """float32 (B, L): of each of them, falling from left to right; 0 below the leaf."""

    lengths: torch.Tensor
    """int64 (B,): how many of them reach the threshold."""


class PathDecoder:
    """Decodes the logits of one tree and scheme."""

    def __init__(self, levels: Levels, scheme: Scheme, device: torch.device) -> None:
        self._scheme = scheme
        self._classes_at = [torch.from_numpy(classes).to(device) for classes in levels.classes_at]
        self._parents_C = torch.from_numpy(levels.parents_C).to(device)
        self._ancestors_CL = torch.from_numpy(levels.ancestors_CL).to(device)
        self._siblings_C = self._parents_C + 1  # classes with one parent share a number; roots have 0
        is_leaf_C = torch.ones(levels.num_classes, dtype=torch.bool, device=device)
        is_leaf_C[self._parents_C[self._parents_C != ROOT]] = False
        self._is_leaf_C = is_leaf_C

    def decode(self, logits_BC: torch.Tensor, threshold: float) -> Paths:
        """Return the path to the most probable leaf, and how far it reaches `threshold` (0..1)."""
        log_probability_BC = self.log_probabilities(logits_BC)
        leaf_B = log_probability_BC.masked_fill(~self._is_leaf_C, -torch.inf).argmax(dim=1)
        labels_BL = self._ancestors_CL[leaf_B]
        exists_BL = labels_BL != NONE
        gathered_BL = log_probability_BC.gather(1, labels_BL.clamp(min=0)).exp()
        probabilities_BL = torch.where(exists_BL, gathered_BL, 0.0)
        lengths_B = (exists_BL & (probabilities_BL >= threshold)).sum(dim=1)
        return Paths(labels_BL, probabilities_BL, lengths_B)

    def log_probabilities(self, logits_BC: torch.Tensor) -> torch.Tensor:
        """Return the log probability (B, C) that an image shows something of each class's kind."""
        match self._scheme:
            case Scheme.SINGLE_LABEL:
                return self._sum_upwards(logits_BC.float().log_softmax(dim=1))
            case Scheme.SEMANTIC:
                return self._multiply_downwards(self._log_softmax_of_siblings(logits_BC.float()))

    def _sum_upwards(self, log_probability_BC: torch.Tensor) -> torch.Tensor:
        """Add to each class the probabilities of all classes below it."""
        probability_BC = log_probability_BC.exp()
        for classes in reversed(self._classes_at[1:]):
            probability_BC.index_add_(
                1, self._parents_C[classes], probability_BC.index_select(1, classes)
            )
        return probability_BC.clamp(max=1.0).log()

    def _log_softmax_of_siblings(self, logits_BC: torch.Tensor) -> torch.Tensor:
        """Return the log probability of each class given its parent.

        A softmax over a whole depth, conditioned on the parent, is a softmax over its children.
        """
        num_groups = len(self._siblings_C) + 1
        groups_BC = self._siblings_C.expand_as(logits_BC)
        lowest = torch.finfo(logits_BC.dtype).min
        top_BG = logits_BC.new_full((len(logits_BC), num_groups), lowest)
        top_BG = top_BG.scatter_reduce(1, groups_BC, logits_BC, "amax")
        centred_BC = logits_BC - top_BG.index_select(1, self._siblings_C)
        sum_BG = torch.zeros_like(top_BG).index_add_(1, self._siblings_C, centred_BC.exp())
        return centred_BC - sum_BG.log().index_select(1, self._siblings_C)

    def _multiply_downwards(self, log_conditional_BC: torch.Tensor) -> torch.Tensor:
        """Turn probabilities given the parent into probabilities."""
        log_probability_BC = log_conditional_BC.clone()
        for classes in self._classes_at[1:]:
            log_probability_BC[:, classes] += log_probability_BC[:, self._parents_C[classes]]
        return log_probability_BC
