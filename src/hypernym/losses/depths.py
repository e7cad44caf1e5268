"""The depths of a tree on the device of the logits, and sums within them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from hypernym.hierarchy.levels import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypernym.hierarchy.levels import Levels


MOST_LABELS = 16
"""Labels an image, in the mean of a batch, that are taken one by one."""


class Depths(nn.Module):
    """Arrays of `Levels` as buffers; they follow `.to(device)` and are not part of checkpoints."""

    ancestors_CL: torch.Tensor
    depth_C: torch.Tensor
    members_LC: torch.Tensor
    parents_C: torch.Tensor
    by_depth_C: torch.Tensor
    """The labels of depth 0, then those of depth 1, and so on; depth l begins at `starts[l]`."""

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.num_classes = levels.num_classes
        self.num_depths = levels.num_depths
        self.starts: tuple[int, ...] = (0, *np.cumsum(levels.counts_L).tolist())
        members_CL = one_hot(torch.from_numpy(levels.depth_C), levels.num_depths).float()
        buffers = {
            "ancestors_CL": torch.from_numpy(levels.ancestors_CL),
            "depth_C": torch.from_numpy(levels.depth_C),
            "members_LC": members_CL.T.contiguous(),
            "parents_C": torch.from_numpy(levels.parents_C),
            "by_depth_C": torch.from_numpy(np.concatenate(levels.classes_at)),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def classes_at(self, depth: int) -> torch.Tensor:
        """Return the labels of the classes at a depth, ascending, int64 (N,)."""
        return self.by_depth_C[self.starts[depth] : self.starts[depth + 1]]

    def check(
        self,
        logits_BC: torch.Tensor,
        targets: torch.Tensor | None,
        teacher_BC: torch.Tensor | None = None,
    ) -> None:
        """Refuse tensors that do not fit together, or this tree.

        Raises:
            ValueError: so they are; the loops that are compiled do not look where they write.
        """
        shape = (len(logits_BC), self.num_classes)
        if logits_BC.shape != shape:
            raise ValueError(
                f"logits of shape {tuple(logits_BC.shape)}: the tree has {shape[1]} classes"
            )
        if teacher_BC is not None and teacher_BC.shape != shape:
            raise ValueError(f"teacher's logits {tuple(teacher_BC.shape)} beside a student's {shape}")
        if targets is not None and targets.shape not in (shape, shape[:1]):
            raise ValueError(f"targets of shape {tuple(targets.shape)} for logits {shape}")

    def sum_within(self, values_BC: torch.Tensor) -> torch.Tensor:
        """Sum over the classes of each depth: (B, C) to (B, L)."""
        return (self.members_LC.to(values_BC.dtype) @ values_BC.T).T

    def each_share(self, targets: torch.Tensor) -> Iterator[torch.Tensor]:
        """Give for each depth the shares of its classes in targets (B,) or (B, C), ancestors counted.

        Yields (B, N), new for each depth; of labels, whole, it is bool.
        """
        if targets.ndim == 1:
            ancestors_BL = self.ancestors_CL[targets]
            for depth in range(self.num_depths):
                yield self.classes_at(depth) == ancestors_BL[:, depth, None]
        else:
            shares_BC = self.with_ancestors(targets)
            for depth in range(self.num_depths):
                yield shares_BC.index_select(1, self.classes_at(depth))

    def with_ancestors(self, targets: torch.Tensor) -> torch.Tensor:
        """Return targets (B,) or (B, C) as shares (B, C) in which ancestors count too."""
        if targets.ndim == 1:
            shares_BC = torch.zeros(len(targets), self.num_classes, device=targets.device)
            ancestors_BL = self.ancestors_CL[targets]
            places_BL = ancestors_BL.clamp(min=0)
            return shares_BC.scatter_add_(1, places_BL, (ancestors_BL != NONE).float())
        shares_BC = targets.clone()
        for depth in range(self.num_depths - 1, 0, -1):
            classes = self.classes_at(depth)
            shares_BC.index_add_(1, self.parents_C[classes], shares_BC.index_select(1, classes))
        return shares_BC


@dataclass(frozen=True, slots=True)
class Reached:
    """What the targets of a batch reach in the tree: K labels that have a share of an image.

    Labels (B,) are one to an image and whole; of targets (B, C) they are those that are not 0.
    """

    places_KL: torch.Tensor
    """The ancestor of each label at each depth; 0 where it has none."""

    shares_KL: torch.Tensor
    """The label's share of its image; 0 at depths below the label."""

    shares_BL: torch.Tensor
    """The sum of an image's shares at each depth."""

    offsets_B: torch.Tensor
    """Where the labels of each image begin, and at last where they end (B + 1,)."""

    def within(self, chunk: slice) -> Reached:
        """Return what a part of the images reaches."""
        offsets = self.offsets_B[chunk.start : chunk.stop + 1]
        return replace(self, shares_BL=self.shares_BL[chunk], offsets_B=offsets)


def find_reached(targets: torch.Tensor, depths: Depths, dtype: torch.dtype) -> Reached | None:
    """Return what targets reach, or None where images have so many labels that a table is better."""
    if targets.ndim == 1:
        images_K, labels_K = torch.arange(len(targets)), targets
        shares_K = torch.ones(len(targets), dtype=dtype)
    else:
        images_K, labels_K = targets.nonzero(as_tuple=True)
        if len(images_K) > MOST_LABELS * len(targets):
            return None
        shares_K = targets[images_K, labels_K].to(dtype)
    ancestors_KL = depths.ancestors_CL[labels_K]
    shares_KL = shares_K[:, None] * (ancestors_KL != NONE)
    shares_BL = torch.zeros(len(targets), depths.num_depths, dtype=dtype)
    shares_BL.index_add_(0, images_K, shares_KL)
    offsets_B = torch.searchsorted(images_K, torch.arange(len(targets) + 1))
    return Reached(ancestors_KL.clamp(min=0), shares_KL, shares_BL, offsets_B)


def share_out(targets: torch.Tensor) -> torch.Tensor:
    """Return targets (B,) as they are, and shares (B, C) that add up to at most 1 an image.

    A softmax has one unit to give: several whole labels of an image get equal parts of it.
    """
    if targets.ndim == 1:
        return targets
    return targets / targets.sum(dim=1, keepdim=True).clamp(min=1)
