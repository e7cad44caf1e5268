"""The tree as arrays, made once: depths, ancestors and weights.

Shapes: C classes, L depths. The depth of a class is the number of its ancestors, so roots stand at
depth 0. The paper calls the depths hierarchies.
"""

from __future__ import annotations

import math
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

    num_labels: int
    """Classes that images may be labelled with: the first ones. Those behind them are inner classes
    that the tree added."""

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

    @cached_property
    def height_C(self) -> NDArray[np.int64]:
        """The length of the longest way from each class down to a leaf; 0 for a leaf."""
        height_C = np.zeros(self.num_classes, np.int64)
        for classes in reversed(self.classes_at[1:]):
            np.maximum.at(height_C, self.parents_C[classes], height_C[classes] + 1)
        return height_C

    def weights_L(
        self,
        max_weight: float = math.inf,
        images_C: NDArray[np.int64] | None = None,
        *,
        use_deepest: bool = True,
    ) -> NDArray[np.float64]:
        """Return W_l = 1 / O_l, the weight of each depth in semantic softmax (paper section 3.2.2).

        O_l is the share of classes that have a target at depth l, those at depth l or deeper:
        O_l = (N_l + ... + N_{L-1}) / (N_0 + ... + N_{L-1}). (The range of the sum is that of the
        NeurIPS version and of the code.) So W_l makes up for the images that have no target there.
        Worked example: animal with the children cat and dog has N = (1, 2), O = (1, 2/3), W = (1, 1.5).

        Args:
            max_weight: W is clamped at this. (Official code: 20.)
            images_C: Count images instead of classes: O_l is then the share of the training images
                that have a target at depth l. With 60 images of animal, 30 of cat and 10 of dog the
                example has O = (1, 0.4), W = (1, 2.5).
            use_deepest: Off, the deepest depth has weight 0, as in the official code, which never
                uses it: of ImageNet-21K-P it holds one class, whose softmax has no gradient anyway.
        """
        amount_C = np.ones(self.num_classes) if images_C is None else images_C
        amount_L = np.bincount(self.depth_C, amount_C, minlength=self.num_depths)
        at_or_below_L = np.cumsum(amount_L[::-1])[::-1]
        with np.errstate(divide="ignore"):
            weights_L: NDArray[np.float64] = np.minimum(amount_L.sum() / at_or_below_L, max_weight)
        weights_L[at_or_below_L == 0] = 0.0  # no image has a target there
        if not use_deepest:
            weights_L[-1] = 0.0
        return weights_L


def make_levels(tree: Tree) -> Levels:
    """Turn a tree into arrays."""
    parents_C = np.array(tree.parents, np.int64)
    paths = [_path_to(label, tree.parents) for label in range(len(parents_C))]
    depth_C = np.array([len(path) - 1 for path in paths], np.int64)
    ancestors_CL = np.full((len(paths), int(depth_C.max()) + 1), NONE, np.int64)
    for label, path in enumerate(paths):
        ancestors_CL[label, : len(path)] = path
    return Levels(parents_C, depth_C, ancestors_CL, tree.num_labels)


def _path_to(label: int, parents: tuple[int, ...]) -> list[int]:
    """Return the labels from the root down to `label`."""
    path = []
    while label != ROOT:
        path.append(label)
        label = parents[label]
    return path[::-1]
