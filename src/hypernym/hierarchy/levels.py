"""The tree as arrays, made once: depths, ancestors and weights.

Shapes: C classes, L depths. The depth of a class is the number of its ancestors, so roots stand at
depth 0. The paper calls the depths hierarchies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hypernym.hierarchy.tree import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hypernym.hierarchy.tree import Tree

NONE = -1
"""Stands where a class has no ancestor: at the depths below its own."""


@dataclass(frozen=True)
class Levels:
    """A tree over C classes in L depths."""

    parents_C: NDArray[np.int64]
    """Label of the parent, or `ROOT`."""

    depth_C: NDArray[np.int64]
    ancestors_CL: NDArray[np.int64]
    """The ancestor of class c at depth l, which is c itself at its own depth and `NONE` below."""

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.depth_C)

    @property
    def num_depths(self) -> int:
        """L, the number of depths."""
        return int(self.ancestors_CL.shape[1])

    @cached_property
    def classes_at(self) -> tuple[NDArray[np.int64], ...]:
        """For each depth the labels of its classes, ascending."""
        return tuple(np.flatnonzero(self.depth_C == depth) for depth in range(self.num_depths))

    @cached_property
    def counts_L(self) -> NDArray[np.int64]:
        """N_l, the number of classes at each depth."""
        return np.array([len(classes) for classes in self.classes_at])

    @cached_property
    def position_C(self) -> NDArray[np.int64]:
        """The place of each class among the classes of its own depth."""
        position_C = np.empty(self.num_classes, np.int64)
        for classes in self.classes_at:
            position_C[classes] = np.arange(len(classes))
        return position_C

    @cached_property
    def targets_CL(self) -> NDArray[np.int64]:
        """The place of a class's ancestor among the classes of each depth, or `NONE`."""
        return np.where(self.ancestors_CL == NONE, NONE, self.position_C[self.ancestors_CL])

    def weights_L(self, max_weight: float) -> NDArray[np.float64]:
        """Return W_l = 1 / O_l, at most `max_weight` (semantic softmax, paper section 3.2.2).

        O_l = (N_l + ... + N_{L-1}) / (N_0 + ... + N_{L-1}) is the share of classes that have a target
        at depth l, so W_l makes up for the images that have none there. The official code clamps W
        at 20. (The range of the sum is that of the NeurIPS version and of the code.)
        """
        at_or_below_L = np.cumsum(self.counts_L[::-1])[::-1]
        return np.minimum(self.num_classes / at_or_below_L, max_weight)


def make_levels(tree: Tree) -> Levels:
    """Turn a tree into arrays."""
    parents_C = np.array(tree.parents, np.int64)
    paths = [_path_to(label, tree.parents) for label in range(len(parents_C))]
    depth_C = np.array([len(path) - 1 for path in paths], np.int64)
    ancestors_CL = np.full((len(paths), int(depth_C.max()) + 1), NONE, np.int64)
    for label, path in enumerate(paths):
        ancestors_CL[label, : len(path)] = path
    return Levels(parents_C, depth_C, ancestors_CL)


def _path_to(label: int, parents: tuple[int, ...]) -> list[int]:
    """Return the labels from the root down to `label`."""
    path = []
    while label != ROOT:
        path.append(label)
        label = parents[label]
    return path[::-1]
