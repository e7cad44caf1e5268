"""What the counters have in common: integers that add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch.nn.functional import pad

from hypernym.hierarchy.levels import NONE

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels

FIXED_POINT = 1 << 32
"""Shares of 0..1 are summed as integers of this unit: exact in any order, up to 2^31 images."""


class Counter:
    """A sum over images.

    All that was counted is one integer tensor, so counters of several processes add up by one
    all_reduce(SUM) over `counts`, to the same figures as one counter over all images.
    """

    counts: torch.Tensor
    """Integers, of any shape, on the device of the logits."""

    def merge(self, other: Self) -> None:
        """Add what another counter of the same tree has counted."""
        self.counts += other.counts.to(self.counts.device)


def to_fixed_point(share_B: torch.Tensor) -> torch.Tensor:
    """Return shares of 0..1 as int64 numbers of 2^-32; float32 shares of 2^-8 or more lose nothing."""
    return (share_B.float() * FIXED_POINT).round().to(torch.int64)


def pad_ancestors(levels: Levels, device: torch.device) -> torch.Tensor:
    """Return the ancestors, int64 (C + 1, L), where row -1 is the virtual root: it has none."""
    return pad(torch.from_numpy(levels.ancestors_CL), (0, 0, 0, 1), value=NONE).to(device)


def count_common(first_BL: torch.Tensor, second_BL: torch.Tensor) -> torch.Tensor:
    """Return how many classes two rows of ancestors share, int64 (B,).

    The shared ones lead both rows, so their number tells the lowest common ancestor, which stands at
    the depth below: no table of all pairs of classes is needed.
    """
    return ((first_BL == second_BL) & (first_BL != NONE)).sum(dim=1)


def divide(part: int, whole: int) -> float:
    """Return part / whole, and 0 where nothing was counted."""
    return part / whole if whole else 0.0
