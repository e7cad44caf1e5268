"""What a head has outputs for: the labels of a dataset, and the inner classes of its tree.

A head with one label an image rules out the inner classes that no image is labelled with: a bias far
below all others. With several labels the ancestors of an image's labels are present too.

Shapes: N images, K labels, C classes (labels, then inner classes), D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import pad

from hypernym.hierarchy.levels import NONE
from hypernym.hierarchy.tree import load_tree, make_flat_tree

if TYPE_CHECKING:
    from hypernym.data.dataset import Dataset
    from hypernym.data.rows import Rows
    from hypernym.hierarchy.levels import Levels
    from hypernym.hierarchy.tree import Tree

RULED_OUT = -1e4
"""A score whose probability is 0 beside any other."""


def find_tree(dataset: Dataset) -> Tree:
    """Return the tree of a dataset, or where it has none one in which each class is a root."""
    path = dataset.path / "tree.json"
    if not path.exists():
        return make_flat_tree(dataset.classes.ids)
    return load_tree(path, classes_digest=dataset.classes.digest)


def find_targets(rows: Rows) -> torch.Tensor:
    """Return the labels of all images, int64 (N,), or where images have several bool (N, K)."""
    one = rows.present(np.arange(min(1, len(rows))))
    if one is None:
        return torch.from_numpy(rows.labels_N.astype(np.int64))
    present_NK = rows.present(np.arange(len(rows)))
    assert present_NK is not None  # noqa: S101 - images have several labels
    return present_NK


def with_ancestors(targets: torch.Tensor, levels: Levels) -> torch.Tensor:
    """Return what a head learns from: labels as they are, or bool (N, C) with all ancestors present."""
    if targets.ndim == 1:
        return targets
    ancestors_CL = torch.from_numpy(levels.ancestors_CL)
    marks_CC = torch.zeros(levels.num_classes, levels.num_classes + 1)
    marks_CC.scatter_(1, ancestors_CL.masked_fill(ancestors_CL == NONE, levels.num_classes), 1.0)
    marks_KC = marks_CC[: targets.shape[1], : levels.num_classes]
    return targets.float() @ marks_KC > 0


def rule_out_inner(scores_MK: torch.Tensor, levels: Levels) -> torch.Tensor:
    """Return scores (M, C): inner classes that no score was made for cannot be the answer."""
    return pad(scores_MK, (0, levels.num_classes - scores_MK.shape[1]), value=RULED_OUT)
