"""The path of an image, in operations that other runtimes have: for ONNX and torch.export.

It computes what `decoding.Decoder` does by the rule `path`, and is tested to be its equal, but without
`segment_reduce` and without writing into tensors. The classes stand by depth and then by parent, so that
a depth is a slice, and siblings are met by index tensors of C entries: nothing of the size C x C is
made.

Shapes: B images, C classes, L depths, N classes of one depth, P those of the depth above, G groups of
siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from hypernym.decoding import FINITE, ORDER_OF_CUT
from hypernym.hierarchy.levels import NONE
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypernym.hierarchy.levels import Levels

    _Join = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class FoundPath(NamedTuple):
    """A path of the tree for each image, and the probabilities that it was found by."""

    probabilities: torch.Tensor
    """float32 (B, C): that an image shows something of each class's kind."""

    labels: torch.Tensor
    """int64 (B, L): the label at each depth; `NONE` below the end of the path."""

    path_probabilities: torch.Tensor
    """float32 (B, L): of each of them, 0 below the end."""


class PathFinder(nn.Module):
    """Decodes the logits of one tree and scheme; all that it knows of them is constant."""

    _order_C: torch.Tensor
    _place_C: torch.Tensor
    _group_C: torch.Tensor

    def __init__(self, levels: Levels, scheme: Scheme) -> None:
        super().__init__()
        self._scheme = scheme
        order_C = np.lexsort((levels.parents_C, levels.depth_C))
        place_C = np.argsort(order_C)
        parents_C = levels.parents_C[order_C]
        self._edges = np.cumsum([0, *levels.counts_L]).tolist()
        self._num_groups = len(np.unique(parents_C))
        starts_group_C = np.diff(parents_C, prepend=ROOT - 1) != 0
        buffers = {
            "_order_C": order_C,
            "_place_C": place_C,
            "_group_C": np.cumsum(starts_group_C) - 1,
        }
        for depth in range(1, levels.num_depths):
            rows = slice(*self._edges[depth : depth + 2])
            buffers[f"_parents_{depth}"] = place_C[parents_C[rows]] - self._edges[depth - 1]
        for name, array in buffers.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def forward(self, logits_BC: torch.Tensor, threshold: torch.Tensor) -> FoundPath:
        """Return the path of each image, cut before the first class below `threshold`, (1,), in 0..1."""
        log_probability_BN = self._log_probabilities(logits_BC.float().index_select(1, self._order_C))
        probabilities_BC = torch.cat(log_probability_BN, dim=1).exp().index_select(1, self._place_C)
        labels_BL, log_found_BL = self._descend(log_probability_BN)
        found_BL = log_found_BL.exp()
        kept_BL = (labels_BL != NONE) & (found_BL >= threshold)
        return FoundPath(
            probabilities_BC,
            torch.where(kept_BL, labels_BL, NONE),
            torch.where(kept_BL, found_BL, 0.0),
        )

    def _log_probabilities(self, logits_BC: torch.Tensor) -> list[torch.Tensor]:
        """Return the log probability of each class, (B, N) for each depth."""
        match self._scheme:
            case Scheme.SINGLE_LABEL:
                return self._sum_upwards(logits_BC.clamp(max=FINITE.max).softmax(dim=1))
            case Scheme.MULTI_LABEL:
                return self._go_downwards(logsigmoid(logits_BC), _cut)
            case Scheme.SEMANTIC:
                logits_BC = logits_BC.clamp(max=FINITE.max)
                return self._go_downwards(self._log_softmax_of_siblings(logits_BC), torch.add)

    def _log_softmax_of_siblings(self, logits_BC: torch.Tensor) -> torch.Tensor:
        batch = logits_BC.shape[0]
        index_BC = self._group_C.expand(batch, -1)
        least_BG = logits_BC.new_full((batch, self._num_groups), FINITE.min)
        top_BG = least_BG.scatter_reduce(1, index_BC, logits_BC, "amax")
        lowered_BC = logits_BC - top_BG.index_select(1, self._group_C)
        sum_BG = torch.zeros_like(top_BG).scatter_add(1, index_BC, lowered_BC.exp())
        log_sum_BG = sum_BG.clamp(min=FINITE.tiny).log()
        return lowered_BC - log_sum_BG.index_select(1, self._group_C)

    def _sum_upwards(self, probability_BC: torch.Tensor) -> list[torch.Tensor]:
        """Add to each class the probabilities of all classes below it; return the logarithms."""
        sums_BN = list(self._split(probability_BC))
        for depth in range(len(sums_BN) - 1, 0, -1):
            index_BN = self._parents(depth).expand(sums_BN[depth].shape[0], -1)
            sums_BN[depth - 1] = sums_BN[depth - 1].scatter_add(1, index_BN, sums_BN[depth])
        whole_B1 = sums_BN[0].sum(dim=1, keepdim=True)
        return [(sum_BN / whole_B1).log() for sum_BN in sums_BN]

    def _go_downwards(self, own_BC: torch.Tensor, join: _Join) -> list[torch.Tensor]:
        """Join what a class has of its own with what its parent was found to have."""
        found_BN = list(self._split(own_BC))
        for depth in range(1, len(found_BN)):
            above_BN = found_BN[depth - 1].index_select(1, self._parents(depth))
            found_BN[depth] = join(found_BN[depth], above_BN)
        return found_BN

    def _descend(self, log_probability_BN: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Go to the most probable child from the root down."""
        labels, found = [], []
        last_B1 = torch.empty(0)
        for depth, own_BN in enumerate(log_probability_BN):
            among_BN = own_BN.clamp(min=FINITE.min)
            if depth:
                among_BN = among_BN.masked_fill(self._parents(depth) != last_B1, -torch.inf)
            best_B1 = among_BN.argmax(dim=1, keepdim=True)
            best_log_B1 = among_BN.gather(1, best_B1)
            has_child_B1 = best_log_B1 > -torch.inf
            last_B1 = torch.where(has_child_B1, best_B1, NONE)  # which is nobody's parent
            classes_N = self._order_C[slice(*self._edges[depth : depth + 2])]
            labels.append(torch.where(has_child_B1, classes_N[best_B1], NONE))
            found.append(best_log_B1)
        return torch.cat(labels, dim=1), torch.cat(found, dim=1)

    def _split(self, values_BC: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sizes = [stop - start for start, stop in zip(self._edges[:-1], self._edges[1:], strict=True)]
        return torch.split(values_BC, sizes, dim=1)

    def _parents(self, depth: int) -> torch.Tensor:
        """Return the place of each class's parent in the depth above: (N,) into P."""
        return self.get_buffer(f"_parents_{depth}")


def _cut(own_BN: torch.Tensor, above_BN: torch.Tensor) -> torch.Tensor:
    """Cut a log probability a little below the one above it (see `decoding`)."""
    return torch.minimum(own_BN, above_BN + ORDER_OF_CUT * own_BN)
