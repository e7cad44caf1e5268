"""From logits to labels of the tree for each image, by one of three rules.

Every class gets the probability that the picture shows something of its kind, such that a class is
never more probable than its parent. By the schemes with a softmax, single-label and semantic, the
children of a class are together not more probable than it; by the multi-label scheme they may be, for
several of them may be in one picture. On these probabilities work two rules whose labels lie on one
path:

- `path` goes from the root down, at each step to the most probable child, and stops before the first
  class whose probability is below the threshold (Redmon & Farhadi 2017, "YOLO9000", section 4). A
  higher threshold cuts the same path shorter. With a softmax, above 0.5 no rule could find more: two
  classes that are both more probable than that lie on one path, which is this one. (To cut the path to
  the most probable leaf would lose a sure class whose many leaves share its probability.) By the
  multi-label scheme other classes may be as sure, and are not named.
- `leaf` takes the most probable leaf with its ancestors, as a classifier without a tree would.

The third rule is that of the official code of semantic softmax: at each depth by itself the most
probable class of that depth's softmax, where its probability is over the threshold (there 0.5); by
the multi-label scheme sigmoids are compared. These labels need not lie on one path.

Shapes: B images, C classes, L depths, N classes of one depth, G groups of siblings. Inside, the
classes stand in rows and in another order, by depth and then by parent, so that depths and siblings
are slices. The private methods write into the tensors that they are given.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from hypernym.hierarchy.levels import NONE
from hypernym.hierarchy.rule import Rule
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels

FINITE = torch.finfo(torch.float32)
ORDER_OF_CUT = 2**-10
"""How much of its own log probability a class keeps where it is cut at its parent's."""


class Decoded(NamedTuple):
    """A label at each depth for each image; by the rules `path` and `leaf` they form a path."""

    labels: torch.Tensor
    """int64 (B, L): the label at each depth, `NONE` below the leaf."""

    probabilities: torch.Tensor
    """float32 (B, L): of each of them, 0 below the leaf. On a path it falls from left to right."""

    kept: torch.Tensor
    """bool (B, L): whether the model is sure enough of it. On a path the first ones are."""

    @property
    def ends(self) -> torch.Tensor:
        """The deepest label that is kept, int64 (B,), or `NONE`."""
        depth_L = torch.arange(1, self.labels.shape[1] + 1, device=self.labels.device)
        length_B = (self.kept * depth_L).amax(dim=1)
        end_B = self.labels.gather(1, (length_B - 1).clamp(min=0)[:, None])[:, 0]
        return torch.where(length_B > 0, end_B, NONE)


class Decoder:
    """Decodes the logits of one tree and scheme."""

    def __init__(self, levels: Levels, scheme: Scheme, device: torch.device) -> None:
        self._scheme = scheme
        order_C = np.lexsort((levels.parents_C, levels.depth_C))
        place_C = np.argsort(order_C)
        parents_C = levels.parents_C[order_C]
        parent_places_C = np.where(parents_C == ROOT, ROOT, place_C[parents_C])
        starts_group_C = np.diff(parent_places_C, prepend=ROOT - 1) != 0
        starts_C = np.flatnonzero(starts_group_C)

        def tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        self._ancestors_CL = tensor(levels.ancestors_CL)
        self._classes_at = [tensor(classes) for classes in levels.classes_at]
        self._order_C, self._place_C = tensor(order_C), tensor(place_C)
        self._parent_places_C = tensor(parent_places_C)
        self._is_leaf_C = tensor(levels.height_C[order_C] == 0)
        self._group_C = tensor(np.cumsum(starts_group_C) - 1)
        self._group_sizes_G = tensor(np.diff(starts_C, append=levels.num_classes))
        self._group_parents_G = tensor(parent_places_C[starts_C])
        depth_edges = np.searchsorted(levels.depth_C[order_C], np.arange(levels.num_depths + 1))
        self._rows_at = [slice(*edges) for edges in _pairs(depth_edges)]
        self._groups_at = [slice(*edges) for edges in _pairs(np.searchsorted(starts_C, depth_edges))]

    def decode(self, logits_BC: torch.Tensor, threshold: float, rule: Rule = Rule.PATH) -> Decoded:
        """Return a label at each depth, and which of them to keep at `threshold` (0..1).

        The rule `leaf` keeps all, whatever the threshold.
        """
        match rule:
            case Rule.PATH:
                return self.follow(self.log_probabilities(logits_BC), threshold)
            case Rule.LEAF:
                return self.find_leaf(self.log_probabilities(logits_BC))
            case Rule.OFFICIAL:
                return self._take_each_depth(logits_BC, threshold)

    def log_probabilities(self, logits_BC: torch.Tensor) -> torch.Tensor:
        """Return the log probability (B, C) that an image shows something of each class's kind."""
        match self._scheme:
            case Scheme.SINGLE_LABEL:
                probability_BC = logits_BC.float().clamp(max=FINITE.max).softmax(dim=1)
                log_probability_CB = self._sum_upwards(self._to_rows(probability_BC)).log_()
            case Scheme.MULTI_LABEL:
                log_sigmoid_CB = logsigmoid(self._to_rows(logits_BC.float()))
                log_probability_CB = self._take_least_downwards(log_sigmoid_CB)
            case Scheme.SEMANTIC:
                logits_CB = self._to_rows(logits_BC.float()).clamp_(max=FINITE.max)
                log_conditional_CB = self._log_softmax_of_siblings(logits_CB)
                log_probability_CB = self._multiply_downwards(log_conditional_CB)
        return log_probability_CB.index_select(0, self._place_C).T

    def follow(self, log_probability_BC: torch.Tensor, threshold: float) -> Decoded:
        """Go to the most probable child from the root down; keep what reaches `threshold` (0..1)."""
        log_probability_CB = self._to_rows(log_probability_BC)
        last_B = torch.full_like(log_probability_CB[0], ROOT, dtype=torch.int64)
        steps = []
        for rows in self._rows_at:
            is_child_NB = self._parent_places_C[rows, None] == last_B
            among_NB = log_probability_CB[rows].clamp(min=FINITE.min)
            best_B = among_NB.masked_fill(~is_child_NB, -torch.inf).argmax(dim=0)
            has_child_B = is_child_NB.any(dim=0)
            # the root is no place, so what has no child is told by a place that is no parent
            last_B = torch.where(has_child_B, best_B + rows.start, len(self._place_C))
            steps.append(torch.where(has_child_B, self._order_C[last_B.clamp(max=rows.stop - 1)], NONE))
        return self._keep(torch.stack(steps, dim=1), log_probability_BC, threshold)

    def find_leaf(self, log_probability_BC: torch.Tensor) -> Decoded:
        """Take the most probable leaf with its ancestors; keep all of them."""
        is_leaf_C = self._is_leaf_C[self._place_C]
        finite_BC = log_probability_BC.clamp(min=FINITE.min)
        leaf_B = finite_BC.masked_fill(~is_leaf_C, -torch.inf).argmax(dim=1)
        return self._keep(self._ancestors_CL[leaf_B], log_probability_BC, 0.0)

    def _keep(
        self, labels_BL: torch.Tensor, log_probability_BC: torch.Tensor, threshold: float
    ) -> Decoded:
        exists_BL = labels_BL != NONE
        gathered_BL = log_probability_BC.gather(1, labels_BL.clamp(min=0)).exp()
        probabilities_BL = torch.where(exists_BL, gathered_BL, 0.0)
        return Decoded(labels_BL, probabilities_BL, exists_BL & (probabilities_BL >= threshold))

    def _take_each_depth(self, logits_BC: torch.Tensor, threshold: float) -> Decoded:
        """Take the most probable class of each depth; keep what is over `threshold`, as officially."""
        labels, probabilities = [], []
        for classes in self._classes_at:
            logits_BN = logits_BC.index_select(1, classes).float().clamp(FINITE.min, FINITE.max)
            is_binary = self._scheme == Scheme.MULTI_LABEL
            probability_BN = logits_BN.sigmoid() if is_binary else logits_BN.softmax(dim=1)
            probability_B, best_B = probability_BN.max(dim=1)
            labels.append(classes[best_B])
            probabilities.append(probability_B)
        probabilities_BL = torch.stack(probabilities, dim=1)
        return Decoded(torch.stack(labels, dim=1), probabilities_BL, probabilities_BL > threshold)

    def _to_rows(self, values_BC: torch.Tensor) -> torch.Tensor:
        """Put the classes into rows, by depth and parent."""
        return values_BC.T.index_select(0, self._order_C)

    def _sum_upwards(self, probability_CB: torch.Tensor) -> torch.Tensor:
        """Add to each class the probabilities of all classes below it."""
        for rows, groups in reversed(list(zip(self._rows_at[1:], self._groups_at[1:], strict=True))):
            sums_GB = _reduce(probability_CB[rows], "sum", self._group_sizes_G[groups])
            probability_CB.index_add_(0, self._group_parents_G[groups], sums_GB)
        # The roots sum to 1 up to rounding; so that none passes it, and an only root is 1 exactly:
        probability_CB /= probability_CB[self._rows_at[0]].sum(dim=0)
        return probability_CB

    def _log_softmax_of_siblings(self, logits_CB: torch.Tensor) -> torch.Tensor:
        """Return the log probability of each class given its parent.

        A softmax over a whole depth, conditioned on the parent, is a softmax over its children. Where
        all children are masked (logits of -inf), none of them is possible.
        """
        top_GB = _reduce(logits_CB, "max", self._group_sizes_G).clamp(min=FINITE.min)
        logits_CB -= top_GB.index_select(0, self._group_C)
        sum_GB = _reduce(logits_CB.exp(), "sum", self._group_sizes_G).clamp(min=FINITE.tiny)
        logits_CB -= sum_GB.log().index_select(0, self._group_C)
        return logits_CB

    def _multiply_downwards(self, log_conditional_CB: torch.Tensor) -> torch.Tensor:
        """Turn probabilities given the parent into probabilities."""
        for rows in self._rows_at[1:]:
            log_conditional_CB[rows] += log_conditional_CB.index_select(0, self._parent_places_C[rows])
        return log_conditional_CB

    def _take_least_downwards(self, log_probability_CB: torch.Tensor) -> torch.Tensor:
        """Cut the probability of a class at that of each class above it.

        A little below it, in the order of their own: of two siblings that are both cut, the surer one is
        still the more probable.
        """
        for rows in self._rows_at[1:]:
            above_NB = log_probability_CB.index_select(0, self._parent_places_C[rows])
            own_NB = log_probability_CB[rows]
            log_probability_CB[rows] = torch.minimum(own_NB, above_NB + ORDER_OF_CUT * own_NB)
        return log_probability_CB


def _reduce(values_NB: torch.Tensor, how: str, sizes_G: torch.Tensor) -> torch.Tensor:
    """Reduce runs of rows, of the sizes given, to one row each."""
    # `unsafe` leaves out a check of the sizes, for which a GPU would have to be waited for.
    return torch.segment_reduce(values_NB, how, lengths=sizes_G, axis=0, unsafe=True)


def _pairs(edges: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[tuple[int, int]]:
    return [(int(start), int(stop)) for start, stop in pairwise(edges)]
